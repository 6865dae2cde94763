//! The schema of the standard conditions, and the names of those that we set.

use schemars::{Schema, SchemaGenerator, json_schema};

/// The summary: the object's wish is fulfilled.
pub const READY: &str = "Ready";
/// The controller still works towards the wish.
pub const PROGRESSING: &str = "Progressing";
/// A person or a rule paused the rollout.
pub const PAUSED: &str = "Paused";
/// The judge showed harm.
pub const DEGRADED: &str = "Degraded";
/// In production, and an objective is broken; whose fault that is, nothing shows.
pub const BREACHED: &str = "Breached";
/// The devices were taken back to the version before.
pub const ROLLED_BACK: &str = "RolledBack";
/// It will not go on without a person.
pub const STALLED: &str = "Stalled";
/// Digest, signature and self-test data of a version were checked.
pub const VERIFIED: &str = "Verified";

/// The schema of `status.conditions`: the standard type, with a bound on every string, which the generated
/// one lacks.
pub(crate) fn condition_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 9,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "description": "What the condition speaks about. Example: Ready.",
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
                    "description": "Why, as a sentence with numbers for people.",
                    "type": "string", "maxLength": 512,
                },
            },
        },
    })
}
