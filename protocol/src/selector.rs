//! Which devices a rollout is for: Kubernetes label selectors, evaluated alike by controller and device.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

mod parse;

pub use parse::SelectorTextError;

/// The labels of a device; at most [`LABELS_MAX`], each as [`crate::label::check`] allows.
pub type Labels = BTreeMap<String, String>;

/// Most labels that a device may carry.
pub const LABELS_MAX: usize = 32;

/// A label selector: every requirement must hold. The empty selector matches every device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    /// Labels that must have exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: Labels,
    /// Further requirements.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// The label it looks at.
    pub key: String,
    /// How it looks.
    pub operator: Operator,
    /// For `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// How a requirement looks at its label; the meanings are those of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// The label is there and has one of the values.
    In,
    /// The label is absent, or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// An operator of a newer controller: it holds for no device, so that no device gets a model by mistake.
    #[serde(other)]
    Unknown,
}

impl Selector {
    /// Whether a device with these labels is meant.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|r| r.holds(labels))
    }

    /// As JSON: the same text for the same selector.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("every map of a selector has text keys")
    }

    /// Whether every device is meant.
    #[must_use]
    pub fn is_everybody(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Whether all devices that `other` selects are selected, as far as the texts of both show: `other` asks for all that this
    /// one does.
    #[must_use]
    pub fn covers(&self, other: &Selector) -> bool {
        let asks = |(key, value): (&String, &String)| other.match_labels.get(key) == Some(value);
        self.match_labels.iter().all(asks)
            && self.match_expressions.iter().all(|r| other.match_expressions.contains(r))
    }

    /// Whether no device can be meant by both, as far as the texts show: they ask for different values of one label.
    #[must_use]
    pub fn is_apart_from(&self, other: &Selector) -> bool {
        let differs = |(key, value): (&String, &String)| {
            other.match_labels.get(key).is_some_and(|theirs| theirs != value)
        };
        self.match_labels.iter().any(differs)
    }
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|v| self.values.contains(v)),
            Operator::NotIn => value.is_none_or(|v| !self.values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Unknown => false,
        }
    }
}

impl fmt::Display for Selector {
    /// As `kubectl` takes it: `site=north,ring in (1, 2)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everybody() {
            return f.write_str("all devices");
        }
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let all: Vec<String> = labels.chain(self.match_expressions.iter().map(ToString::to_string)).collect();
        f.write_str(&all.join(","))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(", "));
        match self.operator {
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Unknown => write!(f, "{key} (unknown operator)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[(&str, &str)]) -> Selector {
        let label = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Selector { match_labels: labels.iter().map(label).collect(), ..Selector::default() }
    }

    #[test]
    fn who_asks_for_more_is_covered_and_who_asks_for_another_value_is_apart() {
        let (all, north, ring) = (of(&[]), of(&[("site", "north")]), of(&[("site", "north"), ("ring", "1")]));
        let south = of(&[("site", "south")]);
        assert!(all.covers(&ring) && north.covers(&ring) && north.covers(&north));
        assert!(!ring.covers(&north) && !north.covers(&all) && !north.covers(&south));
        assert!(south.is_apart_from(&ring) && !north.is_apart_from(&ring) && !all.is_apart_from(&south));
        assert!(!of(&[("ring", "1")]).is_apart_from(&north), "a device may have both labels");
        let told = [&all, &ring].map(ToString::to_string);
        assert_eq!(told, ["all devices", "ring=1,site=north"]);
    }

    fn holds(operator: Operator, values: &[&str], age: Option<&str>) -> bool {
        let values = values.iter().map(ToString::to_string).collect();
        let r = Requirement { key: "age".into(), operator, values };
        let labels = age.map(|a| ("age".to_owned(), a.to_owned())).into_iter().collect();
        Selector { match_expressions: vec![r], ..Selector::default() }.matches(&labels)
    }

    #[test]
    fn operators_mean_what_kubernetes_means() {
        assert!(holds(Operator::In, &["old"], Some("old")));
        assert!(!holds(Operator::In, &["old"], None));
        assert!(holds(Operator::NotIn, &["old"], None));
        assert!(!holds(Operator::NotIn, &["old"], Some("old")));
        assert!(holds(Operator::Exists, &[], Some("x")));
        assert!(holds(Operator::DoesNotExist, &[], None));
        assert!(!holds(Operator::Unknown, &["old"], Some("old")));
    }

    #[test]
    fn an_operator_of_the_future_is_read_and_matches_nobody() {
        let r: Requirement = serde_json::from_str(r#"{"key":"age","operator":"Gt","values":["3"]}"#).unwrap();
        assert_eq!(r.operator, Operator::Unknown);
    }
}
