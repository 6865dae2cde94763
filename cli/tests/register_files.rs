//! The program on model files and rows of the kinds that people bring, without a server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

use modelfleet_test_support::onnxruntime::onnxruntime;
use serde_json::Value;

/// A file of the reader's tests; with a folder before it, a file of the devices' tests.
fn model_path(model: &str) -> String {
    match model.strip_prefix("devices/") {
        Some(name) => format!("device-agent/tests/models/{name}"),
        None => format!("model-file/testdata/{model}"),
    }
}

/// What would be registered, and what is said beside it.
fn registered(library: &Path, model: &str, rows: &str, flags: &[&str]) -> Result<(Value, String), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, rows).unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../{}.onnx", model_path(model)));
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-modelfleet"))
        .arg("register")
        .arg(model)
        .args(["--name", "m", "--version", "1.0.0", "--dry-run", "--output", "json", "--rows"])
        .arg(path)
        .arg("--store")
        .arg(folder.path())
        .args(flags)
        .env("MODELFLEET_ONNXRUNTIME", library)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    if !output.status.success() {
        return Err(said);
    }
    Ok((serde_json::from_slice(&output.stdout).unwrap(), said))
}

const ROWS: &str = "rms,peak,temp\n1.5,2,3\n2,0.5,-1\n0,4,1\n-3,1,1\n";

#[test]
fn rows_go_to_several_inputs_by_name_and_texts_to_texts() {
    let library = onnxruntime().unwrap();
    let rows = "site,peak,rms,kind\nnorth,3,1.5,centrifugal\nsouth,0.5,0.25,vane\nnorth,1,1,gear\n";
    let (object, said) = registered(&library, "columns", rows, &[]).unwrap();
    let spec = &object["spec"];
    let names: Vec<&str> = spec["baseline"]["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["rms", "peak"], "in the order of the inputs, without texts");
    assert!(said.contains("column \"kind\" holds text") && said.contains("ignored: site"), "{said}");
    let cases = spec["selfTest"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    let alarm = cases.iter().find(|case| case["outputs"][0]["texts"][0] == "alarm").unwrap();
    assert_eq!(alarm["inputs"][1]["texts"][0], "centrifugal");
    assert_eq!(alarm["outputs"][1]["values"][0], "6.5");
    assert_eq!(spec["requires"], Value::Null, "rten has no operator set ai.onnx.ml, and devices know that");
}

#[test]
fn rows_with_gaps_are_tested_where_the_model_takes_them() {
    let library = onnxruntime().unwrap();
    let rows = "rms,peak,temp\n1.5,2,3\n2,0.5,\n0,4,1\n-3,1,NA\n";
    let gaps = |model: &str| {
        let (object, _) = registered(&library, model, rows, &[]).unwrap();
        let cases = object["spec"]["selfTest"].as_array().unwrap().clone();
        cases.iter().filter(|case| case["inputs"][0]["values"].to_string().contains("NaN")).count()
    };
    assert_eq!(gaps("mean-of-gaps"), 1);
    assert_eq!(gaps("mean"), 0);
}

#[test]
fn a_version_asks_for_onnx_runtime_where_rten_differs() {
    let library = onnxruntime().unwrap();
    let (object, said) = registered(&library, "net", ROWS, &[]).unwrap();
    assert_eq!(object["spec"]["requires"], Value::Null, "{said}");
    let (object, said) = registered(&library, "double", ROWS, &[]).unwrap();
    assert_eq!(object["spec"]["requires"]["engine"], serde_json::json!(["OnnxRuntime"]));
    assert!(said.contains("only devices with ONNX Runtime get this version, because rten"), "{said}");
    let refused = registered(&library, "double", ROWS, &["--engine", "Rten"]).unwrap_err();
    assert!(refused.contains("leave out --engine Rten"), "{refused}");
}

/// The rows show no difference: rten takes the sign of zero for one, and no row has a zero. Devices refuse the file all the
/// same.
#[test]
fn rten_is_asked_for_by_the_rules_of_devices() {
    let library = onnxruntime().unwrap();
    let rows = "a,b\n1.5,2\n-2,0.5\n3,-1\n-3,1\n";
    let (object, said) = registered(&library, "devices/sign", rows, &[]).unwrap();
    assert_eq!(object["spec"]["requires"]["engine"], serde_json::json!(["OnnxRuntime"]), "{said}");
    assert!(said.contains("rten does not run the model exactly: Sign"), "{said}");
    // Of equal values rten's own ArgMax takes the last; devices put another operator in its place.
    let equal = "a,b,c,d\n1,1,1,1\n2,2,0,0\n0,3,3,3\n-1,-1,-1,-1\n";
    let (object, said) = registered(&library, "devices/largest", equal, &[]).unwrap();
    assert_eq!(object["spec"]["requires"], Value::Null, "{said}");
}

#[test]
fn what_devices_cannot_run_is_said_in_one_sentence_with_the_cure() {
    let library = onnxruntime().unwrap();
    let (object, said) = registered(&library, "ir14", ROWS, &[]).unwrap();
    assert_eq!(object["spec"]["artifact"]["irVersion"], 14);
    assert!(said.contains("set model.ir_version = 13 before onnx.save_model"), "{said}");
    let said = registered(&library, "zipmap", ROWS, &[]).unwrap_err();
    assert!(said.contains("convert without ZipMap (skl2onnx option zipmap=False)"), "{said}");
    let said = registered(&library, "external-in-branch", ROWS, &[]).unwrap_err();
    assert!(said.contains("save it as one file"), "{said}");
    let (object, _) = registered(&library, "unused-opsets", ROWS, &[]).unwrap();
    assert_eq!(object["spec"]["opsets"], serde_json::json!([{"domain": "ai.onnx", "version": 17}]));
}

#[test]
fn tables_of_other_dialects_are_read_or_the_cell_is_named() {
    let library = onnxruntime().unwrap();
    let profile = |rows: &str| registered(&library, "net", rows, &[]).unwrap().0["spec"]["baseline"].clone();
    let plain = profile("rms,peak,temp\n1.5,1,3\n2,0,-1\n0,1,1\n");
    assert_eq!(profile("rms;peak;temp\n1,5;True;3\n2;False;-1\n0;True;1\n"), plain);
    assert_eq!(profile("rms\tpeak\ttemp\n1.5\t1\t3\n2\tFalse\t-1\n0\t1\t1\n"), plain);
    let said = registered(&library, "net", "rms,peak,temp\n1.5,1,yes\n", &[]).unwrap_err();
    assert!(said.contains("line 2, column temp: \"yes\""), "{said}");
    let (object, said) =
        registered(&library, "mean-of-gaps", "rms,peak,temp\n1.5,1,\n2,1,<NA>\n", &[]).unwrap();
    assert!(said.contains("column \"temp\" has no reading in any row; devices do not watch it"), "{said}");
    assert_eq!(object["spec"]["baseline"]["features"][2]["edges"], Value::Null);
}
