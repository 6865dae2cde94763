//! Memory of the process: all models share it, so only a build that began to run after the last reading below
//! the limit can have crossed it.

use std::collections::BTreeMap;

use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::state::{Failure, FailureCode};

use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::{Output, Role};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// The last reading was above the limit, and nobody is left to blame.
    told: bool,
}

impl Memory {
    pub fn read(&mut self, exceeded: bool, units: &mut BTreeMap<ModelName, Unit>, turn: &mut Turn<'_>) {
        if !exceeded {
            self.told = false;
            return units.values_mut().for_each(|unit| unit.fresh = None);
        }
        // What runs beside goes before what answers; of those, what came last.
        let blamed = units.values_mut().filter(|unit| unit.fresh.is_some()).max_by_key(|unit| unit.fresh);
        if let Some(unit) = blamed {
            let role = unit.fresh.take().map_or(Role::Live, |(role, _)| role);
            let failure = Failure::new(FailureCode::MemoryExceeded, "more memory than allowed");
            match role {
                Role::Shadow => unit.end_shadow(failure, turn),
                Role::Live => unit.revert(failure, turn),
            }
        } else if !self.told {
            self.told = true;
            turn.emit(Output::Note(
                "more memory than allowed, and no build has begun to run since it was less".to_owned(),
            ));
        }
    }
}
