//! What the shell did, or could not do, told to the units that it is about.

use std::collections::BTreeMap;

use modelfleet_protocol::ids::ModelName;

use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::{Input, Output};

/// What the shell did, or could not do.
pub(crate) fn fold(units: &mut BTreeMap<ModelName, Unit>, input: Input, turn: &mut Turn<'_>) {
    match input {
        Input::FetchProgress { digest, bytes } => {
            units.values_mut().for_each(|unit| unit.fetch_progress(&digest, bytes, turn));
        }
        Input::Fetched { digest } => {
            let mut wanted = false;
            units.values_mut().for_each(|unit| wanted |= unit.fetched(&digest, turn));
            if !wanted {
                turn.emit(Output::Delete { digest });
            }
        }
        Input::FetchFailed { digest, failure, retry } => {
            units.values_mut().for_each(|u| u.fetch_failed(&digest, failure.clone(), retry, turn));
        }
        Input::RoomOnDisk => units.values_mut().for_each(|unit| unit.room_on_disk(turn)),
        Input::Admitted { model, digest, engine, memory_bytes } => {
            let unit = units.get_mut(&model);
            if !unit.is_some_and(|unit| unit.admitted(&digest, engine, memory_bytes, turn)) {
                turn.emit(Output::Unload { model, digest });
            }
        }
        Input::Refused { model, digest, failure } => {
            on(units, &model, |unit| unit.refused(&digest, failure, turn));
        }
        Input::Unreadable { model, digest, failure } => {
            on(units, &model, |unit| unit.unreadable(&digest, failure, turn));
        }
        Input::Shadowing { model, digest } => on(units, &model, |unit| unit.shadowing(&digest)),
        Input::SlotLost { digest } => units.values_mut().for_each(|unit| unit.slot_lost(&digest, turn)),
        Input::Switched { model, digest, engine } => {
            on(units, &model, |unit| unit.switched(digest, engine, turn));
        }
        Input::SwitchFailed { model, digest, failure } => {
            on(units, &model, |unit| unit.switch_failed(&digest, failure, turn));
        }
        Input::WindowClosed { model, digest, window_ms, window } => {
            on(units, &model, |unit| unit.window_closed(digest, window_ms, &window, turn));
        }
        Input::TruthArrived { model, digest, window_ms, index, counters } => {
            on(units, &model, |unit| unit.truth_arrived(digest, window_ms, index, &counters, turn));
        }
        Input::Health { model, digest, answered, errors } => {
            on(units, &model, |unit| unit.health(&digest, answered, errors, turn));
        }
        Input::Started { .. }
        | Input::Stopping
        | Input::NotSaved
        | Input::Saved
        | Input::Memory { .. }
        | Input::Connecting
        | Input::Connected { .. }
        | Input::Disconnected
        | Input::BrokerHeard
        | Input::Plan(_)
        | Input::Override(_)
        | Input::Wake => {}
    }
}

fn on(units: &mut BTreeMap<ModelName, Unit>, model: &ModelName, act: impl FnOnce(&mut Unit)) {
    if let Some(unit) = units.get_mut(model) {
        act(unit);
    }
}
