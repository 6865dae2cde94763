//! A real kube-apiserver with etcd (`tests/controlplane/`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::kubectl::Kubectl;
use crate::part::{Part, PartError};
use crate::place::root;

/// The first start may build the control plane from source.
const FIRST_START: Duration = Duration::from_mins(40);

/// A running control plane; ended with this value, its data stays in its folder.
#[derive(Debug)]
pub struct ControlPlane {
    part: Part,
    dir: PathBuf,
}

impl ControlPlane {
    /// Starts it with its data in `dir`, or goes on with the data that is there.
    ///
    /// # Errors
    /// When it cannot be built or does not answer.
    pub fn start(dir: &Path) -> Result<ControlPlane, PartError> {
        let kubeconfig = dir.join("kubeconfig");
        let _ = std::fs::remove_file(&kubeconfig);
        let mut command = Command::new(root().join("tests/controlplane/run.sh"));
        command.arg("--dir").arg(dir).arg("--exit-with-parent");
        let log_dir = dir.parent().unwrap_or(dir);
        let mut part = Part::start("control-plane", log_dir, &mut command)?;
        part.ready(FIRST_START, || {
            if kubeconfig.exists() { Ok(()) } else { Err("it has not written its kubeconfig".into()) }
        })?;
        Ok(ControlPlane { part, dir: dir.to_owned() })
    }

    /// kubectl as its administrator.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.kubeconfig())
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// The process, to freeze or kill it.
    pub fn part(&mut self) -> &mut Part {
        &mut self.part
    }
}
