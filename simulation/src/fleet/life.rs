//! What devices do in a window: take the candidate, count, report, leave.

use modelfleet_judge::Arm;

use super::{Fleet, Newborn, Order, memory};
use crate::chances::{burst, happens, waiting};
use crate::device::{Fact, NEVER, Standing};
use crate::meter::Meter;
use crate::variation::WindowCourse;

impl Fleet<'_> {
    /// Members in reach that take the candidate in this window, with their moment in it, in the order of time.
    pub fn due(&mut self, window: u32, order: Order) -> Vec<(u32, u32)> {
        let cut = self.tables.cut_off(window);
        let mut due = Vec::new();
        let (devices, waiting) = (&mut self.devices, &mut self.waiting);
        waiting.retain(|&slot| {
            let device = &mut devices[slot as usize];
            let member = device.standing == Standing::Waiting && device.is(Fact::Member);
            let away = cut.as_ref().is_some_and(|cut| cut[usize::from(device.stratum)]);
            if !member || !device.is(Fact::Online) || away {
                return member;
            }
            if device.entered == NEVER {
                let wait = order.spread_windows * device.chance.unit();
                device.entered = window.saturating_add(wait as u32);
            }
            if device.entered <= window {
                due.push(((device.chance.next_u64() >> 32) as u32, slot));
            }
            true
        });
        due.sort_unstable();
        due
    }

    /// One device takes the candidate; whether it could.
    pub fn activate(&mut self, slot: u32, window: u32) -> bool {
        let device = &mut self.devices[slot as usize];
        if device.standing != Standing::Waiting || !device.is(Fact::Member) {
            return true;
        }
        if happens(self.tables.fates[usize::from(device.stratum)].incompatible, &mut device.chance) {
            device.standing = Standing::Incompatible;
            return true;
        }
        if device.is(Fact::Breaks) {
            device.standing = Standing::Failed;
            return false;
        }
        device.standing = Standing::Running;
        device.entered = window + 1;
        let at = slot as usize * self.tables.indicators;
        self.meters[at..at + self.tables.indicators].iter_mut().for_each(Meter::restart);
        true
    }

    /// All devices live through a window, and who is in reach reports.
    pub fn pass(&mut self, window: u32, order: Order) {
        let tables = self.tables;
        let scenario = &tables.scenario;
        let loss = scenario.network.report_loss;
        let until = (window + 1).saturating_sub(scenario.network.report_delay_windows);
        let cut = tables.cut_off(window);
        self.heard = false;
        for slot in 0..self.devices.len() {
            if self.devices[slot].moves_at <= window {
                self.moved(slot, window);
            }
            let device = &mut self.devices[slot];
            let away = cut.as_ref().is_some_and(|cut| cut[usize::from(device.stratum)]);
            if !device.is(Fact::Online) || away {
                continue;
            }
            self.heard = true;
            if device.runs() {
                if !order.candidate {
                    device.standing = Standing::Back;
                } else if device.is(Fact::Hangs) {
                    continue;
                } else if window + 1 >= device.entered.saturating_add(order.probation_windows) {
                    device.standing = Standing::Confirmed;
                }
            }
            if happens(loss, &mut device.chance) {
                continue;
            }
            for at in device.reported..until {
                self.live(slot, at);
            }
            let device = &mut self.devices[slot];
            device.reported = device.reported.max(until);
        }
        self.churn(window);
    }

    fn moved(&mut self, slot: usize, window: u32) {
        let mut device = self.devices[slot].clone();
        let online = !device.is(Fact::Online);
        device.set(Fact::Online, online);
        self.plan_move(&mut device, window);
        if device.is(Fact::Online) && !self.tables.scenario.fleet.offline.works_on {
            device.reported = window;
        }
        self.devices[slot] = device;
    }

    /// One window of one device.
    #[inline]
    fn live(&mut self, slot: usize, window: u32) {
        let tables = self.tables;
        let device = &mut self.devices[slot];
        let meters = slot * tables.indicators..(slot + 1) * tables.indicators;
        let runs = device.runs();
        let start = self.stage.start_window(u64::from(device.entered));
        let of = |window: u64| u32::try_from(window).unwrap_or(NEVER);
        let first = if runs { of(start.compared) } else { self.stage_first };
        let settled = of(start.settled);
        let affected = runs && device.is(Fact::Affected);
        let short = memory::shortened(tables, runs);
        let onset = device.entered.saturating_add(tables.scenario.effect.onset_windows);
        let mut variation = self.variations.get_mut(slot);
        let vary = variation.as_mut();
        let course =
            vary.map_or(WindowCourse::STEADY, |v| v.pass(tables, device.stratum, device.level, window));
        let level = device.level * course.factor;
        for (indicator, meter) in self.meters[meters].iter_mut().enumerate() {
            let Some(at) = window.checked_sub(tables.truth_delay[indicator]) else { continue };
            let harmed = affected && at >= onset && tables.harms_at(at);
            let alone = tables.hazard(device.stratum, indicator, at, harmed) - course.shared;
            // What an improved objective has left beside the bursts that strike all is never less than nothing.
            meter.left -= level * alone.max(0.0);
            let mut bad = meter.left <= 0.0;
            if bad {
                meter.left = waiting(&mut device.chance);
            }
            bad |= course.struck;
            if !tables.scenario.outages.is_empty()
                && let Some(severity) = tables.outage(device.stratum, at, runs && at >= device.entered)
            {
                bad |= happens(severity, &mut device.chance);
            }
            if runs && tables.pays_for_the_swap(device.entered, at) {
                bad |= happens(tables.scenario.effect.swap_cost_severity, &mut device.chance);
            }
            if device.is(Fact::Broken)
                && let Some(severity) = tables.broken(at)
            {
                bad |= happens(severity, &mut device.chance);
            }
            if let Some(variation) = &variation {
                bad = variation.told(bad, runs && at >= device.entered);
            }
            if at >= first {
                memory::count(short, meter, at - first, bad);
            }
            if !runs && memory::forgets(tables, meter, at) {
                meter.forget_one(&mut device.chance);
            }
            let candidate = runs && at >= device.entered;
            let merges = at >= self.stage_first && !(candidate && at < settled);
            if merges && device.is(Fact::Sampled) {
                let arm = if candidate { Arm::Canary } else { Arm::Control };
                let errors = match bad && tables.counts_errors {
                    true => burst(tables.scenario.fleet.burst, &mut device.chance),
                    false => 0,
                };
                self.windows.add(arm, indicator, at, bad, errors);
            }
        }
    }

    /// Some devices leave, and new ones come in their place, or beside what is still known of them.
    fn churn(&mut self, window: u32) {
        let scenario = &self.tables.scenario.fleet;
        let known = self.devices.len();
        let there = known - self.gone;
        self.churn_due += scenario.churn_per_day / f64::from(self.tables.day_windows) * there as f64;
        while self.churn_due >= 1.0 {
            self.churn_due -= 1.0;
            let slot = self.chance.below(u32::try_from(known).unwrap_or(u32::MAX));
            if !scenario.leavers_stay {
                self.replace(slot, window);
            } else if !self.devices[slot as usize].is_gone() {
                self.devices[slot as usize].leave();
                self.gone += 1;
                self.arrive(window);
            } else {
                // It left before: another one is drawn.
                self.churn_due += 1.0;
            }
        }
    }

    /// A device is gone at once, and another one comes in its place.
    fn replace(&mut self, slot: u32, window: u32) {
        let generation = self.generations.entry(slot).or_default();
        *generation += 1;
        let label = u64::from(*generation) << 32 | u64::from(slot);
        let Newborn { device, meters, variation } = self.born(label, 0, window + 1);
        let at = slot as usize * self.tables.indicators;
        self.meters.splice(at..at + self.tables.indicators, meters);
        self.devices[slot as usize] = device;
        if let (Some(place), Some(own)) = (self.variations.get_mut(slot as usize), variation) {
            *place = own;
        }
        self.waiting.retain(|waiting| *waiting != slot);
        self.join_by_rule(slot);
    }

    /// A device comes beside the others.
    fn arrive(&mut self, window: u32) {
        let slot = self.devices.len();
        let Newborn { device, meters, variation } = self.born(slot as u64, 0, window + 1);
        self.devices.push(device);
        self.meters.extend(meters);
        self.variations.extend(variation);
        self.join_by_rule(u32::try_from(slot).unwrap_or(u32::MAX));
    }

    fn join_by_rule(&mut self, slot: u32) {
        let labels = &self.tables.labels[usize::from(self.devices[slot as usize].stratum)];
        let member = self.id(slot).is_some_and(|id| self.membership.includes(&id, labels));
        self.join(slot, member);
    }
}
