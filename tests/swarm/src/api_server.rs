//! An API server, as far as the controller leans on one: objects with uids, resource versions and generations, status and
//! finalizers, conflicts, deletion that waits for finalizers, a log of changes for watches, and backups.
//!
//! It speaks HTTP to the controller's own client, without a socket: [`client`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::Full;
use kube::client::Body;
use modelfleet_model::status::time::to_k8s;
use modelfleet_protocol::time::Time;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

/// Most changes that a watch may be behind before it has to begin anew.
const LOG_MAX: usize = 2_000;

/// Kind, as paths have it, and name.
pub type Place = (String, String);

/// One change of an object, for watches.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which object.
    pub place: Place,
    /// As it is now, or as it was last.
    pub object: Arc<Value>,
    /// It is gone.
    pub gone: bool,
}

/// What becomes of the requests of one controller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// The server does not answer.
    pub away: bool,
    /// Requests of a million that are carried out and whose answers are lost.
    pub answer_lost_ppm: u32,
    /// The process ends with the request after so many.
    pub dies_after: Option<u32>,
}

/// A write that laws look at.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Which object.
    pub place: Place,
    /// Before; nothing: it is new.
    pub before: Option<Arc<Value>>,
    /// After.
    pub after: Arc<Value>,
    /// Which controller wrote it; none: a user did.
    pub by: Option<usize>,
}

impl Stored {
    /// Whether the object is as it was before.
    #[must_use]
    pub fn changes_nothing(&self) -> bool {
        self.before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &self.after))
    }
}

/// The server.
#[derive(Default)]
pub struct ApiServer {
    objects: BTreeMap<Place, Arc<Value>>,
    revision: u64,
    uids: u64,
    /// Number of the first change in the log, and the changes.
    first: u64,
    log: Vec<Change>,
    backup: BTreeMap<Place, Arc<Value>>,
    /// True time.
    pub now: Time,
    /// By controller.
    pub trouble: BTreeMap<usize, Trouble>,
    /// Requests so far, by controller; chance for lost answers comes from here.
    requests: u64,
    /// Writes since the world looked last.
    pub stored: Vec<Stored>,
    died: BTreeMap<usize, Arc<Notify>>,
}

/// What a request comes to.
enum Answer {
    Done(u16, Value),
    /// The connection breaks.
    Broken,
    /// The process that asked is no more.
    Never,
}

/// The server, shared with the clients that speak to it.
pub type Shared = Arc<Mutex<ApiServer>>;

/// Locked.
pub fn locked(server: &Shared) -> MutexGuard<'_, ApiServer> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client of the server for one controller, as the controller's shell uses it.
#[must_use]
pub fn client(server: &Shared, who: usize) -> kube::Client {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await.map_err(std::io::Error::other)?;
            let answer = locked(&server).answer(who, &parts, &bytes);
            let (code, object) = match answer {
                Answer::Done(code, object) => (code, object),
                Answer::Broken => return Err(std::io::Error::other("the API server is away")),
                Answer::Never => std::future::pending().await,
            };
            let body = Full::new(bytes::Bytes::from(object.to_string()));
            http::Response::builder().status(code).body(body).map_err(std::io::Error::other)
        }
    });
    kube::Client::new(service, "plant")
}

impl ApiServer {
    /// All objects of a kind.
    pub fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Arc<Value>> {
        self.objects.iter().filter(move |((of, _), _)| of == kind).map(|(_, object)| object)
    }

    /// One object.
    #[must_use]
    pub fn get(&self, kind: &str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(&(kind.to_owned(), name.to_owned()))
    }

    /// Is told when a controller's process has ended in the middle of a request.
    pub fn died(&mut self, who: usize) -> Arc<Notify> {
        Arc::clone(self.died.entry(who).or_default())
    }

    /// Changes after number `after`; `None`: they are not kept any more, and the watch begins anew.
    #[must_use]
    pub fn changes(&self, after: u64) -> Option<&[Change]> {
        let skip = after.checked_sub(self.first)?;
        self.log.get(usize::try_from(skip).ok()?..)
    }

    /// The number of the next change.
    #[must_use]
    pub fn next_change(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    /// Creates an object of a user; one that is there stays as it is.
    pub fn create(&mut self, kind: &str, object: Value) {
        let name = name_of(&object);
        if !self.objects.contains_key(&(kind.to_owned(), name.clone())) {
            self.insert((kind.to_owned(), name), object, None);
        }
    }

    /// Changes an object of a user, as `kubectl edit` does. `status`: whether the status is changed, too.
    pub fn edit(&mut self, kind: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        let place = (kind.to_owned(), name.to_owned());
        let Some(old) = self.objects.get(&place).cloned() else { return };
        let mut object = Value::clone(&old);
        edit(&mut object);
        if object["spec"] != old["spec"] {
            let generation = object["metadata"]["generation"].as_u64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.replace(place, &old, object, None);
    }

    /// Deletes an object: at once without finalizers, otherwise when the last of them is taken off.
    pub fn delete(&mut self, kind: &str, name: &str) {
        let at = serde_json::to_value(to_k8s(self.now)).unwrap_or_default();
        self.edit(kind, name, |object| {
            let meta = &mut object["metadata"];
            if meta.get("deletionTimestamp").is_none_or(Value::is_null) {
                meta["deletionTimestamp"] = at;
            }
        });
    }

    /// Writes a backup of all objects but Leases.
    pub fn back_up(&mut self) {
        let kept = self.objects.iter().filter(|((kind, _), _)| kind != "leases");
        self.backup = kept.map(|(place, object)| (place.clone(), Arc::clone(object))).collect();
    }

    /// Goes back to the backup, as a tool does that deletes what there is and applies what it has: new uids, and without
    /// statuses unless `statuses`. Finalizers do not keep what is deleted so. Before the first backup nothing is restored.
    pub fn restore(&mut self, statuses: bool) {
        if self.backup.is_empty() {
            return;
        }
        let gone: Vec<Place> = self.objects.keys().filter(|(kind, _)| kind != "leases").cloned().collect();
        for place in gone {
            if let Some(object) = self.objects.remove(&place) {
                self.note(Change { place, object, gone: true });
            }
        }
        for (place, object) in self.backup.clone() {
            let mut object = Value::clone(&object);
            if let Some(meta) = object["metadata"].as_object_mut() {
                meta.remove("deletionTimestamp");
            }
            if let Some(whole) = object.as_object_mut().filter(|_| !statuses) {
                whole.remove("status");
            }
            self.insert(place, object, None);
        }
    }

    fn insert(&mut self, place: Place, mut object: Value, by: Option<usize>) -> Arc<Value> {
        self.uids += 1;
        let created = serde_json::to_value(to_k8s(self.now)).unwrap_or_default();
        let meta = &mut object["metadata"];
        meta["uid"] = json!(format!("{:08x}-0000-4000-8000-000000000000", self.uids));
        meta["generation"] = json!(1);
        meta["creationTimestamp"] = created;
        meta["namespace"] = json!("plant");
        self.keep(place, None, object, by)
    }

    /// Keeps an object with the next resource version; one that is being deleted goes with its last finalizer.
    fn keep(
        &mut self,
        place: Place,
        before: Option<&Arc<Value>>,
        mut object: Value,
        by: Option<usize>,
    ) -> Arc<Value> {
        self.revision += 1;
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = json!(self.revision.to_string());
        let is_set = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
        let gone = is_set(&meta["deletionTimestamp"]) && !is_set(&meta["finalizers"]);
        let object = Arc::new(object);
        match gone {
            true => drop(self.objects.remove(&place)),
            false => drop(self.objects.insert(place.clone(), Arc::clone(&object))),
        }
        let (before, after) = (before.cloned(), Arc::clone(&object));
        self.stored.push(Stored { place: place.clone(), before, after, by });
        self.note(Change { place, object: Arc::clone(&object), gone });
        object
    }

    fn replace(&mut self, place: Place, old: &Arc<Value>, object: Value, by: Option<usize>) -> Arc<Value> {
        if object != **old {
            return self.keep(place, Some(old), object, by);
        }
        let (before, after) = (Some(Arc::clone(old)), Arc::clone(old));
        self.stored.push(Stored { place, before, after, by });
        Arc::clone(old)
    }

    fn note(&mut self, change: Change) {
        // Events and Leases are watched by nobody.
        if !matches!(change.place.0.as_str(), "rollouts" | "modelversions") {
            return;
        }
        self.log.push(change);
        if self.log.len() > LOG_MAX {
            let over = self.log.len() - LOG_MAX / 2;
            self.log.drain(..over);
            self.first += over as u64;
        }
    }

    fn answer(&mut self, who: usize, parts: &http::request::Parts, body: &[u8]) -> Answer {
        self.requests += 1;
        let trouble = self.trouble.entry(who).or_default();
        match &mut trouble.dies_after {
            Some(0) => {
                // Every other process dies before its last request has arrived, the others after.
                trouble.dies_after = None;
                if self.requests.is_multiple_of(2) {
                    self.carry_out(who, parts, body);
                }
                self.died(who).notify_one();
                return Answer::Never;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let trouble = *trouble;
        if trouble.away {
            return Answer::Broken;
        }
        let (code, object) = self.carry_out(who, parts, body);
        // A cheap hash of the request's number: the world's own chance is not at hand here.
        let roll = self.requests.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
        if roll % 1_000_000 < u64::from(trouble.answer_lost_ppm) {
            return Answer::Broken;
        }
        Answer::Done(code, object)
    }

    fn carry_out(&mut self, who: usize, parts: &http::request::Parts, body: &[u8]) -> (u16, Value) {
        let path = parts.uri.path();
        let Some((_, path)) = path.rsplit_once("/namespaces/plant/") else { return refusal(404, path) };
        let mut names = path.split('/');
        let (Some(kind), name, part) = (names.next(), names.next(), names.next()) else {
            return refusal(404, path);
        };
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        if parts.method == http::Method::POST {
            let place = (kind.to_owned(), name_of(&body));
            return match (self.objects.contains_key(&place), kind) {
                (true, _) => refusal(409, &place.1),
                // Events are taken and not kept: none is ever read.
                (false, "events") => (201, body),
                (false, _) => (201, Value::clone(&self.insert(place, body, Some(who)))),
            };
        }
        let place = (kind.to_owned(), name.unwrap_or_default().to_owned());
        let Some(old) = self.objects.get(&place).cloned() else { return refusal(404, &place.1) };
        let version = &body["metadata"]["resourceVersion"];
        match parts.method {
            http::Method::GET => (200, Value::clone(&old)),
            _ if version.is_string() && *version != old["metadata"]["resourceVersion"] => {
                refusal(409, &place.1)
            }
            http::Method::PUT => (200, Value::clone(&self.replace(place, &old, body, Some(who)))),
            _ => {
                let mut object = Value::clone(&old);
                patch(&mut object, &body, part == Some("status"));
                (200, Value::clone(&self.replace(place, &old, object, Some(who))))
            }
        }
    }
}

/// A server-side apply by the one manager of a status or of a finalizer, or a merge patch of metadata.
fn patch(object: &mut Value, patch: &Value, status: bool) {
    if status {
        object["status"] = patch["status"].clone();
        return;
    }
    let said = &patch["metadata"];
    let apply = patch.get("apiVersion").is_some();
    if let Some(finalizers) = said["finalizers"].as_array() {
        let meta = &mut object["metadata"];
        let old = meta["finalizers"].as_array().cloned().unwrap_or_default();
        let kept = old.into_iter().filter(|_| apply);
        let mut list: Vec<Value> = kept.collect();
        list.extend(finalizers.iter().filter(|one| !list.contains(one)).cloned().collect::<Vec<_>>());
        meta["finalizers"] = Value::Array(list);
    }
    if let Some(annotations) = said["annotations"].as_object() {
        let meta = &mut object["metadata"];
        if !meta["annotations"].is_object() {
            meta["annotations"] = Value::Object(Map::new());
        }
        let Some(kept) = meta["annotations"].as_object_mut() else { return };
        for (name, value) in annotations {
            match value {
                Value::Null => drop(kept.remove(name)),
                value => drop(kept.insert(name.clone(), value.clone())),
            }
        }
    }
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

fn refusal(code: u16, what: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "message": what, "reason": if code == 409 { "Conflict" } else { "NotFound" },
    });
    (code, status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::Api;
    use kube::api::{Patch, PatchParams};
    use modelfleet_crds::Rollout;

    fn rollout() -> Value {
        json!({"apiVersion": "modelfleet.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "r"},
               "spec": {"model": "m", "version": "1.0.0"}})
    }

    async fn paused(api: &Api<Rollout>, version: Option<&str>) -> kube::Result<Rollout> {
        let patch = json!({"apiVersion": "modelfleet.io/v1alpha1", "kind": "Rollout",
                           "metadata": {"name": "r", "resourceVersion": version},
                           "status": {"phase": "Paused"}});
        api.patch_status("r", &PatchParams::apply("test").force(), &Patch::Apply(patch)).await
    }

    #[tokio::test]
    async fn a_client_that_read_an_older_object_is_refused() {
        let server = Shared::default();
        locked(&server).create("rollouts", rollout());
        let api: Api<Rollout> = Api::namespaced(client(&server, 0), "plant");
        let read = api.get("r").await.unwrap().metadata.resource_version;
        assert!(paused(&api, read.as_deref()).await.unwrap().status.is_some());
        let again = paused(&api, read.as_deref()).await;
        assert!(matches!(again, Err(kube::Error::Api(status)) if status.code == 409));
        assert_eq!(locked(&server).changes(0).unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_finalizer_keeps_an_object_until_it_is_taken_off() {
        let server = Shared::default();
        locked(&server).create("rollouts", rollout());
        let api: Api<Rollout> = Api::namespaced(client(&server, 0), "plant");
        let hold = json!({"apiVersion": "modelfleet.io/v1alpha1", "kind": "Rollout",
                          "metadata": {"name": "r", "finalizers": ["x"]}});
        api.patch("r", &PatchParams::apply("test").force(), &Patch::Apply(hold)).await.unwrap();
        locked(&server).delete("rollouts", "r");
        assert!(api.get("r").await.unwrap().metadata.deletion_timestamp.is_some());
        let free = json!({"metadata": {"finalizers": []}});
        api.patch("r", &PatchParams::default(), &Patch::Merge(free)).await.unwrap();
        assert!(api.get_opt("r").await.unwrap().is_none());
        assert!(locked(&server).changes(0).unwrap().last().unwrap().gone);
    }

    #[tokio::test]
    async fn a_restored_backup_has_other_uids_and_no_statuses() {
        let server = Shared::default();
        locked(&server).create("rollouts", rollout());
        let api: Api<Rollout> = Api::namespaced(client(&server, 0), "plant");
        paused(&api, None).await.unwrap();
        let before = api.get("r").await.unwrap();
        locked(&server).back_up();
        locked(&server).restore(false);
        let after = api.get("r").await.unwrap();
        assert!(before.status.is_some() && after.status.is_none());
        assert_ne!(before.metadata.uid, after.metadata.uid);
    }
}
