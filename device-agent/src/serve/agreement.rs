//! Whether a build in shadow answers like the build that answers.

use modelfleet_agent_core::truth::Answer;

use super::Instance;
use crate::tensor::NamedTensor;

/// Two numbers agree that differ by no more than this share of the larger one.
const TOLERANCE: f64 = 0.01;

/// What a build said of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    alarm: Option<bool>,
    answer: Owned,
}

#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Nothing,
    Label(i64),
    Word(Box<str>),
    Number(f64),
}

impl Said {
    /// Whether two builds agree on a row: the same class; of numbers the same alarm where both builds decide, else nearly the
    /// same number. `None`: one of them said nothing that could be compared.
    fn agrees(&self, other: &Said) -> Option<bool> {
        Some(match (&self.answer, &other.answer) {
            (Owned::Nothing, _) | (_, Owned::Nothing) => return None,
            (Owned::Number(a), Owned::Number(b)) => match (self.alarm, other.alarm) {
                (Some(a), Some(b)) => a == b,
                _ => a == b || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()),
            },
            (a, b) => a == b,
        })
    }
}

/// For each row that both answered, whether they agree.
pub(super) fn agreements(live: &[Said], shadow: &[Said]) -> impl Iterator<Item = bool> {
    live.iter().zip(shadow).filter_map(|(live, shadow)| live.agrees(shadow))
}

impl Instance {
    /// What it said of each row of a request.
    #[must_use]
    pub fn said(&self, inputs: &[NamedTensor], outputs: &[NamedTensor]) -> Vec<Said> {
        let mut scratch = Vec::new();
        let rows = self.reading.rows(self.reading.features(inputs, &mut scratch).len());
        let of = |row| {
            let (alarm, _) = self.reading.decide(outputs, row, rows);
            let answer = match self.reading.answer(outputs, row, rows) {
                Answer::None => Owned::Nothing,
                Answer::Label(label) => Owned::Label(label),
                Answer::Word(word) => Owned::Word(word.into()),
                Answer::Number(number) => Owned::Number(number),
            };
            Said { alarm, answer }
        };
        (0..rows).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_agree_exactly_and_numbers_nearly_or_by_their_alarm() {
        let said = |alarm, answer| Said { alarm, answer };
        let number = |alarm, number| said(alarm, Owned::Number(number));
        let label = |label| said(Some(label == 1), Owned::Label(label));
        for (a, b, agree) in [
            (label(1), label(1), Some(true)),
            (label(2), label(3), Some(false)),
            (label(1), number(Some(true), 1.0), Some(false)),
            (said(None, Owned::Word("a".into())), said(None, Owned::Word("b".into())), Some(false)),
            (number(None, 100.0), number(None, 100.9), Some(true)),
            (number(None, 100.0), number(None, -100.0), Some(false)),
            (number(None, 0.0), number(None, 0.0), Some(true)),
            (number(None, f64::NAN), number(None, 1.0), Some(false)),
            (number(Some(true), 0.9), number(Some(true), 0.6), Some(true)),
            (number(Some(true), 0.6), number(Some(false), 0.599), Some(false)),
            (said(None, Owned::Nothing), label(1), None),
        ] {
            assert_eq!(a.agrees(&b), agree, "{a:?} {b:?}");
            assert_eq!(b.agrees(&a), agree, "{b:?} {a:?}");
        }
        assert_eq!(agreements(&[label(1), label(2)], &[label(1)]).collect::<Vec<_>>(), [true]);
    }
}
