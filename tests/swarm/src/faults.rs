//! Which faults a seed plays with. Each is on or off for the whole run, so that a failure can be shrunk to the few that it
//! needs.

use std::fmt;
use std::str::FromStr;

use modelfleet_number::chance::Chance;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Connections are cut.
    Cuts,
    /// Packets take a hundred times as long.
    Stalls,
    /// Messages arrive twice.
    Duplicates,
    /// Retained messages arrive behind newer ones.
    RetainedLate,
    /// Links of many devices stop, one after the other, and come back in another order.
    Partitions,
    /// The broker restarts with all it had.
    BrokerRestarts,
    /// The broker comes back with what it had some time ago.
    BrokerGoesBack,
    /// The broker comes back empty.
    BrokerForgets,
    /// Single retained messages are lost.
    RetainedLost,
    /// The last will comes after the next connect.
    WillsLate,
    /// The agent's process is killed at any moment.
    Kills,
    /// The agent's process is killed between two actions of one step.
    KillsInSteps,
    /// A machine loses its power; deletions may be undone.
    PowerLoss,
    /// Devices are off for hours.
    OffForHours,
    /// A device's clock is wrong by up to hours.
    ClockSkew,
    /// A device's clock jumps by days or a year.
    ClockJumps,
    /// Downloads fail.
    DownloadsFail,
    /// The shell loses its answer to a load or a download: a thread that fell over.
    AnswersLost,
    /// A disk takes no writes for a while.
    DisksFull,
    /// Bytes of builds rot on disk.
    BuildsRot,
    /// The control record rots on disk, both copies.
    RecordsRot,
    /// The API server is away for a while.
    ApiAway,
    /// Writes are stored and their answers are lost.
    ApiAnswersLost,
    /// Watches show changes minutes late.
    WatchLags,
    /// Watches begin anew with a list.
    WatchExpires,
    /// Objects are restored from a backup, with their statuses.
    BackupRestored,
    /// Objects are restored from a backup without statuses.
    StatusesLost,
    /// A pipeline applies yesterday's files again.
    GitOpsReapplies,
    /// The controller's process is killed at any moment.
    ControllerKills,
    /// The controller's process is killed between two writes of one reconcile.
    ControllerKillsInSteps,
    /// A controller's machine stands still for hours and goes on as if nothing had happened.
    ControllerFreezes,
    /// Controllers' wall clocks are wrong by up to a year.
    ControllerClocks,
    /// A client that may write everywhere retains plans that another key has signed.
    ForgedPlans,
    /// Some devices report that every request failed, or that none did, whatever runs.
    Liars,
    /// A second device is made from a copy of another's disk: two with one id.
    Copies,
    /// The store of builds answers with errors, is slow, or gives other bytes or a part of them.
    StoreFails,
    /// The broker keeps ten retained messages, or half of them, and takes no more.
    RetainedCut,
    /// The broker sends ten of the retained messages to each subscription, or half of them.
    RetainedInPart,
}

/// All kinds, in the order in which a seed draws them.
pub const ALL: [Fault; 38] = [
    Fault::Cuts,
    Fault::Stalls,
    Fault::Duplicates,
    Fault::RetainedLate,
    Fault::Partitions,
    Fault::BrokerRestarts,
    Fault::BrokerGoesBack,
    Fault::BrokerForgets,
    Fault::RetainedLost,
    Fault::WillsLate,
    Fault::Kills,
    Fault::KillsInSteps,
    Fault::PowerLoss,
    Fault::OffForHours,
    Fault::ClockSkew,
    Fault::ClockJumps,
    Fault::DownloadsFail,
    Fault::AnswersLost,
    Fault::DisksFull,
    Fault::BuildsRot,
    Fault::RecordsRot,
    Fault::ApiAway,
    Fault::ApiAnswersLost,
    Fault::WatchLags,
    Fault::WatchExpires,
    Fault::BackupRestored,
    Fault::StatusesLost,
    Fault::GitOpsReapplies,
    Fault::ControllerKills,
    Fault::ControllerKillsInSteps,
    Fault::ControllerFreezes,
    Fault::ControllerClocks,
    Fault::ForgedPlans,
    Fault::Liars,
    Fault::Copies,
    Fault::StoreFails,
    Fault::RetainedCut,
    Fault::RetainedInPart,
];

/// The faults of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Each fault with an even chance; every eighth seed has none, so that the world itself is shown to be sound.
    #[must_use]
    pub fn drawn_by(seed: u64) -> Faults {
        let chance = &mut Chance::fork(seed, 1);
        let calm = chance.below(8) == 0;
        let drawn = ALL.into_iter().filter(|_| chance.below(3) == 0);
        let drawn: Vec<Fault> = drawn.collect();
        Faults(if calm { Vec::new() } else { drawn })
    }

    /// All but these.
    #[must_use]
    pub fn without(self, others: &Faults) -> Faults {
        Faults(self.0.into_iter().filter(|fault| !others.has(*fault)).collect())
    }

    /// Whether a fault is on.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|fault| format!("{fault:?}")).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Faults, String> {
        if text == "none" {
            return Ok(Faults::default());
        }
        let one = |name: &str| {
            let found = ALL.into_iter().find(|fault| format!("{fault:?}") == name);
            found.ok_or_else(|| format!("{name} is no fault; there are {ALL:?}"))
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_read_back_as_they_are_written() {
        for faults in [Faults::default(), Faults(vec![Fault::Kills]), Faults(ALL.to_vec())] {
            assert_eq!(faults.to_string().parse(), Ok(faults));
        }
        assert!("Kills,Gremlins".parse::<Faults>().unwrap_err().starts_with("Gremlins is no fault"));
    }
}
