//! Whose word counts for a device's labels: an enrolment key's, where there is one, and not the device's.

use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use modelfleet_protocol::card::{Card, CardError};
use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::ids::Namespace;
use modelfleet_protocol::state::DeviceState;
use modelfleet_protocol::time::Time;

/// Who may name devices, and whether others count.
#[derive(Clone, Debug, Default)]
pub struct Enrolment {
    /// Keys that sign device cards; none: devices are believed.
    pub keys: Arc<[VerifyingKey]>,
    /// Devices without a card that counts are left out of every rollout.
    pub required: bool,
}

/// What becomes of a state by its card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It counts, and its labels are those of its card.
    Vouched,
    /// It counts, and its labels are what the device says; with what is wrong with its card, if it has one.
    Claimed(Option<String>),
    /// It does not count, and why.
    LeftOut(String),
}

impl Enrolment {
    /// Puts the labels of the device's card in the place of what it says of itself.
    pub fn vouch(&self, namespace: &Namespace, state: &mut DeviceState, now: Time) -> Standing {
        if self.keys.is_empty() && !self.required {
            return Standing::Claimed(None);
        }
        let Some(text) = state.card.take() else {
            return match self.required {
                true => Standing::LeftOut(format!(
                    "it shows no device card; make one with: kubectl modelfleet enrol {}",
                    state.device
                )),
                false => Standing::Claimed(None),
            };
        };
        match self.open(namespace, state, &text, now) {
            Ok(card) => {
                state.labels = card.labels;
                Standing::Vouched
            }
            Err(error) if self.required => Standing::LeftOut(with_causes(&error)),
            Err(error) => Standing::Claimed(Some(with_causes(&error))),
        }
    }

    fn open(
        &self,
        namespace: &Namespace,
        state: &DeviceState,
        text: &str,
        now: Time,
    ) -> Result<Card, CardError> {
        let card = Card::open(&self.keys, text)?;
        card.is_of(namespace, &state.device)?;
        card.is_valid_at(now)?;
        Ok(card)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use modelfleet_protocol::draw::{Share, Target, open_stage};
    use modelfleet_protocol::ids::DeviceId;
    use modelfleet_protocol::membership::Membership;
    use modelfleet_protocol::selector::{Labels, Selector};
    use modelfleet_protocol::topic::Channel;
    use serde_json::json;

    use super::*;
    use crate::managed::Source;
    use crate::{Change, FleetIndex, Folded, Room};

    const NOW: Time = Time(1_000_000);

    fn site(name: &str) -> Labels {
        [("site".to_owned(), name.to_owned())].into()
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[3; 32])
    }

    fn card(device: &str, labels: Labels, by: &SigningKey, expires: Time) -> String {
        let (namespace, device) = ("plant".parse().unwrap(), device.parse().unwrap());
        Card { namespace, device, labels, issued: Time(1), expires }.seal(by).unwrap()
    }

    fn plant(enrolment: Enrolment) -> FleetIndex {
        let room = Arc::new(Room::new(100));
        let mut index = FleetIndex::new("plant".parse().unwrap(), room, 100).enrolling(enrolment);
        index.note(&"m".parse().unwrap(), Source::Plan);
        index
    }

    fn tell(
        index: &mut FleetIndex,
        device: &str,
        sequence: u64,
        labels: &Labels,
        card: Option<&str>,
    ) -> Folded {
        let state = json!({
            "device": device, "sequence": sequence, "at": sequence, "agent": "t", "labels": labels, "card": card,
        });
        let channel = Channel::State(device.parse().unwrap());
        index.fold(&channel, state.to_string().as_bytes(), false, NOW)
    }

    fn seen(index: &FleetIndex) -> Vec<(String, Labels)> {
        let fleet = index.fleet();
        fleet.labelled().map(|(id, labels, _)| (id.to_string(), labels.clone())).collect()
    }

    #[test]
    fn a_device_has_the_labels_of_its_card_whatever_it_says() {
        let keys: Arc<[VerifyingKey]> = [key().verifying_key()].into();
        let mut index = plant(Enrolment { keys, required: false });
        let north = card("a", site("north"), &key(), Time(2_000_000));
        let folded = tell(&mut index, "a", 1, &site("made-up"), Some(&north));
        assert_eq!((folded.change, folded.problem), (Change::Device, None));
        assert_eq!(seen(&index), [("a".to_owned(), site("north"))]);
        // Without a card, or with one that does not count, it counts by what it says.
        let mallory = SigningKey::from_bytes(&[4; 32]);
        let cases = [
            (None, ""),
            (Some(card("a", site("north"), &mallory, Time(2_000_000))), "no trusted key"),
            (Some(card("b", site("north"), &key(), Time(2_000_000))), "of device b in plant, not of a"),
            (Some(card("a", site("north"), &key(), NOW)), "has expired"),
            (Some("nonsense".to_owned()), "cannot be read"),
        ];
        for (sequence, (card, told)) in (2..).zip(cases) {
            let folded = tell(&mut index, "a", sequence, &site("claimed"), card.as_deref());
            assert_eq!(folded.problem.is_some(), !told.is_empty());
            assert!(folded.problem.unwrap_or_default().contains(told));
            assert_eq!(seen(&index), [("a".to_owned(), site("claimed"))], "{told}");
        }
    }

    #[test]
    fn without_keys_devices_are_believed_as_before() {
        let mut index = plant(Enrolment::default());
        let north = card("a", site("north"), &key(), NOW);
        assert_eq!(tell(&mut index, "a", 1, &site("claimed"), Some(&north)).problem, None);
        assert_eq!(seen(&index), [("a".to_owned(), site("claimed"))]);
    }

    #[test]
    fn where_cards_are_required_other_devices_are_in_no_stage_and_are_counted() {
        let keys: Arc<[VerifyingKey]> = [key().verifying_key()].into();
        let mut index = plant(Enrolment { keys, required: true });
        let north = card("a", site("north"), &key(), Time(2_000_000));
        tell(&mut index, "a", 1, &Labels::new(), Some(&north));
        for liar in ["b", "c"] {
            // One shows another device's card, one shows none.
            let shown = Some(north.as_str()).filter(|_| liar == "b");
            assert_eq!(tell(&mut index, liar, 1, &site(liar), shown).change, Change::Device);
        }
        assert_eq!(seen(&index), [("a".to_owned(), site("north"))]);
        let omitted = index.fleet().omitted();
        assert_eq!(omitted.count, 2);
        assert!(omitted.named[1].1.contains("kubectl modelfleet enrol c"), "{omitted:?}");
        // One that is enrolled later counts; one whose card is gone counts no more.
        let south = card("c", site("south"), &key(), Time(2_000_000));
        tell(&mut index, "c", 2, &Labels::new(), Some(&south));
        tell(&mut index, "a", 2, &site("north"), None);
        assert_eq!(seen(&index), [("c".to_owned(), site("south"))]);
        assert_eq!(index.fleet().omitted().count, 2);
    }

    /// The controller draws by the labels of cards; each honest device finds itself in or out by its own labels, which are those
    /// of its card. A liar is drawn by its card too.
    #[test]
    fn controller_and_device_agree_on_who_is_in() {
        let keys: Arc<[VerifyingKey]> = [key().verifying_key()].into();
        let mut index = plant(Enrolment { keys, required: true });
        let name = |i: usize| format!("d-{i:02}");
        let own = |i: usize| site(["north", "south", "west"][i % 3]);
        for i in 0..60 {
            let shown = card(&name(i), own(i), &key(), Time(2_000_000));
            let says = if i < 2 { site(&format!("mine-{i}")) } else { own(i) };
            tell(&mut index, &name(i), 1, &says, Some(&shown));
        }
        let (fleet, spread_by) = (index.fleet(), vec!["site".to_owned()]);
        let share = |devices| Share {
            selector: Selector::default(),
            spread_by: spread_by.clone(),
            devices,
            floors: vec![],
        };
        let candidates = || {
            let seen = fleet.labelled();
            seen.map(|(id, labels, _)| modelfleet_protocol::draw::Candidate { id, labels, reachable: true })
        };
        let salt = Membership { salt: "s".into(), ..Membership::default() };
        for target in [Target::Count(6), Target::Ppm(500_000), Target::AllBut(100_000)] {
            let drawn = open_stage(&salt, &share(target), candidates());
            let at_controller: Vec<&DeviceId> = fleet
                .labelled()
                .filter(|(id, labels, _)| drawn.includes(id, labels))
                .map(|(id, _, _)| id)
                .collect();
            let on_devices = (0..60).filter(|&i| drawn.includes(&name(i).parse().unwrap(), &own(i))).count();
            assert_eq!(at_controller.len(), on_devices, "{target:?}");
            assert_eq!(at_controller.len() as u64, target.of(60), "{target:?}");
        }
    }
}
