//! Which columns of the rows fill which input of the model.

use modelfleet_crds::model_version::{Datatype, Tensor};

/// Why rows do not fill a model's inputs.
#[derive(Debug, thiserror::Error)]
pub enum InputsError {
    /// A column that was asked for is not there, or twice.
    #[error("--features names {name:?}, which is not a column or is named twice; the columns are {columns}")]
    NoColumn {
        /// The name, cut.
        name: String,
        /// What is there.
        columns: String,
    },
    /// Another number of columns than the input takes.
    #[error(
        "they have {columns} columns ({names}), but the model's input {input:?} takes {wanted} values; choose columns with \
         --features"
    )]
    Columns {
        /// Columns of the rows.
        columns: usize,
        /// Their names, cut.
        names: String,
        /// The input.
        input: String,
        /// Values that it takes.
        wanted: i64,
    },
    /// Several inputs, and no column is named as one of them.
    #[error(
        "the model has {inputs} inputs, but no column is named {input:?}; give the columns the names of the model's inputs"
    )]
    NotNamed {
        /// How many.
        inputs: usize,
        /// One that nothing fills.
        input: String,
    },
}

/// An input, and the columns that fill it for one row.
#[derive(Clone, Debug, PartialEq)]
pub struct FilledInput {
    /// The input.
    pub tensor: Tensor,
    /// Positions of its columns in the rows, in the order of its elements.
    pub columns: Vec<usize>,
}

impl FilledInput {
    /// Whether it takes texts.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.tensor.datatype == Datatype::String
    }
}

/// Which of `names` fill which input: the only input takes all columns, or those in `chosen`, in order. Of several, each takes
/// the column of its name; one that is left over takes the columns that are left over.
///
/// # Errors
/// When an input is not filled, or not exactly.
pub fn filled(
    names: &[String],
    chosen: &[String],
    inputs: &[Tensor],
) -> Result<Vec<FilledInput>, InputsError> {
    let mut pool = positions(names, chosen)?;
    if let [only] = inputs {
        let input = FilledInput { tensor: only.clone(), columns: pool };
        return fits(names, input, width(only)).map(|input| vec![input]);
    }
    let mut columns: Vec<Option<Vec<usize>>> = Vec::new();
    for input in inputs {
        let own = pool.iter().position(|&column| names[column] == input.name);
        columns.push(own.filter(|_| width(input).is_none_or(|w| w == 1)).map(|at| vec![pool.remove(at)]));
    }
    let rest: Vec<usize> = (0..inputs.len()).filter(|&i| columns[i].is_none()).collect();
    match rest.as_slice() {
        [] => {}
        [wide] if width(&inputs[*wide]) != Some(1) && !pool.is_empty() => columns[*wide] = Some(pool),
        [first, ..] => {
            return Err(InputsError::NotNamed { inputs: inputs.len(), input: inputs[*first].name.clone() });
        }
    }
    let all = inputs.iter().zip(columns);
    all.map(|(tensor, columns)| {
        let columns = columns.unwrap_or_default();
        fits(names, FilledInput { tensor: tensor.clone(), columns }, width(tensor))
    })
    .collect()
}

/// Names of the columns that fill no input.
#[must_use]
pub fn left_over<'a>(names: &'a [String], filled: &[FilledInput]) -> Vec<&'a str> {
    let used = |index: &usize| filled.iter().any(|input| input.columns.contains(index));
    names.iter().enumerate().filter(|(index, _)| !used(index)).map(|(_, name)| name.as_str()).collect()
}

fn fits(names: &[String], input: FilledInput, wanted: Option<i64>) -> Result<FilledInput, InputsError> {
    let count = input.columns.len();
    match wanted {
        Some(wanted) if i64::try_from(count) != Ok(wanted) => Err(InputsError::Columns {
            columns: count,
            names: input.columns.iter().take(12).map(|&i| names[i].as_str()).collect::<Vec<_>>().join(", "),
            input: input.tensor.name,
            wanted,
        }),
        _ => Ok(input),
    }
}

/// Values of one row of an input; nothing when the file leaves it open.
fn width(tensor: &Tensor) -> Option<i64> {
    let inner = if tensor.shape.len() > 1 { &tensor.shape[1..] } else { &tensor.shape };
    inner.iter().try_fold(1_i64, |all, &size| if size > 0 { all.checked_mul(size) } else { None })
}

fn positions(names: &[String], chosen: &[String]) -> Result<Vec<usize>, InputsError> {
    if chosen.is_empty() {
        return Ok((0..names.len()).collect());
    }
    let mut found = Vec::new();
    for name in chosen {
        match names.iter().position(|own| own == name) {
            Some(at) if !found.contains(&at) => found.push(at),
            _ => {
                return Err(InputsError::NoColumn {
                    name: name.chars().take(40).collect(),
                    columns: names.iter().take(20).cloned().collect::<Vec<_>>().join(", "),
                });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[i64]) -> Tensor {
        Tensor { name: name.into(), datatype: Datatype::Fp32, shape: shape.into() }
    }

    fn check(names: &str, chosen: &str, inputs: &[(&str, &[i64])], expected: Result<&[&[usize]], &str>) {
        let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let inputs: Vec<Tensor> = inputs.iter().map(|(name, shape)| tensor(name, shape)).collect();
        let found = filled(&split(names), &split(chosen), &inputs).map_err(|error| error.to_string());
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                let found: Vec<Vec<usize>> = found.into_iter().map(|input| input.columns).collect();
                assert_eq!(found, expected, "{names} / {chosen}");
            }
            (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
            (found, _) => panic!("{found:?}"),
        }
    }

    #[test]
    fn the_only_input_takes_all_columns_in_order() {
        let input: &[(&str, &[i64])] = &[("x", &[-1, 2])];
        check("a b", "", input, Ok(&[&[0, 1]]));
        check("a b c", "c a", input, Ok(&[&[2, 0]]));
        check("a b c", "", input, Err("they have 3 columns (a, b, c), but the model's input \"x\" takes 2"));
        check("a b", "d a", input, Err("\"d\", which is not a column"));
        check("a b", "a a", input, Err("twice"));
        check("a b c", "", &[("x", &[-1, -1])], Ok(&[&[0, 1, 2]]));
    }

    #[test]
    fn several_inputs_take_the_columns_of_their_names() {
        let inputs: &[(&str, &[i64])] = &[("kind", &[-1, 1]), ("rms", &[-1, 1])];
        check("rms kind site", "", inputs, Ok(&[&[1], &[0]]));
        check("rms age", "", inputs, Err("the model has 2 inputs, but no column is named \"kind\""));
        check("rms kind peak", "", &[("numbers", &[-1, 2]), ("kind", &[-1, 1])], Ok(&[&[0, 2], &[1]]));
        check("rms kind", "", &[("numbers", &[-1, 2]), ("kind", &[-1, 1])], Err("takes 2 values"));
        check("a b", "", &[("x", &[-1]), ("b", &[-1])], Ok(&[&[0], &[1]]));
    }
}
