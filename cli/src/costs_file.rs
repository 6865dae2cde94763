//! The file that says what alarms and failures cost.

use std::path::Path;

use modelfleet_history::costs::Costs;
use serde::Deserialize;

use crate::yaml_file::{self, FileError};

/// What a costs file says; amounts may have two decimals.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    missed: f64,
    found: f64,
    false_alarm: f64,
    #[serde(default)]
    development: f64,
    #[serde(default = "dollar")]
    currency: String,
    devices: Option<u64>,
}

fn dollar() -> String {
    "$".to_owned()
}

/// Why there are no costs.
#[derive(Debug, thiserror::Error)]
pub enum CostsError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// An amount is none.
    #[error("{path}: {field} is {amount}; give it as an amount of money such as 500 or 499.95")]
    Amount {
        /// The file.
        path: String,
        /// The field.
        field: &'static str,
        /// What it has.
        amount: f64,
    },
}

/// What alarms and failures cost.
#[derive(Clone, Debug)]
pub struct CostsFile {
    /// The amounts.
    pub costs: Costs,
    /// Written before an amount.
    pub currency: String,
    /// Devices of the whole fleet, where that is another number than those of the sample.
    pub devices: Option<u64>,
}

/// Reads a costs file.
///
/// # Errors
/// When it cannot be read, or an amount is none.
pub fn read(path: &Path) -> Result<CostsFile, CostsError> {
    let written: Written = yaml_file::document(path)?;
    let cents = |field, amount: f64| {
        let cents = (amount * 100.0).round();
        let is_amount = (0.0..1e15).contains(&cents) && (cents - amount * 100.0).abs() < 1e-3;
        let path = path.display().to_string();
        if is_amount { Ok(cents as u64) } else { Err(CostsError::Amount { path, field, amount }) }
    };
    Ok(CostsFile {
        costs: Costs {
            missed_cents: cents("missed", written.missed)?,
            found_cents: cents("found", written.found)?,
            false_alarm_cents: cents("falseAlarm", written.false_alarm)?,
            development_cents: cents("development", written.development)?,
        },
        currency: written.currency,
        devices: written.devices,
    })
}

impl CostsFile {
    /// An amount in whole units of the currency: `$57,000`.
    #[must_use]
    pub fn amount(&self, cents: i64) -> String {
        let whole = (cents.unsigned_abs() + 50) / 100;
        let digits = whole.to_string();
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        format!("{}{}{text}", if cents <= -50 { "-" } else { "" }, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<CostsFile, CostsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("costs.yaml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn amounts_are_read_to_the_cent_and_told_to_the_dollar() {
        let file = read_text("missed: 15000\nfound: 3000\nfalseAlarm: 499.95\n").unwrap();
        assert_eq!((file.costs.missed_cents, file.costs.false_alarm_cents), (1_500_000, 49_995));
        let told: Vec<String> = [5_700_000, 12_300_049, 123_456_750, 99, 49, -6_800_000, 0]
            .map(|cents| file.amount(cents))
            .into();
        assert_eq!(told, ["$57,000", "$123,000", "$1,234,568", "$1", "$0", "-$68,000", "$0"]);
    }

    #[test]
    fn what_is_no_amount_is_named() {
        let refused = read_text("missed: -1\nfound: 3000\nfalseAlarm: 500\n").unwrap_err();
        assert!(
            refused
                .to_string()
                .ends_with("missed is -1; give it as an amount of money such as 500 or 499.95")
        );
        assert!(read_text("missed: 1\nfound: 3000\nfalseAlarm: 0.001\n").is_err());
        assert!(
            read_text("missed: 1\nfound: 3000\nfalseAlarms: 500\n").is_err(),
            "a field that does not exist"
        );
    }
}
