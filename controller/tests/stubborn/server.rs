//! An API server that keeps a few objects, remembers what it was asked, and refuses what the test tells it to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// What a test refuses: by path and body, with this code.
type Refusal = Box<dyn Fn(&str, &Value) -> Option<u16> + Send + Sync>;

/// An API server that refuses.
#[derive(Clone, Default)]
pub struct Server {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Value>,
    writes: Vec<(String, Value)>,
    refuse: Option<Refusal>,
    version: u64,
}

impl Server {
    /// Starts it; returns its address.
    pub async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        format!("http://{address}")
    }

    /// Keeps an object under `rollouts/name` or `modelversions/name`.
    pub fn keep(&self, path: &str, object: Value) {
        self.inner.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    /// An object as it is kept.
    pub fn object(&self, path: &str) -> Value {
        self.inner.lock().unwrap().objects[path].clone()
    }

    /// From now on refuses what `refuse` says.
    pub fn refuse(&self, refuse: impl Fn(&str, &Value) -> Option<u16> + Send + Sync + 'static) {
        self.inner.lock().unwrap().refuse = Some(Box::new(refuse));
    }

    /// Paths of the good writes so far, and forgets them.
    pub fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.lock().unwrap().writes).into_iter().map(|(path, _)| path).collect()
    }
}

impl Inner {
    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> Result<Value, u16> {
        if let Some(code) = self.refuse.as_ref().and_then(|refuse| refuse(path, body)) {
            return Err(code);
        }
        let object = path.trim_end_matches("/status");
        if *method == Method::GET {
            return self.objects.get(object).cloned().ok_or(404);
        }
        self.writes.push((path.to_owned(), body.clone()));
        if *method == Method::POST {
            return Ok(body.clone());
        }
        self.version += 1;
        let kept = self.objects.get_mut(object).ok_or(404_u16)?;
        if path.ends_with("/status") {
            kept["status"] = body["status"].clone();
        } else {
            for part in ["finalizers", "annotations"] {
                if let Some(said) = body["metadata"].get(part) {
                    kept["metadata"][part] = said.clone();
                }
            }
        }
        kept["metadata"]["resourceVersion"] = json!((100 + self.version).to_string());
        Ok(kept.clone())
    }
}

async fn answer(State(server): State<Server>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path = uri.path().rsplit_once("/namespaces/plant/").map_or(uri.path(), |(_, path)| path).to_owned();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let answer = server.inner.lock().unwrap().answer(&method, &path, &body);
    match answer {
        Ok(object) => axum::Json(object).into_response(),
        Err(code) => {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
                "message": "the test refuses it", "reason": "Refused",
            });
            (StatusCode::from_u16(code).unwrap(), axum::Json(status)).into_response()
        }
    }
}
