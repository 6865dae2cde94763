//! Versions that the watch has named for a check and that the desk has not taken yet. Each is there once however often it
//! is named, and goes with its object: there are never more than the watch's cache holds versions, and none is lost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Name;

/// Versions that were named; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CheckQueue {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    names: Mutex<BTreeSet<Name>>,
    changed: Notify,
}

impl CheckQueue {
    fn names(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        self.inner.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names a version.
    pub fn ask(&self, name: Name) {
        self.names().insert(name);
        self.inner.changed.notify_one();
    }

    /// Its object is gone.
    pub fn forget(&self, name: &Name) {
        self.names().remove(name);
    }

    /// Takes all that were named, at least one. Who stops waiting loses none.
    pub async fn next(&self) -> BTreeSet<Name> {
        loop {
            let names = std::mem::take(&mut *self.names());
            if !names.is_empty() {
                return names;
            }
            self.inner.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn name(version: usize) -> Name {
        ("a".to_owned(), version.to_string(), "uid".to_owned())
    }

    #[test]
    fn a_version_is_there_once_and_goes_with_its_object() {
        let asks = CheckQueue::default();
        for _ in 0..1_000 {
            (0..3).for_each(|version| asks.ask(name(version)));
        }
        asks.forget(&name(1));
        assert_eq!(asks.next().now_or_never(), Some([name(0), name(2)].into()));
        for version in 0..1_000 {
            asks.ask(name(version));
            asks.forget(&name(version));
        }
        assert_eq!(asks.next().now_or_never(), None, "a version that is created and deleted leaves nothing");
    }

    #[tokio::test]
    async fn who_waits_is_woken_and_one_named_meanwhile_is_kept() {
        let asks = CheckQueue::default();
        let waits = tokio::spawn({
            let asks = asks.clone();
            async move { asks.next().await }
        });
        tokio::task::yield_now().await;
        asks.ask(name(1));
        assert_eq!(waits.await.unwrap(), [name(1)].into());
        asks.ask(name(2));
        assert_eq!(asks.next().await, [name(2)].into());
    }
}
