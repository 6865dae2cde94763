//! Which devices may have the version, as a rule of constant size.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::rules::RuleText;
use crate::selector::DeviceSelector;

// The bounds of single clauses would let an object grow to half a megabyte.
const FEW_STRATA: RuleText = (
    "!has(self.clauses) || self.clauses.map(c, has(c.strata) ? size(c.strata) : 0).sum() <= 128",
    "clauses must not have more than 128 strata together",
);
const FEW_DEVICES: RuleText = (
    "!has(self.clauses) || self.clauses.map(c, has(c.devices) ? size(c.devices) : 0).sum() <= 64",
    "clauses must not have more than 64 devices together",
);

// Eight characters for each of 512 ranks.
const FEW_RANKS: RuleText = (
    "!has(self.clauses) || self.clauses.map(c, has(c.ranks) ? size(c.ranks) : 0).sum() <= 4096",
    "clauses must not list more than 512 ranks together",
);

/// A device may have the version when any clause includes it. Clauses are only added and bounds only grow, so that an
/// included device stays included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = FEW_STRATA, validation = FEW_DEVICES, validation = FEW_RANKS)]
pub struct Membership {
    /// Text that gives the devices an order of their own in each attempt of each rollout. Example: `5d41402abc4b2a76`.
    #[schemars(length(max = 64))]
    pub salt: String,

    /// The clauses, one for each stage that has started, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub clauses: Vec<MembershipClause>,
}

/// The devices of one stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MembershipClause {
    /// Name of the stage. Example: `canary`.
    #[schemars(length(max = 63))]
    pub stage: String,

    /// Devices that the clause may include.
    #[serde(default)]
    pub selector: DeviceSelector,

    /// Label keys whose values define the strata, at most 4. Example: `[age, load]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(max = 317)), extend("x-kubernetes-list-type" = "atomic"))]
    pub spread_by: Vec<String>,

    /// The strata, one for each combination of values that occurs, at most 64. The rarest combinations share the stratum
    /// with an empty key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub strata: Vec<Stratum>,

    /// Devices that are included by their id, at most 64: a small stage lists its devices. Example: `[pump-0007]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128)), extend("x-kubernetes-list-type" = "atomic"))]
    pub devices: Vec<String>,

    /// Devices that are included by their rank, at most 512: the devices of a stage with a number of devices that is too
    /// large to list their ids. The first 48 bits of each rank, in ascending order, in base64 with the alphabet for
    /// addresses: 8 characters each. Example: `AAAAAAAH`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096), regex(pattern = "^([0-9A-Za-z_-]{8})*$"))]
    pub ranks: String,
}

/// Devices with the same values of the labels in `spreadBy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stratum {
    /// The values, in the order of `spreadBy`, at most 4. Empty for all other devices. Example: `[old,
    /// heavy]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub key: Vec<String>,

    /// Devices whose rank is below this bound are included: 16 hexadecimal digits; `ffffffffffffffff` includes all.
    /// Example: `0666666666666666`, one in 40.
    #[schemars(length(max = 16), regex(pattern = "^[0-9a-f]{16}$"))]
    pub bound: String,

    /// Devices of the stratum when the bound was computed. Example: `80`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub total: i64,

    /// Devices of the stratum that were to be included. Example: `2`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub target: i64,
}
