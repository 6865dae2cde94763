//! The devices as the evidence rule takes them: what each would have said by now, in the controller's words.

use modelfleet_evidence::{Device, Facts, Moment, Progress, away_by_rhythm};
use modelfleet_judge::{Arm, Counts, WATCHED_MAX};
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::time::Time;

use crate::device::{self, Fact, NEVER, Standing};
use crate::fleet::Fleet;
use crate::setup::Controls;

/// A fleet at one moment.
pub struct Observer<'a> {
    fleet: &'a Fleet<'a>,
    controls: Controls,
    /// Which strata are cut off; `None`: none.
    cut: Option<Vec<bool>>,
    delay: u32,
    now: Time,
}

/// A device at one moment.
#[derive(Clone, Copy)]
pub struct Observed<'a> {
    observer: &'a Observer<'a>,
    slot: u32,
}

impl<'a> Observer<'a> {
    /// Looks at a fleet at the beginning of `window`.
    pub fn new(fleet: &'a Fleet<'a>, controls: Controls, window: u32) -> Observer<'a> {
        let cut = fleet.tables.cut_off(window.saturating_sub(1));
        let delay = fleet.tables.scenario.network.report_delay_windows;
        let now = Time(u64::from(window).saturating_mul(fleet.stage.length_ms()));
        Observer { fleet, controls, cut, delay, now }
    }

    /// All devices.
    pub fn devices(&'a self) -> impl Iterator<Item = Observed<'a>> + Clone {
        (0..self.fleet.devices.len() as u32).map(|slot| Observed { observer: self, slot })
    }

    /// Those that run the candidate: most run nothing new, and what they say is not worked out.
    fn running(&'a self) -> impl Iterator<Item = Observed<'a>> {
        self.devices().filter(|device| device.device().runs())
    }

    /// How far the running canaries have got.
    pub fn progress(&'a self) -> Progress {
        Progress::of(self.running(), &self.fleet.stage)
    }

    /// Enough running canaries are silent for [`modelfleet_judge::gone_quiet`] to be asked.
    pub fn may_be_quiet(&'a self, moment: &Moment) -> bool {
        let opened = self.fleet.stage.opened();
        let canaries = self.running().map(|device| (device, device.facts()));
        let counted = canaries.filter(|(device, facts)| {
            facts.runs_as_canary() && facts.is_attempted(Arm::Canary, opened, device.activated())
        });
        let (all, silent) = counted.fold((0_u64, 0_u64), |(all, silent), (_, facts)| {
            (all + 1, silent + u64::from(!facts.is_heard(moment)))
        });
        all > 0 && 2 * silent >= all
    }

    /// Whether a device that is out of reach was so at this time of day before; asked only where a scenario has nights, since no
    /// other makes a rhythm.
    fn by_rhythm(&self, device: &device::Device) -> Option<bool> {
        let tables = self.fleet.tables;
        if device.is(Fact::Online) || !tables.has_nights() {
            return None;
        }
        let begun = if device.runs() { device.entered } else { 0 };
        let works_on = tables.scenario.fleet.offline.works_on;
        let known = |first: u64, end: u64| {
            let of = |window: u64| u32::try_from(window).unwrap_or(device::NEVER);
            let windows = of(first).max(begun)..of(end).min(device.reported);
            windows.filter(|window| works_on || !tables.night(*window).0).count() as u64
        };
        away_by_rhythm(self.now, self.fleet.stage.length_ms(), known)
    }

    #[inline]
    fn window_start(&self, window: u32) -> Time {
        Time(u64::from(window).saturating_mul(self.fleet.stage.length_ms()))
    }
}

impl<'a> Observed<'a> {
    #[inline]
    fn device(&self) -> &'a device::Device {
        &self.observer.fleet.devices[self.slot as usize]
    }
}

impl Device for Observed<'_> {
    #[inline]
    fn facts(&self) -> Facts {
        let (observer, device) = (self.observer, self.device());
        let stratum = usize::from(device.stratum);
        let away = observer.cut.as_ref().is_some_and(|cut| cut[stratum]);
        let taken = observer.controls != Controls::InReachAtDraw || device.is(Fact::WasOnline);
        let (phase, code) = match device.standing {
            Standing::Idle => (None, None),
            Standing::Waiting => ((device.entered != NEVER).then_some(Phase::Offered), None),
            Standing::Running => (Some(Phase::Activated), None),
            Standing::Confirmed => (Some(Phase::Confirmed), None),
            Standing::Failed => (Some(Phase::Failed), Some(FailureCode::LoadRefused)),
            Standing::Incompatible => (Some(Phase::Incompatible), Some(FailureCode::OperatorMissing)),
            Standing::Back => (Some(Phase::RolledBack), None),
        };
        Facts {
            member: device.is(Fact::Member),
            set_aside: device.is(Fact::SetAside),
            matching: observer.fleet.matching[stratum] && taken,
            online: device.is(Fact::Online) && !away,
            known: true,
            phase,
            code,
            since: if device.standing == Standing::Running { self.activated() } else { Time::ZERO },
            heard_at: observer.window_start(device.reported.saturating_add(observer.delay)),
            by_rhythm: observer.by_rhythm(device),
            ..Facts::default()
        }
    }

    #[inline]
    fn number(&self) -> u32 {
        self.slot
    }

    #[inline]
    fn stratum(&self) -> u16 {
        self.observer.fleet.compared[usize::from(self.device().stratum)]
    }

    #[inline]
    fn watched(&self) -> [u16; WATCHED_MAX] {
        self.observer.fleet.watched[usize::from(self.device().stratum)]
    }

    #[inline]
    fn site(&self) -> u16 {
        self.observer.fleet.sites[usize::from(self.device().stratum)]
    }

    /// In the middle of the window before its first whole one.
    #[inline]
    fn activated(&self) -> Time {
        let device = self.device();
        if !device.runs() {
            return Time::ZERO;
        }
        let half = self.observer.fleet.stage.length_ms() / 2;
        Time(self.observer.window_start(device.entered).0.saturating_sub(half))
    }

    #[inline]
    fn reported_until(&self) -> u64 {
        u64::from(self.device().reported)
    }

    #[inline]
    fn past(&self, objective: usize) -> Counts {
        self.observer.fleet.past(self.slot as usize, objective)
    }

    #[inline]
    fn since(&self, objective: usize, first: u64) -> Counts {
        self.observer.fleet.since(self.slot as usize, objective, first)
    }
}
