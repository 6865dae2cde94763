//! What the roles that ship allow.

use std::path::Path;

use crate::tree::text;

/// The documents of manifests/rbac.yaml that grant rights, by name.
fn roles(manifest: &str) -> Vec<(&str, &str)> {
    let documents = manifest.split("\n---\n").filter(|document| document.contains("\nrules:\n"));
    let name = |document: &'_ str| document.find("\n  name: ").map(|at| at + "\n  name: ".len());
    documents
        .map(|document| (document[name(document).unwrap()..].lines().next().unwrap(), document))
        .collect()
}

#[test]
fn users_write_no_status_and_the_controller_reads_no_secret() {
    let manifest = text(Path::new("manifests/rbac.yaml"));
    let roles = roles(&manifest);
    let names: Vec<&str> = roles.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["modelfleet-controller", "modelfleet-leader", "modelfleet-view", "modelfleet-edit"]);
    for (name, role) in roles {
        let granted: Vec<&str> = role.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        let granted = granted.join("\n");
        // A star would grant statuses and secrets without naming them.
        for broad in ["secrets", "'*'", "\"*\"", "[*"] {
            assert!(!granted.contains(broad), "{name} grants {broad}");
        }
        let writes_status = granted.contains("/status");
        assert_eq!(writes_status, name == "modelfleet-controller", "{name} and statuses");
    }
}
