//! The membership in the status, and back. The stratum with an empty key stands for all others.

use modelfleet_crds::DeviceSelector;
use modelfleet_crds::rollout::status::{
    Membership as Field, MembershipClause as ClauseField, Stratum as StratumField,
};
use modelfleet_crds::selector::{LabelExpression, LabelOperator};
use modelfleet_protocol::membership::{Bound, Clause, ListedRanks, Membership, Stratum};
use modelfleet_protocol::selector::{Operator, Requirement, Selector};

/// As the status shows it; quarantined devices are part of the state, not of this.
#[must_use]
pub fn to_field(membership: &Membership, stage_of: impl Fn(usize) -> String) -> Field {
    let clause = |(i, clause): (usize, &Clause)| ClauseField {
        stage: stage_of(i),
        selector: selector_field(&clause.selector),
        spread_by: clause.spread_by.clone(),
        strata: strata_field(clause),
        devices: clause.devices.iter().map(ToString::to_string).collect(),
        ranks: clause.ranks.clone().into(),
    };
    Field {
        salt: membership.salt.clone(),
        clauses: membership.clauses.iter().enumerate().map(clause).collect(),
    }
}

/// Known strata, then the bound of all others. Without labels to spread by both have an empty key, and the first one
/// is the stratum.
fn strata_field(clause: &Clause) -> Vec<StratumField> {
    let field =
        |key: Vec<String>, below: Bound| StratumField { key, bound: below.into(), total: 0, target: 0 };
    let known = clause.strata.iter().map(|s| field(s.key.clone(), s.below));
    let other = (clause.other_below > Bound::NONE).then(|| field(Vec::new(), clause.other_below));
    known.chain(other).collect()
}

/// From the status; `None` when it was edited to something that is no membership.
#[must_use]
pub fn from_field(field: &Field) -> Option<Membership> {
    let clauses = field.clauses.iter().map(clause).collect::<Option<Vec<_>>>()?;
    Some(Membership { salt: field.salt.clone(), clauses, exclude: Vec::new() })
}

fn clause(field: &ClauseField) -> Option<Clause> {
    let mut clause = Clause {
        selector: selector(&field.selector),
        spread_by: field.spread_by.clone(),
        devices: field.devices.iter().map(|id| id.parse().ok()).collect::<Option<Vec<_>>>()?,
        ranks: ListedRanks::try_from(field.ranks.clone()).ok()?,
        ..Clause::default()
    };
    for stratum in &field.strata {
        let below = Bound::try_from(stratum.bound.clone()).ok()?;
        let other = stratum.key.is_empty() && (!field.spread_by.is_empty() || !clause.strata.is_empty());
        if other {
            clause.other_below = below;
        } else {
            clause.strata.push(Stratum { key: stratum.key.clone(), below });
        }
    }
    Some(clause)
}

fn selector_field(selector: &Selector) -> DeviceSelector {
    let expression = |r: &Requirement| {
        let operator = match r.operator {
            Operator::In => LabelOperator::In,
            Operator::NotIn => LabelOperator::NotIn,
            Operator::Exists => LabelOperator::Exists,
            Operator::DoesNotExist | Operator::Unknown => LabelOperator::DoesNotExist,
        };
        LabelExpression { key: r.key.clone(), operator, values: r.values.clone() }
    };
    DeviceSelector {
        match_labels: selector.match_labels.clone(),
        match_expressions: selector.match_expressions.iter().map(expression).collect(),
    }
}

fn selector(field: &DeviceSelector) -> Selector {
    let requirement = |e: &LabelExpression| {
        let operator = match e.operator {
            LabelOperator::In => Operator::In,
            LabelOperator::NotIn => Operator::NotIn,
            LabelOperator::Exists => Operator::Exists,
            LabelOperator::DoesNotExist => Operator::DoesNotExist,
        };
        Requirement { key: e.key.clone(), operator, values: e.values.clone() }
    };
    Selector {
        match_labels: field.match_labels.clone(),
        match_expressions: field.match_expressions.iter().map(requirement).collect(),
    }
}
