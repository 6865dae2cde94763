//! The API server that the tests of a single package ask: one that runs already, named by a variable.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::kubectl::Kubectl;
use crate::part::PartError;
use crate::place::root;

/// The variable that names the kubeconfig of a test API server's administrator.
pub const KUBECONFIG: &str = "MODELFLEET_KUBECONFIG";

/// The administrator's kubeconfig.
///
/// # Panics
/// When no variable names it; says how to start a server.
#[must_use]
pub fn kubeconfig() -> PathBuf {
    let named = std::env::var_os(KUBECONFIG).filter(|name| !name.is_empty());
    named.map(PathBuf::from).unwrap_or_else(|| {
        panic!(
            "{KUBECONFIG} names no API server: run `tests/controlplane/run.sh --dir DIR` and set it to DIR/kubeconfig, \
             or leave out the feature `api-server`"
        )
    })
}

/// kubectl as the server's administrator, with the definitions of the resources installed once in this process.
///
/// # Panics
/// When there is no server, or it refuses the definitions.
#[must_use]
pub fn with_definitions() -> Kubectl {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let kubectl = Kubectl::new(kubeconfig());
    INSTALLED.get_or_init(|| {
        let definitions = root().join("manifests/crds").display().to_string();
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", &definitions];
        let wait = ["wait", "--for=condition=Established", "--timeout=60s", "-f", &definitions];
        let install = || -> Result<String, PartError> {
            kubectl.run(&apply)?;
            kubectl.run(&wait)
        };
        install().unwrap_or_else(|error| panic!("install the definitions: {error}"));
    });
    kubectl
}
