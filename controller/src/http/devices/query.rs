//! What a request asks for.

use modelfleet_crds::device_api::{LIMIT_DEFAULT, LIMIT_MAX};
use modelfleet_fleet::device_list::DeviceFilter;
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::time::Time;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::answers::Names;

/// What a list may be asked for. All of it holds for each device of the answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListQuery {
    /// Devices whose labels match, as `kubectl --selector` has it. Example: `site=north,age in (old, new)`.
    pub label_selector: Option<String>,
    /// Devices that run, try or report this model.
    pub model: Option<String>,
    /// Devices on which this version answers.
    pub version: Option<String>,
    /// Devices whose last attempt stands here. Example: `Failed`.
    pub phase: Option<String>,
    /// Devices whose last attempt ended with this failure. Example: `SelfTestMismatch`.
    pub failure: Option<String>,
    /// Devices that are connected, or that are not.
    pub connected: Option<bool>,
    /// Devices of which nothing was heard for so many seconds.
    pub silent_seconds: Option<u32>,
    /// Most devices of a page, from 1 to 1000. Default: 100.
    #[schemars(range(min = 1, max = 1_000))]
    pub limit: Option<u32>,
    /// Where the page before ended, as its `continue` has it.
    #[serde(rename = "continue")]
    pub next: Option<String>,
}

/// What failures may be asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailureQuery {
    /// Failures of this model alone.
    pub model: Option<String>,
}

/// A word that is one of those of a list. Words of newer agents are read as `Unknown`; here they are a mistake.
fn word<T: DeserializeOwned + Serialize>(field: &str, text: &str) -> Result<T, String> {
    let read: Option<T> = serde_json::from_value(text.into()).ok();
    let same = read.filter(|read| serde_json::to_value(read).is_ok_and(|value| value == text));
    same.ok_or_else(|| {
        format!("{field}: {text:?} is none that there is; the documentation of the API lists them")
    })
}

/// Where a page ended, as text that says nothing.
pub fn continued(hash: u32) -> String {
    format!("1-{hash:08x}")
}

fn continues(text: &str) -> Result<u32, String> {
    let hash = text
        .strip_prefix("1-")
        .filter(|hash| hash.len() == 8 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let hash = hash.and_then(|hash| u32::from_str_radix(hash, 16).ok());
    hash.ok_or_else(|| "continue: give what the page before has as `continue`".to_owned())
}

impl ListQuery {
    /// Which devices, where to go on, and how many at most.
    ///
    /// # Errors
    /// What cannot be read, as a sentence.
    pub fn read(self, names: &Names, now: Time) -> Result<(DeviceFilter, Option<u32>, usize), String> {
        let ListQuery {
            label_selector,
            model,
            version,
            phase,
            failure,
            connected,
            silent_seconds,
            limit,
            next,
        } = self;
        let selector = label_selector.unwrap_or_default();
        let model =
            model.map(|model| model.parse()).transpose().map_err(|error| format!("model: {error}"))?;
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(format!("limit: {limit} is not between 1 and {LIMIT_MAX}"));
        }
        let filter = DeviceFilter {
            selector: selector.parse().map_err(|error| format!("labelSelector: {error}"))?,
            builds: version.map(|version| names.digests(model.as_ref(), &version)),
            model,
            phase: phase.map(|phase| word::<Phase>("phase", &phase)).transpose()?,
            failure: failure.map(|code| word::<FailureCode>("failure", &code)).transpose()?,
            connected,
            silent_since: silent_seconds
                .map(|seconds| Time(now.0.saturating_sub(u64::from(seconds) * 1_000))),
        };
        let after = next.filter(|next| !next.is_empty()).map(|next| continues(&next)).transpose()?;
        Ok((filter, after, limit as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: ListQuery) -> Result<(DeviceFilter, Option<u32>, usize), String> {
        query.read(&Names::default(), Time(100_000))
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_name() {
        let some = |text: &str| Some(text.to_owned());
        let none = ListQuery::default;
        for (query, field) in [
            (ListQuery { label_selector: some("a>1"), ..none() }, "labelSelector"),
            (ListQuery { model: some("A B"), ..none() }, "model"),
            (ListQuery { phase: some("Lost"), ..none() }, "phase"),
            (ListQuery { failure: some("BadLuck"), ..none() }, "failure"),
            (ListQuery { limit: Some(0), ..none() }, "limit"),
            (ListQuery { limit: Some(1_001), ..none() }, "limit"),
            (ListQuery { next: some("1-zz"), ..none() }, "continue"),
            (ListQuery { next: some("1-+0000001"), ..none() }, "continue"),
        ] {
            let told = read(query).map(|_| ()).unwrap_err();
            assert!(told.starts_with(field), "{told}");
        }
    }

    #[test]
    fn what_can_be_read_is_taken() {
        let query = ListQuery {
            phase: Some("Failed".into()),
            silent_seconds: Some(60),
            version: Some("9.9.9".into()),
            next: Some(continued(7)),
            ..ListQuery::default()
        };
        let (filter, after, limit) = read(query).unwrap();
        assert_eq!((filter.phase, filter.silent_since), (Some(Phase::Failed), Some(Time(40_000))));
        assert_eq!((filter.builds, after, limit), (Some(Vec::new()), Some(7), 100));
    }
}
