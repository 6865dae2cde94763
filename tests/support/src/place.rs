//! Where things are: the source tree, the built programs, a folder for one run, a free port.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Folder with the built programs, where it is not the workspace's own `target`.
pub const BIN_DIR: &str = "MODELFLEET_BIN_DIR";

/// Root of the source tree.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

/// A built program of this workspace.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let from_env = std::env::var_os(BIN_DIR).map(PathBuf::from);
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    from_env.unwrap_or_else(|| target.join("release")).join(name)
}

/// A port of 127.0.0.1 that was free a moment ago.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// So many different ones.
///
/// # Errors
/// When the system has none.
pub fn free_ports<const COUNT: usize>() -> std::io::Result<[u16; COUNT]> {
    let mut held = Vec::new();
    let mut ports = [0; COUNT];
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        *port = listener.local_addr()?.port();
        // All are held until the last is known, so that none is given out twice.
        held.push(listener);
    }
    Ok(ports)
}
