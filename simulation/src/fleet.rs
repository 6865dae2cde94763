//! All devices of a run, and who of them is drawn.

mod draw;
mod life;
mod memory;
mod view;

use std::collections::BTreeMap;

use modelfleet_evidence::{SAMPLE_MAX, StageWindows};
use modelfleet_judge::WATCHED_MAX;
use modelfleet_number::chance::Chance;
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::time::Time;

use crate::chances::{bad_windows, happens, pareto, spell, spread, waiting};
use crate::device::{Device, Fact, NEVER};
use crate::harm::Tables;
use crate::meter::Meter;
use crate::scenario::OfflinePattern;
use crate::variation::{Variation, WindowCourse};
use crate::windows::Windows;

/// Keeps the draw of the broken devices apart from others under the same seed and device.
const BROKEN: u64 = 0x6272_6f6b_656e;

/// All devices of a run.
pub struct Fleet<'a> {
    /// What they live by.
    pub tables: &'a Tables,
    /// The devices.
    pub devices: Vec<Device>,
    /// Their meters, one for each indicator, device by device.
    pub meters: Vec<Meter>,
    /// How devices vary beyond their level; empty where none does.
    variations: Vec<Variation>,
    /// Merged windows of the stage.
    pub windows: Windows,
    /// The windows of the stage.
    pub stage: StageWindows,
    /// The first of them that may count.
    pub stage_first: u32,
    /// Which strata the stage draws from.
    pub matching: Vec<bool>,
    /// Which devices the judge compares with each other, by stratum.
    pub compared: Vec<u16>,
    /// Which values of the labels that the stage watches devices have, by stratum.
    pub watched: Vec<[u16; WATCHED_MAX]>,
    /// Where devices are, by stratum.
    pub sites: Vec<u16>,
    /// Whether any device was in reach in the last window.
    pub heard: bool,
    membership: Membership,
    waiting: Vec<u32>,
    /// How often a device was replaced.
    generations: BTreeMap<u32, u32>,
    seed: u64,
    chance: Chance,
    churn_due: f64,
    /// Devices that left and are still known.
    gone: usize,
}

/// What the plan says to devices.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The candidate is in the plan.
    pub candidate: bool,
    /// Windows over which downloads are spread.
    pub spread_windows: f64,
    /// Windows of probation beyond the one in which a device activates.
    pub probation_windows: u32,
}

/// Tells a device's stream of variation from its others.
const VARIATION: u64 = 0x5D2F_9A61_77C4_0B3E;

/// A device that is new to the fleet.
struct Newborn {
    device: Device,
    meters: Vec<Meter>,
    variation: Option<Variation>,
}

/// The meters of a device that has lived through these windows, one by one.
fn live_past(
    tables: &Tables,
    device: &mut Device,
    mut variation: Option<&mut Variation>,
    past: std::ops::Range<u32>,
) -> Vec<Meter> {
    let mut left: Vec<f32> = (0..tables.indicators).map(|_| waiting(&mut device.chance)).collect();
    let mut bad = vec![0; tables.indicators];
    for window in past.clone() {
        let (stratum, level) = (device.stratum, device.level);
        let course =
            variation.as_mut().map_or(WindowCourse::STEADY, |v| v.pass(tables, stratum, level, window));
        for (indicator, (left, bad)) in left.iter_mut().zip(&mut bad).enumerate() {
            let alone = tables.hazard(stratum, indicator, window, false) - course.shared;
            *left -= level * course.factor * alone;
            let struck = *left <= 0.0;
            if struck {
                *left = waiting(&mut device.chance);
            }
            let is_bad = struck || course.struck;
            *bad += u32::from(variation.as_ref().map_or(is_bad, |v| v.told(is_bad, false)));
        }
    }
    left.iter().zip(bad).map(|(left, bad)| Meter::new(*left, past.len() as u32, bad)).collect()
}

impl<'a> Fleet<'a> {
    /// A fleet with its past lived through.
    pub fn new(tables: &'a Tables, seed: u64) -> Fleet<'a> {
        let count = usize::try_from(tables.scenario.fleet.devices).unwrap_or(usize::MAX);
        let mut fleet = Fleet {
            tables,
            devices: Vec::with_capacity(count),
            meters: Vec::with_capacity(count.saturating_mul(tables.indicators)),
            variations: Vec::new(),
            windows: Windows::new(tables.indicators),
            stage: StageWindows::new(tables.window_ms, tables.warmup_windows, 0, Time(u64::MAX)),
            stage_first: NEVER,
            matching: vec![true; tables.labels.len()],
            compared: vec![0; tables.labels.len()],
            watched: vec![[0; WATCHED_MAX]; tables.labels.len()],
            sites: vec![0; tables.labels.len()],
            heard: true,
            membership: Membership::default(),
            waiting: Vec::new(),
            generations: BTreeMap::new(),
            seed,
            chance: Chance::fork(seed, u64::MAX),
            churn_due: 0.0,
            gone: 0,
        };
        for slot in 0..count {
            let history = tables.scenario.fleet.history_windows;
            let Newborn { device, meters, variation } = fleet.born(slot as u64, history, tables.start);
            fleet.devices.push(device);
            fleet.meters.extend(meters);
            fleet.variations.extend(variation);
        }
        fleet
    }

    /// A device with `history` windows of past, whose first window is `window`.
    fn born(&self, label: u64, history: u32, window: u32) -> Newborn {
        let tables = self.tables;
        let scenario = &tables.scenario.fleet;
        let mut chance = Chance::fork(self.seed, label);
        let stratum = tables.stratum_at(chance.unit());
        let level = spread(scenario.sigma, &mut chance) * pareto(scenario.rate_tail, &mut chance);
        let fate = tables.fates[usize::from(stratum)];
        let mut device = Device::new(chance, stratum, window);
        device.level = level as f32;
        for (fact, share) in
            [(Fact::Affected, fate.affected), (Fact::Breaks, fate.breaks), (Fact::Hangs, fate.hangs)]
        {
            let holds = happens(share, &mut device.chance);
            device.set(fact, holds);
        }
        if scenario.broken.share > 0.0 {
            // By a stream of its own: with and without broken devices the rest of the fleet is the same.
            let broken = happens(scenario.broken.share, &mut Chance::fork(self.seed ^ BROKEN, label));
            device.set(Fact::Broken, broken);
        }
        let offline = &scenario.offline;
        device.offline_share = match offline.pattern {
            OfflinePattern::Spells | OfflinePattern::Night => offline.share as f32,
            OfflinePattern::Chronic => (2.0 * offline.share * device.chance.unit()).min(0.95) as f32,
        };
        if offline.share > 0.0 {
            let away = happens(f64::from(device.offline_share), &mut device.chance);
            device.set(Fact::Online, !away);
            self.plan_move(&mut device, window);
        }
        let own = || Variation::new(tables, Chance::fork(self.seed ^ VARIATION, label));
        let mut variation = tables.devices_vary().then(own);
        if tables.past_varies() {
            let meters = live_past(tables, &mut device, variation.as_mut(), window - history..window);
            return Newborn { device, meters, variation };
        }
        let meter = |indicator: usize| {
            let hazard = level * tables.usual_hazard(stratum, indicator);
            let bad = bad_windows(history, hazard, &mut device.chance);
            Meter::new(waiting(&mut device.chance), history, bad)
        };
        let meters = (0..tables.indicators).map(meter).collect();
        Newborn { device, meters, variation }
    }

    /// When the device next goes out of reach, or comes back.
    fn plan_move(&self, device: &mut Device, window: u32) {
        if self.tables.has_nights() {
            let (dark, next) = self.tables.night(window);
            device.set(Fact::Online, !dark);
            device.moves_at = next;
            return;
        }
        let share = f64::from(device.offline_share);
        if share <= 0.0 {
            device.moves_at = NEVER;
            return;
        }
        let away = self.tables.scenario.fleet.offline.mean_windows;
        let mean = if device.is(Fact::Online) { away * (1.0 - share) / share } else { away };
        device.moves_at = window.saturating_add(spell(mean, &mut device.chance));
    }

    /// The id of a slot's device.
    pub fn id(&self, slot: u32) -> Option<DeviceId> {
        let text = match self.generations.get(&slot) {
            None => format!("d{slot:08}"),
            Some(generation) => format!("d{slot:08}.{generation}"),
        };
        text.parse().ok()
    }

    /// A stage has opened, in which devices settle for so many windows after an activation.
    pub fn open_stage(&mut self, opened: Time, settling: u64) {
        let settling = if self.tables.settles { settling } else { 0 };
        self.stage = StageWindows::new(self.tables.window_ms, self.tables.warmup_windows, settling, opened);
        self.stage_first = u32::try_from(self.stage.first()).unwrap_or(NEVER);
    }

    /// Begins the count of a stage that was drawn, and opens soon.
    pub fn begin_stage(&mut self, sample_all: bool) {
        self.windows.clear();
        self.meters.iter_mut().for_each(Meter::restart);
        let members = self.devices.iter().filter(|d| d.is(Fact::Member)).count();
        let stride = |count: usize| if sample_all { 1 } else { count.div_ceil(SAMPLE_MAX).max(1) };
        let strides = [stride(self.devices.len() - members), stride(members)];
        let mut seen = [0_usize; 2];
        for device in &mut self.devices {
            let arm = usize::from(device.is(Fact::Member));
            let online = device.is(Fact::Online);
            device.set(Fact::WasOnline, online);
            device.set(Fact::Sampled, seen[arm].is_multiple_of(strides[arm]));
            seen[arm] += 1;
        }
    }
}
