//! Where the local API is, and how others find it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::store::make_room_for_file;

/// The file in the device's folder that tells it.
const FILE: &str = "api-address";

/// Listens at an address. Where any free port will do, the one that was told the last time is the first choice: those
/// who know it need not look again, and a folder that takes no writes still tells the truth.
pub(super) async fn bind(address: SocketAddr, dir: &Path) -> io::Result<TcpListener> {
    let told = fs::read_to_string(dir.join(FILE)).ok();
    let before = told.and_then(|told| told.trim().strip_prefix("http://")?.parse::<SocketAddr>().ok());
    if let Some(before) = before.filter(|before| address.port() == 0 && before.ip() == address.ip())
        && let Ok(listener) = TcpListener::bind(before).await
    {
        return Ok(listener);
    }
    TcpListener::bind(address).await
}

/// Tells others where the API is. Those who know need no file.
pub(super) fn announce(dir: &Path, address: &str) {
    info!(address, "local API is listening");
    let (path, fresh) = (dir.join(FILE), dir.join(format!("{FILE}.new")));
    let text = format!("{address}\n");
    if fs::read_to_string(&path).is_ok_and(|told| told == text) {
        return;
    }
    let written = [&path, &fresh]
        .into_iter()
        .try_for_each(|place| make_room_for_file(place))
        .and_then(|()| fs::write(&fresh, text))
        .and_then(|()| fs::rename(&fresh, &path));
    if let Err(error) = written {
        warn!(path = %path.display(), %error, "the file with the API's address could not be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_free_port_is_the_same_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(FILE)).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = bind(any, dir.path()).await.unwrap();
        let first = listener.local_addr().unwrap();
        announce(dir.path(), &format!("http://{first}"));
        let other = bind(any, dir.path()).await.unwrap().local_addr().unwrap();
        assert_ne!(other, first, "somebody else has it");
        drop(listener);
        assert_eq!(bind(any, dir.path()).await.unwrap().local_addr().unwrap(), first);
    }
}
