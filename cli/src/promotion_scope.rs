//! The devices for which a version becomes the stable one when its rollout succeeds.

use modelfleet_crds::Rollout;
use modelfleet_protocol::selector::Selector;
use modelfleet_spec::validate;

use crate::schema::Problem;

/// The devices that have the version in production after the last stage; `None`: all of the namespace, or the spec cannot
/// be read.
fn some(rollout: &Rollout) -> Option<Selector> {
    let valid = validate(rollout, None).ok()?;
    let scope = valid.policy.scope().clone();
    (!scope.is_everybody()).then_some(scope)
}

/// What a promotion covers, where that is not all devices.
#[must_use]
pub fn sentence(rollout: &Rollout) -> Option<String> {
    let (scope, version) = (some(rollout)?, &rollout.spec.version);
    Some(format!(
        "{version} becomes the stable version only for devices with {scope}; other devices keep theirs, and devices that get \
         these labels later switch to it"
    ))
}

/// The same as advice on a file.
#[must_use]
pub fn warning(rollout: &Rollout) -> Option<Problem> {
    let own =
        !rollout.spec.selector.match_labels.is_empty() || !rollout.spec.selector.match_expressions.is_empty();
    let field = match own {
        true => "spec.selector".to_owned(),
        false => format!("spec.stages[{}].selector", rollout.spec.stages.len().saturating_sub(1)),
    };
    Some(Problem { field, message: format!("when the rollout succeeds, {}", sentence(rollout)?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_crds::RolloutSpec;

    #[test]
    fn a_promotion_covers_the_devices_of_the_selectors() {
        let mut rollout = Rollout::new("r", RolloutSpec::new("m", "1.1.0"));
        assert_eq!(sentence(&rollout), None);
        let last = rollout.spec.stages.last_mut().unwrap();
        last.selector.get_or_insert_default().match_labels.insert("ring".into(), "1".into());
        assert_eq!(warning(&rollout).unwrap().field, "spec.stages[3].selector");
        rollout.spec.selector.match_labels.insert("site".into(), "north".into());
        let found = warning(&rollout).unwrap();
        assert_eq!(found.field, "spec.selector");
        assert!(found.message.contains("only for devices with ring=1,site=north"), "{}", found.message);
    }
}
