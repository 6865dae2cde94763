//! What the shell owes the agent an answer to.

use std::collections::BTreeMap;

use modelfleet_agent_core::interface::{Input, Output};
use modelfleet_protocol::ids::{Digest, ModelName};

/// Requests without an answer: by model and kind, the build that was asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    requests: BTreeMap<(&'static str, Option<ModelName>), Option<Digest>>,
    /// What answers, as far as the agent has heard.
    serving: BTreeMap<ModelName, Option<Digest>>,
}

impl Asked {
    /// Whether nothing is owed. A switch to what answers already needs no answer.
    pub fn is_empty(&self) -> bool {
        let serves = |model: &Option<ModelName>| {
            model.as_ref().and_then(|model| self.serving.get(model)).copied().flatten()
        };
        self.requests.iter().all(|((kind, model), digest)| *kind == "switch" && *digest == serves(model))
    }

    pub fn takes(&mut self, output: &Output) {
        match output {
            Output::Fetch { build, .. } => self.asks("fetch", None, Some(build.digest)),
            Output::Admit { build } => self.asks("admit", Some(&build.model), Some(build.digest)),
            Output::Switch { model, build } => {
                self.asks("switch", Some(model), build.as_ref().map(|b| b.digest));
            }
            Output::Shadow { model, build: Some(build) } => {
                self.asks("shadow", Some(model), Some(build.digest));
            }
            Output::Shadow { model, build: None } => {
                let _ = self.requests.remove(&("shadow", Some(model.clone())));
            }
            Output::PauseFetch { digest } | Output::CancelFetch { digest } => {
                self.answered("fetch", None, Some(*digest));
            }
            Output::Unload { model, digest } => self.answered("admit", Some(model), Some(*digest)),
            _ => {}
        }
    }

    pub fn hears(&mut self, input: &Input) {
        match input {
            Input::Fetched { digest, .. } | Input::FetchFailed { digest, .. } => {
                self.answered("fetch", None, Some(*digest));
            }
            Input::Admitted { model, digest, .. } => self.answered("admit", Some(model), Some(*digest)),
            Input::Refused { model, digest, .. } | Input::Unreadable { model, digest, .. } => {
                self.answered("admit", Some(model), Some(*digest));
                self.answered("shadow", Some(model), Some(*digest));
            }
            Input::SlotLost { digest } => {
                self.requests
                    .retain(|(kind, _), d| *d != Some(*digest) || !matches!(*kind, "admit" | "shadow"));
            }
            Input::Shadowing { model, digest } => self.answered("shadow", Some(model), Some(*digest)),
            Input::Switched { model, digest, .. } => {
                self.serving.insert(model.clone(), *digest);
                self.answered("switch", Some(model), *digest);
            }
            Input::SwitchFailed { model, digest, .. } => {
                self.answered("switch", Some(model), Some(*digest));
            }
            _ => {}
        }
    }

    fn asks(&mut self, kind: &'static str, model: Option<&ModelName>, digest: Option<Digest>) {
        self.requests.insert((kind, model.cloned()), digest);
    }

    fn answered(&mut self, kind: &'static str, model: Option<&ModelName>, digest: Option<Digest>) {
        let key = (kind, model.cloned());
        if self.requests.get(&key) == Some(&digest) {
            self.requests.remove(&key);
        }
    }
}
