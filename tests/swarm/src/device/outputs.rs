//! What a device's shell does for its agent.

use modelfleet_agent_core::build::Build;
use modelfleet_agent_core::interface::{Input, Output, Record};
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::state::{Failure, FailureCode};
use prost::Message as _;

use super::link::Item;
use super::{Deed, Defect, Device, DeviceEvent, LOAD_MAX_MS, Lent, Shown, Wish};
use crate::nature::Nature;
use crate::network::{drawn, happens};
use crate::object_store::{Download, Store};

impl Device {
    pub(super) fn carry_out(&mut self, output: Output, lent: &mut Lent<'_>, wishes: &mut Vec<Wish>) {
        let now = self.clock(lent.now);
        let Some(process) = &mut self.process else { return };
        match output {
            // No device of the swarm follows a trust document yet, so that none asks again.
            Output::Save(Record::Control) | Output::AskForPlans | Output::Note(_) => {}
            Output::PauseFetch { digest } => drop(process.fetches.remove(&digest)),
            Output::Save(Record::Windows(model)) => {
                let bytes = process.agent.saved_windows(&model);
                self.disk.write_windows(&model, bytes);
            }
            Output::Connect { will } => wishes.push(self.knock(will)),
            Output::PublishPresence(presence) => {
                let payload = serde_json::to_vec(&presence).unwrap_or_default();
                self.publish(Item::Presence, payload, wishes);
            }
            Output::PublishState(state) => {
                let payload = serde_json::to_vec(&state).unwrap_or_default();
                self.publish(Item::State, payload, wishes);
            }
            Output::PublishReport { model, report } => {
                self.publish(Item::Report(model), report.encode_to_vec(), wishes);
            }
            Output::Fetch { build, .. } => wishes.extend(self.fetch(build.digest, lent)),
            Output::CancelFetch { digest } | Output::Delete { digest } => {
                self.deeds.push(Deed::Deletes(digest, self.disk.has(&digest)));
                process.loaded.remove(&digest);
                process.fetches.remove(&digest);
                if lent.defect != Some(Defect::DeletesNothing) {
                    self.disk.delete(&digest);
                }
            }
            Output::Admit { build } => {
                let saved = process.agent.saved();
                let active = saved.models.get(&build.model).and_then(|kept| kept.active.as_ref());
                if active.is_some_and(|active| active.probation.is_some() && active.digest != build.digest) {
                    self.deeds.push(Deed::LoadsBeside(build.model.clone(), build.digest));
                }
                let answer = self.admit(&build, lent);
                let told = lent.defect != Some(Defect::TellsNoLoad);
                if told && !happens(lent.chance, lent.answer_lost_ppm) {
                    wishes.push(answer);
                }
            }
            Output::Unload { digest, .. } => drop(process.loaded.remove(&digest)),
            Output::Switch { model, build } => self.switch(model, build, lent, wishes),
            Output::Shadow { build: None, .. } => {}
            Output::Shadow { model, build: Some(build) } => {
                process.loaded.remove(&build.digest);
                let digest = build.digest;
                if !happens(lent.chance, lent.answer_lost_ppm) {
                    process.pending.push_back(Input::Shadowing { model, digest });
                }
            }
            Output::Observe(target) => {
                let at = (target.model.clone(), target.role);
                let inputs = process.recorders.entry(at.clone()).or_default().record_for(now, &target);
                process.watches.insert(at, target);
                process.pending.extend(inputs);
            }
        }
    }

    /// Asks the store for a build; `None`: the answer is lost.
    fn fetch(&mut self, digest: Digest, lent: &mut Lent<'_>) -> Option<Wish> {
        let process = self.process.as_mut()?;
        process.numbers += 1;
        let number = process.numbers;
        process.fetches.insert(digest, number);
        self.deeds.push(Deed::Fetches(digest));
        let (wait_ms, download) = lent.store.download(lent.chance);
        if lent.store != Store::Sound {
            self.reached.insert(format!("download {:?}", lent.store));
        }
        let cut = happens(lent.chance, lent.fetch_fails_ppm);
        let ended = DeviceEvent::FetchEnded(digest, number, if cut { Download::Cut } else { download });
        (!happens(lent.chance, lent.answer_lost_ppm)).then_some(Wish::After(wait_ms, ended))
    }

    pub(super) fn admit(&self, build: &Build, lent: &mut Lent<'_>) -> Wish {
        let digest = build.digest;
        let wait_ms = 500 + drawn(lent.chance, 5_000);
        let model = build.model.clone();
        let refused = |code, detail: &str| Input::Refused {
            model: model.clone(),
            digest,
            failure: Failure::new(code, detail),
        };
        let (wait_ms, input) = match Nature::of(build) {
            _ if !self.disk.has(&digest) => (wait_ms, Input::SlotLost { digest }),
            Nature::Broken => (wait_ms, refused(FailureCode::LoadRefused, "an operator is missing")),
            Nature::Hanging => (LOAD_MAX_MS, refused(FailureCode::LoadRefused, "not loaded in time")),
            _ => {
                let (model, engine) = (model.clone(), "Rten".to_owned());
                (wait_ms, Input::Admitted { model, digest, engine, memory_bytes: 1_000 })
            }
        };
        Wish::After(wait_ms, DeviceEvent::Answer(Box::new(input)))
    }

    pub(super) fn switch(
        &mut self,
        model: ModelName,
        build: Option<Build>,
        lent: &mut Lent<'_>,
        wishes: &mut Vec<Wish>,
    ) {
        let Some(process) = &mut self.process else { return };
        let Some(build) = build else {
            self.serving.remove(&model);
            self.shown.remove(&model);
            self.deeds.push(Deed::Serves(model.clone(), None));
            return process.pending.push_back(Input::Switched { model, digest: None, engine: String::new() });
        };
        let digest = build.digest;
        if !self.disk.has(&digest) {
            let failure = Failure::new(FailureCode::DigestMismatch, "the bytes are gone");
            process.pending.push_back(Input::SlotLost { digest });
            return process.pending.push_back(Input::SwitchFailed { model, digest, failure });
        }
        if Nature::of(&build) == Nature::Crashing {
            wishes.push(Wish::After(5_000 + drawn(lent.chance, 60_000), DeviceEvent::Crash));
        }
        process.loaded.remove(&digest);
        if lent.defect != Some(Defect::KeepsWhatAnswered) || !self.serving.contains_key(&model) {
            self.serving.insert(model.clone(), build);
            self.shown.insert(model.clone(), Shown { digest, errors: 0, since: lent.now, heard: false });
            self.deeds.push(Deed::Serves(model.clone(), Some(digest)));
        }
        if !happens(lent.chance, lent.answer_lost_ppm) {
            let engine = "Rten".to_owned();
            process.pending.push_back(Input::Switched { model, digest: Some(digest), engine });
        }
    }
}
