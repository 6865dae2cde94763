//! What a person reads after a registration.

use modelfleet_crds::ModelVersion;
use modelfleet_crds::model_version::{Tensor, VersionStage};
use modelfleet_model_file::{Header, IR_VERSION_KNOWN};

use super::registry::Registered;
use super::store::Upload;
use crate::printing;
use crate::table::one_line;
use crate::units;

/// What was found on the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    notes: Vec<String>,
    engine: Option<String>,
}

/// What was done.
pub(super) struct Registration<'a> {
    /// What is registered.
    pub registered: &'a Registered,
    /// What became of the bytes.
    pub upload: Option<Upload>,
    /// Where it is registered.
    pub namespace: &'a str,
}

impl Report {
    /// Adds something that the person should know.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// The engine that the self-test's answers are from.
    pub fn engine(&mut self, name: String) {
        self.engine = Some(name);
    }

    /// Adds what is odd about the file.
    pub fn header(&mut self, header: &Header) {
        if header.ir_version > IR_VERSION_KNOWN {
            self.note(format!(
                "the file has IR version {}, and ONNX Runtime 1.31 and older load at most {IR_VERSION_KNOWN}; set \
                 model.ir_version = {IR_VERSION_KNOWN} before onnx.save_model and register that file, or devices with \
                 these versions of ONNX Runtime cannot run it",
                header.ir_version
            ));
        }
        let unusual = header.unusual_operators();
        if !unusual.is_empty() {
            let list = unusual.into_iter().take(5).collect::<Vec<_>>().join(", ");
            self.note(format!(
                "standard engines lack these operators, so most devices will refuse the model: {list}"
            ));
        }
    }

    /// Adds which columns of the rows fill no input.
    pub fn left_over(&mut self, columns: &[&str]) {
        if !columns.is_empty() {
            let list = columns.iter().take(12).copied().collect::<Vec<_>>().join(", ");
            self.note(format!("these columns are not inputs of the model and are ignored: {list}"));
        }
    }

    /// Adds in what the registered version differs from this command.
    pub fn differences(&mut self, fields: &[String]) {
        if !fields.is_empty() {
            self.note(format!(
                "this version is already registered with a different {}; it stays as it is, because a version never changes",
                fields.join(", ")
            ));
        }
    }

    /// Adds what to do with a registered version that is refused: registering it again changes nothing.
    pub fn refused(&mut self, object: &ModelVersion, namespace: &str) {
        let Some(status) = object.status.as_ref().filter(|s| s.stage == Some(VersionStage::Rejected)) else {
            return;
        };
        let (reason, message) =
            (status.reason.as_deref().unwrap_or_default(), status.message.as_deref().unwrap_or_default());
        self.note(match &status.rejected_by {
            Some(_) => format!(
                "a rollout rejected this version ({reason}: {message}), and registering it again does not change that; \
                 register the fixed model under a new version"
            ),
            None => format!(
                "the controller rejected this version ({reason}: {message}). The controller repeats the check, so it is \
                 enough to put back a missing file. To change a signature or an address, delete the version and register it \
                 again\n  kubectl delete modelversion {} -n {namespace}",
                object.metadata.name.as_deref().unwrap_or_default()
            ),
        });
    }

    /// Notes go to standard error, so that what is printed stays an object.
    pub fn print_notes(&self) {
        self.notes.iter().for_each(|note| printing::note(note));
    }

    /// Says what became of the bytes, to standard error.
    pub fn print_upload(&self, upload: Option<Upload>) {
        if let Some(upload) = upload {
            printing::note(&format!("artifact {}", word(upload)));
        }
    }

    /// The text for a person.
    pub fn text(&self, done: &Registration<'_>) -> String {
        let object = &done.registered.object;
        let spec = &object.spec;
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let what = if done.registered.unchanged { "unchanged" } else { "registered" };
        let mut lines = vec![format!("modelversion/{name} {what} in namespace {}", done.namespace)];
        let mut line = |label: &str, text: String| lines.push(format!("  {label:<10} {}", one_line(&text)));
        line("digest", spec.artifact.digest.clone());
        line("size", units::bytes(u64::try_from(spec.artifact.size_bytes).unwrap_or(0)));
        let upload = done.upload.map(|upload| format!("  ({})", word(upload))).unwrap_or_default();
        line("artifact", format!("{}{upload}", spec.artifact.uri));
        if let Some(file) = &spec.artifact.details {
            let size = units::bytes(u64::try_from(file.size_bytes).unwrap_or(0));
            line("details", format!("{} ({size}; self-test and profile, which devices download)", file.uri));
        }
        line("inputs", tensors(&spec.signature.inputs));
        line("outputs", tensors(&spec.signature.outputs));
        let opsets: Vec<String> =
            spec.opsets.iter().map(|set| format!("{} {}", set.domain, set.version)).collect();
        line("opsets", opsets.join(", "));
        if let Some(baseline) = spec.baseline.as_ref().filter(|baseline| !baseline.features.is_empty()) {
            let watched = baseline.features.iter().filter(|feature| !feature.edges.is_empty()).count();
            let watched = i64::try_from(watched).unwrap_or(i64::MAX);
            let rows = units::counted(baseline.rows.unwrap_or(0), "row");
            line("profile", format!("{} from {rows}", units::counted(watched, "feature")));
        }
        let cases = i64::try_from(spec.self_test.len()).unwrap_or(i64::MAX);
        if cases > 0 {
            let engine = self.engine.as_ref().filter(|_| !done.registered.unchanged);
            let by = engine.map(|engine| format!(", answered by {engine}")).unwrap_or_default();
            line("self-test", format!("{}{by}", units::counted(cases, "case")));
        }
        for signature in &spec.signatures {
            line("signed by", format!("key {}", signature.key_id));
        }
        lines.join("\n") + "\n"
    }
}

fn word(upload: Upload) -> &'static str {
    match upload {
        Upload::Uploaded => "uploaded",
        Upload::Present => "was already there",
        Upload::Replaced => "replaced, because the file there had a different size",
    }
}

fn tensors(tensors: &[Tensor]) -> String {
    let text = |tensor: &Tensor| format!("{} {:?} {:?}", tensor.name, tensor.datatype, tensor.shape);
    tensors.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(status: serde_json::Value) -> Vec<String> {
        let object = serde_json::json!({
            "apiVersion": "modelfleet.io/v1alpha1", "kind": "ModelVersion", "metadata": {"name": "pump-1.0.0"},
            "spec": {"model": "pump", "version": "1.0.0",
                     "artifact": {"uri": "https://m/m.onnx", "digest": "sha256:0", "sizeBytes": 1}},
            "status": status,
        });
        let mut report = Report::default();
        report.refused(&serde_json::from_value(object).unwrap(), "plant");
        report.notes
    }

    #[test]
    fn a_refused_version_that_is_registered_again_is_told_what_helps() {
        let status = serde_json::json!({"stage": "Rejected", "reason": "SignatureMissing", "message": "none is trusted"});
        let found = notes(status.clone()).concat();
        assert!(found.contains("SignatureMissing: none is trusted"), "{found}");
        assert!(found.ends_with("kubectl delete modelversion pump-1.0.0 -n plant"), "{found}");

        let mut by_rollout = status;
        by_rollout["rejectedBy"] = serde_json::json!({"rollout": "pump-1.0.0", "reason": "SloBreach", "time": "2026-08-01T12:00:00Z"});
        assert!(notes(by_rollout).concat().contains("register the fixed model under a new version"));
        assert!(notes(serde_json::json!({"stage": "Verified"})).is_empty());
    }
}
