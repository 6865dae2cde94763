//! What has been read of a file so far, and the header that it makes when all has been read.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{NAME_BYTES_MAX, ReadError};
use crate::header::{DEFAULT_DOMAIN, Header, Kind, Value};

/// Most operator sets that a file imports.
const IMPORTS_MAX: usize = 64;
/// Most operator sets in use.
const OPSETS_MAX: usize = 16;
/// Most different operators.
const OPERATORS_MAX: usize = 4_096;
/// Most functions that a file defines.
const FUNCTIONS_MAX: usize = 4_096;
/// Most inputs or outputs.
const TENSORS_MAX: usize = 64;
/// Most bytes that are kept of a file, with what it costs to keep a name.
const KEPT_BYTES_MAX: usize = 16 << 20;
const COST_OF_A_NAME: usize = 64;

/// Operators, and the operator sets that say which version of them is meant: of the graph, or of one function.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// `domain:name` of a function; empty for the graph.
    pub name: String,
    /// Its domain, as the file writes it.
    pub domain: String,
    /// By domain.
    pub imports: BTreeMap<String, i64>,
    /// Domain and name.
    pub operators: BTreeSet<(String, String)>,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub ir_version: i64,
    pub has_graph: bool,
    pub graph: Scope,
    /// The function that is being read.
    pub function: Option<Scope>,
    functions: Vec<Scope>,
    weights: BTreeSet<String>,
    pub inputs: Vec<Value>,
    pub outputs: Vec<Value>,
    kept_bytes: usize,
}

impl Draft {
    fn scope(&mut self) -> &mut Scope {
        self.function.as_mut().unwrap_or(&mut self.graph)
    }

    /// Books what it costs to keep a name.
    fn keep(&mut self, name: &str) -> Result<(), ReadError> {
        self.kept_bytes += name.len() + COST_OF_A_NAME;
        bounded("bytes of names", self.kept_bytes, KEPT_BYTES_MAX)
    }

    /// An imported operator set. Of two versions of one set the newer counts.
    pub fn import(&mut self, domain: String, version: i64) -> Result<(), ReadError> {
        let domain = domain_of(domain);
        if !(1..=1_000).contains(&version) {
            let what = format!("the version of operator set {domain:?}");
            return Err(ReadError::Number { what, value: version, allowed: "1 to 1000" });
        }
        self.keep(&domain)?;
        let imports = &mut self.scope().imports;
        let own = imports.entry(domain).or_default();
        *own = version.max(*own);
        bounded("operator sets", imports.len(), IMPORTS_MAX)
    }

    /// A node.
    pub fn operator(&mut self, domain: String, name: String) -> Result<(), ReadError> {
        if name.is_empty() {
            return Err(ReadError::Missing("operator name at a node"));
        }
        let operator = (domain_of(domain), name);
        if self.scope().operators.contains(&operator) {
            return Ok(());
        }
        self.keep(&operator.1)?;
        let operators = &mut self.scope().operators;
        operators.insert(operator);
        bounded("different operators", operators.len(), OPERATORS_MAX)
    }

    /// The end of a function.
    pub fn end_of_function(&mut self) -> Result<(), ReadError> {
        if let Some(function) = self.function.take() {
            if function.name.is_empty() {
                return Err(ReadError::Name { what: "a function", length: 0 });
            }
            self.keep(&function.name)?;
            self.functions.push(function);
        }
        bounded("functions", self.functions.len(), FUNCTIONS_MAX)
    }

    /// The name of a weight.
    pub fn weight(&mut self, name: String) -> Result<(), ReadError> {
        self.keep(&name)?;
        self.weights.insert(name);
        Ok(())
    }

    /// An input, which may be a weight, or an output.
    pub fn value(&mut self, is_input: bool, name: String, kind: Kind) -> Result<(), ReadError> {
        self.keep(&name)?;
        let value = Value { name, kind };
        if is_input {
            self.inputs.push(value);
            return Ok(());
        }
        self.outputs.push(value);
        bounded("outputs", self.outputs.len(), TENSORS_MAX)
    }

    /// The header, when all has been read.
    pub fn header(mut self) -> Result<Header, ReadError> {
        if !self.has_graph {
            return Err(ReadError::Missing("graph"));
        }
        if !(1..=1_000).contains(&self.ir_version) {
            let what = "its format version".to_owned();
            return Err(ReadError::Number { what, value: self.ir_version, allowed: "1 to 1000" });
        }
        if self.graph.imports.is_empty() {
            return Err(ReadError::Missing("operator set"));
        }
        // Old files list their weights among the inputs, new ones do not.
        let weights = &self.weights;
        self.inputs.retain(|input| !weights.contains(&input.name));
        bounded("inputs", self.inputs.len(), TENSORS_MAX)?;
        check_names("inputs", &self.inputs)?;
        check_names("outputs", &self.outputs)?;
        if self.outputs.is_empty() {
            return Err(ReadError::Missing("output"));
        }
        let (operators, opsets) = self.in_use()?;
        let Draft { ir_version, graph, inputs, outputs, .. } = self;
        Ok(Header { ir_version, imports: graph.imports, opsets, operators, inputs, outputs })
    }

    /// Operators that an engine must know, and the sets that they are of.
    fn in_use(&self) -> Result<(BTreeSet<String>, BTreeMap<String, i64>), ReadError> {
        let own: BTreeSet<(String, &str)> =
            self.functions.iter().map(|f| (domain_of(f.domain.clone()), f.name.as_str())).collect();
        let (mut operators, mut opsets) = (BTreeSet::new(), BTreeMap::new());
        for scope in self.functions.iter().chain([&self.graph]) {
            for (domain, name) in &scope.operators {
                if own.contains(&(domain.clone(), name.as_str())) {
                    continue;
                }
                let operator = format!("{domain}:{name}");
                let version = scope.imports.get(domain).or_else(|| self.graph.imports.get(domain));
                let Some(&version) = version else {
                    return Err(ReadError::NotImported { operator, domain: domain.clone() });
                };
                let needed = opsets.entry(domain.clone()).or_insert(version);
                *needed = version.max(*needed);
                operators.insert(operator);
            }
        }
        bounded("different operators", operators.len(), OPERATORS_MAX)?;
        bounded("operator sets in use", opsets.len(), OPSETS_MAX)?;
        Ok((operators, opsets))
    }
}

fn domain_of(written: String) -> String {
    if written.is_empty() { DEFAULT_DOMAIN.to_owned() } else { written }
}

fn check_names(what: &'static str, values: &[Value]) -> Result<(), ReadError> {
    let mut seen = BTreeSet::new();
    for Value { name, .. } in values {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(ReadError::Name { what, length: name.len() as u64 });
        }
        if !seen.insert(name) {
            return Err(ReadError::Twice { what, name: name.clone() });
        }
    }
    Ok(())
}

fn bounded(what: &'static str, count: usize, most: usize) -> Result<(), ReadError> {
    if count > most { Err(ReadError::TooMany { what, most }) } else { Ok(()) }
}
