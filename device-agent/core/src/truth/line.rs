//! Lines of truth as JSON: what the local API takes, and what the controller relays.

use modelfleet_protocol::time::Time;
use serde::Deserialize;

use super::moment::moment;
use super::told::{About, Told, Truth};
use crate::recorder::key;

/// Most lines that are read at once.
pub const LINES_MAX: usize = 10_000;
/// Longest id, and longest class, in bytes.
const TEXT_MAX: usize = 128;
/// Days before an event in which an alarm was right, where a line does not say.
const LEAD_DAYS: f64 = 28.0;
const DAY_MS: f64 = 24.0 * 3_600_000.0;

/// One line, as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    id: Option<String>,
    truth: Option<Value>,
    /// An event.
    at: Option<Moment>,
    lead_days: Option<f64>,
    /// A span without an event.
    from: Option<Moment>,
    until: Option<Moment>,
    told_at: Option<Moment>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Alarm(bool),
    Number(f64),
    Text(String),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Moment {
    Ms(u64),
    Text(String),
}

impl Moment {
    fn read(&self, field: &str) -> Result<(Time, Time), String> {
        let read = match self {
            Moment::Ms(ms) => ms.checked_add(1).map(|after| (Time(*ms), Time(after))),
            Moment::Text(text) => moment(text),
        };
        read.ok_or_else(|| {
            format!(
                "{field} is no moment: write 2026-05-03, 2026-05-03T07:30:00Z, or milliseconds since 1970"
            )
        })
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Many { lines: Vec<serde_json::Value> },
    One(serde_json::Value),
}

/// Reads one line, or `{"lines": [...]}`. `now`: when they were found out, where they do not say.
///
/// # Errors
/// When it is not JSON, or has too many lines. A line that cannot be read is an error of its own.
pub fn lines(json: &[u8], now: Time) -> Result<Vec<Result<Told, String>>, String> {
    let body: Body = serde_json::from_slice(json).map_err(|error| format!("the body is no JSON: {error}"))?;
    let lines = match body {
        Body::Many { lines } if lines.len() > LINES_MAX => {
            return Err(format!("{} lines are more than {LINES_MAX}: send them in parts", lines.len()));
        }
        Body::Many { lines } => lines,
        Body::One(line) => vec![line],
    };
    Ok(lines.into_iter().map(|line| one(line, now)).collect())
}

/// Reads one line.
///
/// # Errors
/// Says what is wrong with it.
pub fn one(line: serde_json::Value, now: Time) -> Result<Told, String> {
    let form = "a line has the form {\"id\": ..., \"truth\": ...}, {\"at\": ..., \"truth\": true} or \
                {\"from\": ..., \"until\": ..., \"truth\": false}";
    let written: Written = serde_json::from_value(line).map_err(|error| format!("{form}: {error}"))?;
    let Written { id, truth, at, lead_days, from, until, told_at } = written;
    if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > TEXT_MAX) {
        return Err(format!("id has 1 to {TEXT_MAX} bytes"));
    }
    let truth = match truth.ok_or_else(|| form.to_owned())? {
        Value::Alarm(alarm) => Truth::Alarm(alarm),
        Value::Number(number) => Truth::Number(number),
        Value::Text(text) => {
            let text = text.trim();
            if text.is_empty() || text.len() > TEXT_MAX {
                return Err(format!("a class has 1 to {TEXT_MAX} bytes"));
            }
            Truth::Class(text.into())
        }
    };
    let told_at = told_at.map_or(Ok(now), |at| at.read("toldAt").map(|(from, _)| from))?;
    let about = match (id, at, from, until) {
        (id, Some(at), None, None) => {
            let (_, until) = at.read("at")?;
            let days = lead_days.unwrap_or(LEAD_DAYS);
            if !(days > 0.0 && days <= 3_660.0) {
                return Err("leadDays is a number of days above 0".into());
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Checked above.
            let lead_ms = (days * DAY_MS) as u64;
            let name = id.unwrap_or_else(|| format!("at {}", until.0));
            About::Span { key: key(&name), from: Time(until.0.saturating_sub(lead_ms)), until }
        }
        (id, None, Some(from), Some(until)) if lead_days.is_none() => {
            let ((from, _), (_, until)) = (from.read("from")?, until.read("until")?);
            let name = id.unwrap_or_else(|| format!("from {} until {}", from.0, until.0));
            About::Span { key: key(&name), from, until }
        }
        (Some(id), None, None, None) if lead_days.is_none() => About::Prediction(key(&id)),
        _ => return Err(form.into()),
    };
    Ok(Told { about, truth, at: told_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Told, String> {
        one(serde_json::from_str(line).unwrap(), Time(7))
    }

    #[test]
    fn a_line_is_about_a_prediction_or_a_span() {
        let line = read(r#"{"id":"a","truth":3}"#).unwrap();
        assert_eq!(line, Told { about: About::Prediction(key("a")), truth: Truth::Number(3.0), at: Time(7) });
        let line = read(r#"{"id":"a","truth":" vane ","toldAt":9}"#).unwrap();
        assert_eq!((line.truth, line.at), (Truth::Class("vane".into()), Time(9)));
        let About::Span { from, until, .. } = read(r#"{"at":"2026-05-03","truth":true}"#).unwrap().about
        else {
            panic!("a span")
        };
        assert_eq!((until.0, until.since_ms(from)), (1_777_852_800_000, 28 * 24 * 3_600_000));
        let span = read(r#"{"from":"2026-05-01","until":"2026-05-03","truth":false}"#).unwrap();
        assert!(matches!(span.about, About::Span { .. }) && span.truth == Truth::Alarm(false));
    }

    #[test]
    fn what_cannot_be_read_is_told_why() {
        for (line, why) in [
            (r#"{"truth":true}"#, "form"),
            (r#"{"id":"a"}"#, "form"),
            (r#"{"id":"","truth":true}"#, "1 to 128"),
            (r#"{"id":"a","truth":""}"#, "1 to 128"),
            (r#"{"id":"a","truth":null}"#, "form"),
            (r#"{"id":"a","truth":[1]}"#, "form"),
            (r#"{"id":"a","truth":true,"when":1}"#, "when"),
            (r#"{"at":"3 May","truth":true}"#, "at is no moment"),
            (r#"{"at":"2026-05-03","leadDays":-1,"truth":true}"#, "leadDays"),
            (r#"{"from":"2026-05-03","truth":true}"#, "form"),
            ("17", "form"),
        ] {
            let told = read(line).unwrap_err();
            assert!(told.contains(why), "{line}: {told}");
        }
        assert!(lines(b"{", Time(0)).unwrap_err().contains("no JSON"));
        let many = format!(r#"{{"lines":[{}1]}}"#, "1,".repeat(LINES_MAX));
        assert!(lines(many.as_bytes(), Time(0)).unwrap_err().contains("in parts"));
        assert_eq!(lines(br#"{"lines":[]}"#, Time(0)).unwrap().len(), 0);
    }
}
