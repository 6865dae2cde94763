//! The schema of the standard conditions, and the names of those that the controller sets.

use schemars::{Schema, SchemaGenerator, json_schema};

/// The summary: what the spec asks for is done.
pub const READY: &str = "Ready";
/// The controller is at work.
pub const PROGRESSING: &str = "Progressing";
/// A person or a rule paused the rollout.
pub const PAUSED: &str = "Paused";
/// The judge showed harm.
pub const DEGRADED: &str = "Degraded";
/// In production, and an objective is broken; nothing shows what the cause is.
pub const BREACHED: &str = "Breached";
/// The devices were rolled back to the previous version.
pub const ROLLED_BACK: &str = "RolledBack";
/// A person must act.
pub const STALLED: &str = "Stalled";
/// Size, digest and header of a version's file were checked, and the signature if the controller has publishers' keys.
pub const VERIFIED: &str = "Verified";

/// The watch over a version in production has raised an alarm.
pub const ALARM: &str = "Alarm";

/// An order of one device is at the broker.
pub const SENT: &str = "Sent";
/// The device has taken its order.
pub const TAKEN: &str = "Taken";
/// A device that was retired has been heard again.
pub const HEARD_AGAIN: &str = "HeardAgain";

/// The schema of `status.conditions`: the standard type, with a bound on every string, which the generated
/// one lacks.
pub(crate) fn condition_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "description": "Type of the condition. Example: Ready.",
                    "type": "string", "minLength": 1, "maxLength": 63,
                },
                "status": {
                    "description": "Whether it holds: True, False or Unknown.",
                    "type": "string", "enum": ["True", "False", "Unknown"],
                },
                "observedGeneration": {
                    "description": "The metadata.generation that it was computed from. Example: 3.",
                    "type": "integer", "format": "int64", "minimum": 0,
                },
                "lastTransitionTime": {
                    "description": "When status last changed. Example: 2026-08-01T12:00:00Z.",
                    "type": "string", "format": "date-time",
                },
                "reason": {
                    "description": "Why, as one CamelCase word for programs. Example: AwaitingReports.",
                    "type": "string", "minLength": 1, "maxLength": 64,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "description": "Why, with numbers and what to do next.",
                    "type": "string", "maxLength": 512,
                },
            },
        },
    })
}
