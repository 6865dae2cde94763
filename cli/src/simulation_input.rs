//! A Rollout and the fleet that it is computed or simulated for: the input of `plan` and `simulate`.

use std::path::{Path, PathBuf};

use clap::Args;
use modelfleet_crds::Rollout;
use modelfleet_protocol::selector::Labels;
use modelfleet_rollout::Stage;
use modelfleet_simulation::{DEFAULT_RATE, LabelValues, PerSli, Scenario, ScenarioError, Setup};

use crate::rollout_file::{self, RolloutFileError};
use crate::rollout_setup;
use crate::yaml_file::{self, FileError};

/// A Rollout, and what is known about the fleet. Default: 200 devices, and a version that changes nothing.
#[derive(Debug, Args)]
pub struct InputArguments {
    /// File with the Rollout, as YAML or JSON; - reads standard input.
    #[arg(long = "filename", short = 'f', value_name = "FILE")]
    pub file: PathBuf,
    /// File with the scenario: the fleet, what the version does to it, network, outages. Default: 200 devices and a
    /// version that changes nothing.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Number of devices; overrides the scenario.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub devices: Option<i64>,
    /// Bad events per device and window, for all SLOs; overrides the scenario.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub base_rate: Option<f64>,
    /// Spread between devices: standard deviation of the logarithm of their rates; overrides the scenario.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub sigma: Option<f64>,
    /// Bad events that come together in one burst; overrides the scenario.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub burst: Option<f64>,
}

/// Why the input cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The rollout cannot be read.
    #[error(transparent)]
    Rollout(#[from] RolloutFileError),
    /// The rollout's spec cannot be used.
    #[error("read the rollout in {path}")]
    Setup {
        /// Where.
        path: PathBuf,
        /// Why.
        source: modelfleet_spec::Problem,
    },
    /// The scenario cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The scenario cannot be used.
    #[error("read the scenario in {path}")]
    Scenario {
        /// Where.
        path: PathBuf,
        /// Why.
        source: ScenarioError,
    },
    /// Two files are the standard input.
    #[error("the rollout and the scenario cannot both come from standard input; give one of them as a file")]
    OneInput,
    /// A flag cannot be used.
    #[error("{flag} {problem}")]
    Flag {
        /// Which one.
        flag: String,
        /// What is allowed.
        problem: &'static str,
    },
}

/// A Rollout and the fleet that it is computed or simulated for.
#[derive(Debug)]
pub struct SimulationInput {
    /// The rollout, with its defaults filled in.
    pub rollout: Rollout,
    /// The same as planner and simulator take it.
    pub setup: Setup,
    /// The fleet, and what the version does to it.
    pub scenario: Scenario,
}

impl SimulationInput {
    /// Reads the files and what the flags say instead.
    ///
    /// # Errors
    /// When a file cannot be read, or a number is out of its range.
    pub fn of(arguments: &InputArguments) -> Result<SimulationInput, InputError> {
        let file = &arguments.file;
        if arguments.scenario.as_ref() == Some(file) && file == Path::new("-") {
            return Err(InputError::OneInput);
        }
        let rollout = rollout_file::rollout(file)?;
        let setup = rollout_setup::setup(&rollout)
            .map_err(|source| InputError::Setup { path: file.clone(), source })?;
        let scenario = match &arguments.scenario {
            Some(path) => scenario(path)?,
            None => Scenario::default(),
        };
        Ok(SimulationInput { rollout, setup, scenario: arguments.instead_of(scenario)? })
    }

    /// What a person may not expect: where rollout and scenario do not speak of the same things.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.unknown_objectives();
        notes.extend(self.assumed_rates());
        notes.extend(self.empty_stages());
        notes.extend(self.unknown_labels());
        notes
    }

    fn objectives(&self) -> Vec<&str> {
        self.setup.objectives.iter().map(|objective| objective.name.as_str()).collect()
    }

    fn unknown_objectives(&self) -> Vec<String> {
        let own = self.objectives();
        let effect = &self.scenario.effect;
        let fields = [
            ("fleet.baseRate", &self.scenario.fleet.base_rate),
            ("effect.rateRatio", &effect.rate_ratio),
            ("truthDelayWindows", &self.scenario.truth_delay_windows),
        ];
        let of_strata = effect.strata.iter().map(|s| ("effect.strata.rateRatio", &s.rate_ratio));
        let mut notes = Vec::new();
        for (field, numbers) in fields.into_iter().chain(of_strata) {
            let PerSli::By(numbers) = numbers else { continue };
            let unknown = numbers.keys().filter(|name| !own.contains(&name.as_str()));
            notes.extend(unknown.map(|name| {
                let slos = if own.is_empty() { "none".to_owned() } else { own.join(", ") };
                format!("the scenario's {field} names {name}, which is not an SLO of the rollout; its SLOs are: {slos}")
            }));
        }
        notes.dedup();
        notes
    }

    fn assumed_rates(&self) -> Option<String> {
        let PerSli::By(numbers) = &self.scenario.fleet.base_rate else { return None };
        let mut silent = self.objectives();
        silent.retain(|name| !numbers.contains_key(*name));
        let names = silent.join(", ");
        (!silent.is_empty()).then(|| {
            format!(
                "assuming {DEFAULT_RATE} bad events per device and window for {names}; set the real rate with fleet.baseRate in a \
                 scenario, or with --base-rate"
            )
        })
    }

    /// Parts of the scenario that speak of devices which it does not have.
    fn unknown_labels(&self) -> Vec<String> {
        let Scenario { fleet, effect, network, outages, .. } = &self.scenario;
        let carried = |labels: &LabelValues| {
            let carries = |own: &LabelValues| labels.iter().all(|(key, value)| own.get(key) == Some(value));
            labels.is_empty() || fleet.strata.iter().any(|stratum| carries(&stratum.labels))
        };
        let effects =
            effect.strata.iter().enumerate().map(|(i, it)| (format!("effect.strata[{i}]"), &it.labels));
        let partitions = network.partitions.iter().enumerate();
        let partitions = partitions.map(|(i, it)| (format!("network.partitions[{i}]"), &it.labels));
        let outages = outages.iter().enumerate().map(|(i, it)| (format!("outages[{i}]"), &it.labels));
        let unknown = effects.chain(partitions).chain(outages).filter(|(_, labels)| !carried(labels));
        let listed = |labels: &LabelValues| {
            labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
        };
        let message = |(field, labels): (String, &LabelValues)| {
            format!(
                "the scenario's {field} is for devices with {}, but the fleet has none; add them in fleet.strata",
                listed(labels)
            )
        };
        unknown.map(message).collect()
    }

    fn empty_stages(&self) -> Option<String> {
        let strata = &self.scenario.fleet.strata;
        let without = Labels::new();
        let fits = |stage: &&Stage| match strata.is_empty() {
            true => stage.selector.matches(&without),
            false => strata.iter().any(|stratum| stage.selector.matches(&stratum.labels)),
        };
        let empty: Vec<&str> =
            self.setup.parts.stages.iter().filter(|s| !fits(s)).map(|s| s.name.as_str()).collect();
        let names = empty.join(", ");
        (!empty.is_empty()).then(|| {
            format!(
                "no device of the scenario matches the selector of {names}; add such devices in the scenario's fleet.strata"
            )
        })
    }
}

impl InputArguments {
    fn instead_of(&self, mut scenario: Scenario) -> Result<Scenario, InputError> {
        let fleet = &mut scenario.fleet;
        // None is as wrong as fewer than none.
        fleet.devices = self.devices.map_or(fleet.devices, |count| u64::try_from(count).unwrap_or(0));
        fleet.sigma = self.sigma.unwrap_or(fleet.sigma);
        fleet.burst = self.burst.unwrap_or(fleet.burst);
        if let Some(rate) = self.base_rate {
            fleet.base_rate = PerSli::All(rate);
        }
        // The scenario itself was found good, so that only a flag can be wrong.
        match scenario.check().map_err(|error| error.fields.into_iter().next()) {
            Ok(()) | Err(None) => Ok(scenario),
            Err(Some(wrong)) => {
                Err(InputError::Flag { flag: flag(&wrong.field).to_owned(), problem: wrong.problem })
            }
        }
    }
}

fn scenario(path: &Path) -> Result<Scenario, InputError> {
    let scenario: Scenario = yaml_file::document(path)?;
    scenario.check().map_err(|source| InputError::Scenario { path: path.to_owned(), source })?;
    Ok(scenario)
}

/// The flag that sets a field of the scenario.
fn flag(field: &str) -> &str {
    match field {
        "fleet.devices" => "--devices",
        "fleet.sigma" => "--sigma",
        "fleet.burst" => "--burst",
        "fleet.baseRate" => "--base-rate",
        field => field,
    }
}

#[cfg(test)]
mod tests;
