//! What faults do when they strike, and what heals them.

use super::{DAY_MS, Event, HOUR_MS, START, Trouble, World, ahead};
use crate::api_server::locked;
use crate::broker::Memory;
use crate::device::DeviceEvent;
use crate::faults::Fault;
use crate::network::{Quality, drawn};
use crate::object_store::Store;

/// A controller counts a device again so long after it was last seen to be two, milliseconds, and ten minutes more.
const COPY_FORGOTTEN_MS: u64 = 70 * 60_000;

impl World {
    fn some_device(&mut self) -> usize {
        let last = self.fleet_size() as u64 - 1;
        drawn(&mut self.chance, last) as usize
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        let i = self.some_device();
        match fault {
            Fault::Partitions => self.partition(),
            Fault::BrokerRestarts => self.restart_broker(Memory::Kept),
            Fault::BrokerGoesBack => self.restart_broker(Memory::Snapshot),
            Fault::BrokerForgets => self.restart_broker(Memory::Forgotten),
            Fault::RetainedLost => {
                let at = drawn(&mut self.chance, 1_000) as usize;
                self.broker.forget_one(|_| at);
            }
            Fault::Kills => {
                let left = self.devices[i].kill();
                self.died(i, left, 5_000);
            }
            Fault::PowerLoss => {
                let left = self.devices[i].lose_power(&mut self.chance);
                self.died(i, left, 120_000);
            }
            Fault::OffForHours => {
                let left = self.devices[i].lose_power(&mut self.chance);
                self.died(i, left, 2 * self.scale.between_ms);
            }
            Fault::ClockJumps => self.jump_clock(i),
            Fault::DisksFull => {
                self.devices[i].disk.full = true;
                self.restored_in_hours(i, Trouble::Full);
            }
            Fault::BuildsRot => self.watched[i].rot_one(&mut self.devices[i], &mut self.chance),
            Fault::RecordsRot => self.rot_records(i),
            Fault::ForgedPlans => self.forge(),
            Fault::Liars => {
                self.devices[i].lies = Some(self.chance.below(2) == 0);
                self.lied();
            }
            Fault::Copies if self.copied.is_some() => self.remove_copy(),
            Fault::Copies => self.copy(i),
            Fault::StoreFails => {
                self.store = Store::in_trouble(&mut self.chance);
                self.restored_in_hours(i, Trouble::Store);
            }
            Fault::RetainedCut | Fault::RetainedInPart => self.cut_retained(fault),
            Fault::ApiAway
            | Fault::BackupRestored
            | Fault::StatusesLost
            | Fault::GitOpsReapplies
            | Fault::ControllerKills
            | Fault::ControllerFreezes => return self.strike_control(fault),
            // Those are played packet by packet, step by step or from the start on.
            Fault::Cuts
            | Fault::Stalls
            | Fault::Duplicates
            | Fault::RetainedLate
            | Fault::WillsLate
            | Fault::KillsInSteps
            | Fault::ClockSkew
            | Fault::DownloadsFail
            | Fault::AnswersLost
            | Fault::ApiAnswersLost
            | Fault::WatchLags
            | Fault::WatchExpires
            | Fault::ControllerKillsInSteps
            | Fault::ControllerClocks => return,
        }
        let name = self.devices[i].identity.device.clone();
        self.say(|| format!("{fault:?} ({name})"));
        let wait_ms = 600_000 + drawn(&mut self.chance, self.scale.between_ms);
        self.schedule.in_ms(wait_ms, Event::Fault(fault));
    }

    fn restored_in_hours(&mut self, i: usize, trouble: Trouble) {
        let wait_ms = drawn(&mut self.chance, 3 * HOUR_MS);
        self.schedule.in_ms(wait_ms, Event::Restore(i, trouble));
    }

    fn jump_clock(&mut self, i: usize) {
        let most = if self.chance.below(3) == 0 { 400 * DAY_MS } else { 2 * DAY_MS };
        self.devices[i].clock_ahead_ms = ahead(&mut self.chance, most);
        self.watched[i].records.clock_was_set();
    }

    fn rot_records(&mut self, i: usize) {
        self.devices[i].disk.rot_control();
        self.watched[i].forgot();
        let left = self.devices[i].kill();
        self.died(i, left, 5_000);
    }

    /// Faults of controllers and of what they write to; none where an author writes the plans.
    fn strike_control(&mut self, fault: Fault) {
        let now = self.schedule.now();
        let end = START.after_ms(self.scale.trouble_ms);
        let Some(control) = &mut self.control else { return };
        let c = drawn(&mut self.chance, control.controllers.len() as u64 - 1) as usize;
        match fault {
            Fault::ApiAway => {
                locked(&control.server).trouble.entry(c).or_default().away = true;
                let wait_ms = drawn(&mut self.chance, 2 * HOUR_MS);
                self.schedule.in_ms(wait_ms, Event::Restore(c, Trouble::NoApi));
            }
            Fault::ControllerFreezes => {
                // What has happened meanwhile is planned for its end: that is not after the fleet is healed.
                let until = now.after_ms(drawn(&mut self.chance, 6 * HOUR_MS)).min(end);
                control.controllers[c].frozen_until = Some(until);
            }
            Fault::ControllerKills => {
                let left = control.controllers[c].kill();
                self.controller_died(c, left, 600_000);
            }
            Fault::GitOpsReapplies => {
                locked(&control.server).now = now;
                control.operator.reapply(&control.server);
                self.plan_watches();
            }
            Fault::BackupRestored => self.restore_backup(true),
            _ => self.restore_backup(false),
        }
        self.say(|| format!("{fault:?} (controller-{c})"));
        let wait_ms = 600_000 + drawn(&mut self.chance, 2 * self.scale.between_ms);
        self.schedule.in_ms(wait_ms, Event::Fault(fault));
    }

    /// A plan of the newest order that there can be, which gives a build of nobody's to all devices.
    fn forge(&mut self) {
        let at = drawn(&mut self.chance, self.models.len() as u64 - 1) as usize;
        let letter = self.author.forged(&self.models[at], self.schedule.now());
        let sent = self.broker.publish(letter.topic, letter.payload, true);
        self.deliver(sent);
    }

    /// A second device begins with what is on the disk of this one.
    fn copy(&mut self, i: usize) {
        let at = self.fleet_size();
        let copy = self.devices[i].copied();
        let run = self.devices[at].run + 1;
        let mut before = std::mem::replace(&mut self.devices[at], copy);
        self.devices[at].run = run;
        self.reached.append(&mut before.reached);
        self.watched[at] = self.watched[i].copied();
        self.copied = Some(i);
        let wait_ms = drawn(&mut self.chance, 60_000);
        self.schedule.in_ms(wait_ms, Event::Device(at, run, DeviceEvent::Start));
    }

    /// A person finds the copy, switches it off for good, and starts the other one again as the controller asks for it.
    fn remove_copy(&mut self) {
        let at = self.fleet_size();
        if let Some(left) = self.devices[at].kill() {
            self.cut(left);
        }
        self.devices[at].run += 1;
        if let Some(i) = self.copied.take() {
            self.schedule.in_ms(COPY_FORGOTTEN_MS, Event::Restore(i, Trouble::Copied));
        }
    }

    fn cut_retained(&mut self, fault: Fault) {
        let half = self.broker.count() / 2;
        let most = if self.chance.below(2) == 0 { 10 } else { half };
        if fault == Fault::RetainedInPart {
            self.broker.sent_max = Some(most);
            // Those that connect next get a part.
            self.restart_broker(Memory::Kept);
        } else {
            let chance = &mut self.chance;
            self.broker.cut_to(most, |left| drawn(chance, left as u64 - 1) as usize);
        }
        self.reached.insert(format!("fault {fault:?}"));
        let wait_ms = drawn(&mut self.chance, 3 * HOUR_MS);
        self.schedule.in_ms(wait_ms, Event::Restore(0, Trouble::Retained));
    }

    /// Whoever raises a broker's limits starts it again: then it sends what it has.
    fn mend_retained(&mut self) {
        self.broker.keep_all();
        self.restart_broker(Memory::Kept);
    }

    fn partition(&mut self) {
        let least = drawn(&mut self.chance, 100) as u32;
        let controllers = self.control.as_ref().map_or(0, |control| control.controllers.len());
        for i in 0..self.devices.len() + controllers {
            if self.chance.below(100) < least {
                continue;
            }
            self.unlinked.insert(i);
            if let Some(connection) = self.network.connection_of(i) {
                self.cut(connection);
            }
            let wait_ms = drawn(&mut self.chance, 2 * HOUR_MS);
            self.schedule.in_ms(wait_ms, Event::Restore(i, Trouble::Unlinked));
        }
    }

    fn restart_broker(&mut self, memory: Memory) {
        for (connection, _) in self.broker.restart(memory) {
            self.cut(connection);
        }
    }

    pub(super) fn restore(&mut self, i: usize, trouble: Trouble) {
        match trouble {
            Trouble::Unlinked => {
                self.unlinked.remove(&i);
            }
            Trouble::Full => self.devices[i].disk.full = false,
            Trouble::Store => self.store = Store::Sound,
            Trouble::Copied => {
                let left = self.devices[i].kill();
                self.died(i, left, 5_000);
            }
            Trouble::Retained if self.healing => {}
            Trouble::Retained => self.mend_retained(),
            Trouble::NoApi => {
                if let Some(control) = &self.control {
                    locked(&control.server).trouble.entry(i).or_default().away = false;
                }
            }
        }
    }

    /// Everything is as it should be from now on.
    pub(super) fn heal(&mut self) {
        self.say(|| "healed".to_owned());
        self.healing = true;
        self.healed_at = Some(self.schedule.now());
        self.network.quality = Quality::default();
        self.unlinked.clear();
        self.store = Store::Sound;
        if self.copied.is_some() {
            self.remove_copy();
        }
        if self.faults.has(Fault::RetainedCut) || self.faults.has(Fault::RetainedInPart) {
            self.mend_retained();
        }
        self.author.end_all(self.schedule.now());
        self.heal_control();
        for i in 0..self.devices.len() {
            self.devices[i].disk.full = false;
            if std::mem::take(&mut self.devices[i].clock_ahead_ms) != 0 {
                self.watched[i].records.clock_was_set();
            }
            self.devices[i].lies = None;
        }
        if self.control.is_none() {
            self.hand_over();
        }
    }
}
