//! Rollouts of seconds for the end-to-end tests.

use crate::plant::{MODEL, NAMESPACE, Plant};
use modelfleet_test_support::part::PartError;

/// A rollout of the pumps' model whose stages take seconds.
#[derive(Clone, Debug)]
pub struct ShortRollout {
    /// The version that it brings.
    pub version: String,
    /// Stages: name and devices.
    pub stages: Vec<(&'static str, &'static str)>,
    /// How long each stage watches, seconds.
    pub bake_s: u64,
    /// Further lines of the spec, indented by two.
    pub more: &'static str,
}

impl ShortRollout {
    /// Canary of five, then everybody.
    #[must_use]
    pub fn of(version: &str) -> ShortRollout {
        ShortRollout {
            version: version.to_owned(),
            stages: vec![("canary", "5"), ("full", "100%")],
            bake_s: 12,
            more: "",
        }
    }

    /// Its name in Kubernetes.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{MODEL}-{}", self.version.replace('.', "-"))
    }

    /// The object as YAML.
    #[must_use]
    pub fn yaml(&self) -> String {
        let stage = |(name, devices): &(&str, &str)| {
            format!(
                "  - name: {name}\n    devices: \"{devices}\"\n    spreadBy: [age, load]\n    bake: {}s\n    \
                 maxWait: 60s\n    rollbackDeadline: 30s\n    limits: {{ minWindows: 5 }}\n",
                self.bake_s
            )
        };
        let stages: String = self.stages.iter().map(stage).collect();
        format!(
            "apiVersion: modelfleet.io/v1alpha1\nkind: Rollout\nmetadata:\n  name: {}\n  namespace: {NAMESPACE}\nspec:\n  \
             model: {MODEL}\n  version: {}\n  observe: {{ window: 1s }}\n  probation: {{ timeout: 30s, minPredictions: 3 }}\n{}  \
             slos:\n  - {{ name: false-alarms, metric: FalsePositiveRate, threshold: 25%, allowance: 5% }}\n  \
             - {{ name: slow-answers, metric: LatencyP95, threshold: 25ms, allowance: 10% }}\n  \
             - {{ name: errors, metric: ErrorRate, threshold: 1%, allowance: 2% }}\n  stages:\n{stages}",
            self.name(),
            self.version,
            self.more,
        )
    }

    /// Registers the version and applies the rollout.
    ///
    /// # Errors
    /// When either is refused.
    pub fn begin(&self, plant: &Plant) -> Result<(), PartError> {
        plant.register(&self.version)?;
        let file = plant.agent_settings.dir.join(format!("{}.yaml", self.name()));
        std::fs::write(&file, self.yaml()).map_err(|source| PartError::File {
            what: "write",
            path: file.clone(),
            source,
        })?;
        plant.kubectl.apply(NAMESPACE, &file).map(drop)
    }
}
