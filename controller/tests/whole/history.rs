//! A rollout is played, and what it measured is asked of history by DuckDB and by the plugin, and of a real Prometheus.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use modelfleet_test_support::part::Part;
use modelfleet_test_support::place::{free_port, program, root};
use modelfleet_test_support::{http, part};
use serde_json::Value;

use crate::plant::Plant;
use crate::{LONG, fleet};

/// One row for each window, as the page about history tells a reader to choose it.
const WINDOWS: &str = "create view windows as select * from read_parquet('ROOT/seconds/NAMESPACE/m/*/*.parquet', \
     union_by_name = true) qualify row_number() over (partition by namespace, model, window_start, window_ms, resolution, \
     version, arm, stratum order by windows desc, device_windows desc, revision_ms desc) = 1;";

/// Asks DuckDB; every row as an object.
fn asked(python: &Path, history: &Path, namespace: &str, query: &str) -> Vec<Value> {
    let script = "import duckdb, json, sys\n\
         db = duckdb.connect()\n\
         db.execute(\"set timezone = 'UTC'\")\n\
         db.execute(sys.argv[1])\n\
         found = db.execute(sys.argv[2])\n\
         names = [column[0] for column in found.description]\n\
         print(json.dumps([dict(zip(names, row)) for row in found.fetchall()], default=str))\n";
    let view = WINDOWS.replace("ROOT", &history.display().to_string()).replace("NAMESPACE", namespace);
    // Files that the folder had a moment ago may have been merged: then the question is asked again.
    let ask = || part::run("DuckDB", Command::new(python).args(["-c", script, &view, query]));
    let told = (0..4).find_map(|_| ask().ok()).unwrap_or_else(|| ask().unwrap());
    serde_json::from_str(&told).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let each = entries.map(|entry| entry.unwrap().path());
    each.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn prometheus(dir: &Path, port: u16) -> Part {
    let config = dir.join("prometheus.yaml");
    std::fs::write(&config, "storage: { tsdb: { out_of_order_time_window: 1h } }\n").unwrap();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()));
    command.args([&format!("--web.listen-address=127.0.0.1:{port}"), "--web.enable-remote-write-receiver"]);
    Part::start("prometheus", dir, command.stdin(Stdio::null())).unwrap()
}

/// All samples of a series that Prometheus has, by their time in milliseconds.
fn samples(port: u16, selector: &str) -> BTreeMap<u64, f64> {
    let query = format!("{selector}[1h]");
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = http::get(port, &format!("/api/v1/query?query={encoded}")).unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let series = answer["data"]["result"].as_array().unwrap().clone();
    let values = series.iter().flat_map(|series| series["values"].as_array().unwrap().clone());
    let sample = |pair: Value| {
        let at = (pair[0].as_f64().unwrap() * 1_000.0).round() as u64;
        (at, pair[1].as_str().unwrap().parse().unwrap())
    };
    values.map(sample).collect()
}

/// What `/metrics` shows of the last window of devices with a version: its end, its devices, and its share of errors.
fn shown(metrics: &str, version: &str) -> Option<(u64, u64, f64)> {
    let value = |name: &str| -> Option<f64> {
        let of = |line: &&str| {
            let labels = [format!("version=\"{version}\""), "arm=\"canary\"".to_owned()];
            line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label))
        };
        metrics.lines().find(of)?.rsplit(' ').next()?.parse().ok()
    };
    let end = value("modelfleet_window_end_timestamp_seconds")? as u64;
    Some((end, value("modelfleet_window_devices")? as u64, value("modelfleet_prediction_errors_ratio")?))
}

struct History {
    python: PathBuf,
    folder: PathBuf,
    namespace: String,
}

impl History {
    fn ask(&self, query: &str) -> Vec<Value> {
        asked(&self.python, &self.folder, &self.namespace, query)
    }

    /// What was shown of windows has to be in their rows.
    fn has(&self, shown: &[(u64, u64, f64)]) {
        let rows = self.ask(
            "select epoch_ms(window_start) + window_ms as ended_ms, devices, prediction_errors_ratio as errors, \
             prediction_errors_samples as samples from windows where version = '1.1.0' and arm = 'canary' and stratum = ''",
        );
        let find = |ended_ms: u64| rows.iter().find(|row| row["ended_ms"].as_u64() == Some(ended_ms));
        let mut same = 0;
        for (end, devices, errors) in shown {
            let Some(row) = find(end * 1_000) else { continue };
            // A window that more devices reported after it was shown has another value.
            if row["devices"].as_u64() == Some(*devices) {
                assert_eq!(row["errors"].as_f64(), Some(*errors), "the window that ended at {end}: {row}");
                same += 1;
            }
        }
        assert!(same >= 3, "{same} of {} windows shown are in {} rows", shown.len(), rows.len());
    }

    /// The report's numbers are those of DuckDB.
    fn is_reported(&self) {
        let until_ms =
            self.ask("select max(epoch_ms(window_start)) as until from windows")[0]["until"].as_i64();
        let until_ms = until_ms.unwrap();
        let until = jiff::Timestamp::from_millisecond(until_ms).unwrap().to_string();
        let mut command = Command::new(program("kubectl-modelfleet"));
        command.args([
            "report",
            "m",
            "-n",
            &self.namespace,
            "-o",
            "json",
            "--by",
            "version",
            "--since",
            "1h",
        ]);
        command.args(["--until", &until, "--history"]).arg(&self.folder);
        let report: Value = serde_json::from_str(&part::run("report", &mut command).unwrap()).unwrap();
        let rows = self.ask(&format!(
            "select version, sum(requests) as requests, sum(errors) as errors, sum(true_positive) as tp, count(*) as windows, \
             sum(device_windows) as device_windows, max(devices) as devices, sum(list_sum(latency_count)) as latencies from windows \
             where stratum = '' and epoch_ms(window_start) < {until_ms} group by version order by version"
        ));
        assert_eq!(rows.len(), 2, "{rows:?}");
        for (group, row) in report["groups"].as_array().unwrap().iter().zip(&rows) {
            assert_eq!(group["name"], row["version"]);
            let number =
                |value: &Value| value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap());
            for (told, asked) in [
                ("/windows", "windows"),
                ("/devices", "devices"),
                ("/deviceWindows", "device_windows"),
                ("/counters/requests", "requests"),
                ("/counters/errors", "errors"),
                ("/counters/true_positive", "tp"),
                ("/metrics/LatencyP95/samples", "latencies"),
            ] {
                assert_eq!(number(group.pointer(told).unwrap()), number(&row[asked]), "{told} of {row}");
            }
            // All devices predict alike, so that the value by windows is that of the sums.
            let errors = group.pointer("/metrics/ErrorRate/value").unwrap().as_f64().unwrap();
            assert!((errors - number(&row["errors"]) / number(&row["requests"])).abs() < 1e-6, "{group}");
        }
        let mut command = Command::new(program("kubectl-modelfleet"));
        command.args(["report", "m", "-n", &self.namespace, "-o", "html", "--by", "stratum", "--history"]);
        let page = part::run("report", command.arg(&self.folder)).unwrap();
        assert!(page.contains("age=old") && page.contains("</html>"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rollout_measured_is_in_history_and_in_prometheus() {
    let python = part::run("tests/duckdb.sh", &mut Command::new(root().join("tests/duckdb.sh"))).unwrap();
    let receiver = free_port().unwrap();
    let mut plant = Plant::start_with("history", |dir, _| {
        let history = format!("--history=file://{}", dir.join("history").display());
        let flags = ["--history-interval-seconds=1", "--window-lateness-seconds=3"].map(str::to_owned);
        let receiver = format!("--remote-write=http://127.0.0.1:{receiver}/api/v1/write");
        [history, receiver].into_iter().chain(flags).collect()
    })
    .await;
    // While it is not there windows wait.
    let (history, namespace) = (plant.dir.path().join("history"), plant.namespace.clone());
    let history = History { python: python.trim().into(), folder: history, namespace };
    let _fleet = fleet(&plant, 60).await;
    for version in ["1.0.0", "1.1.0"] {
        plant.register(version).await;
    }
    plant.roll_out("1.0.0").await;
    plant.wait("1.0.0", "Succeeded", LONG).await;
    let _prometheus = prometheus(plant.dir.path(), receiver);
    plant.roll_out("1.1.0").await;
    let (begun, mut seen) = (Instant::now(), Vec::new());
    while plant.phase("1.1.0").await.0 != "Succeeded" {
        assert!(begun.elapsed() < LONG, "{}", plant.log());
        seen.extend(shown(&plant.metrics(), "1.1.0"));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // The next leader goes on where the one before was killed.
    plant.restart_controller();
    let count =
        "select max(epoch_ms(window_start)) as last from windows where arm = 'canary' and stratum = ''";
    let before = history.ask(count).remove(0);
    let grown = async || (history.ask(count)[0]["last"].as_u64() > before["last"].as_u64()).then_some(());
    plant.eventually("windows of the next leader", LONG, grown).await;
    let merged = async || {
        files(&history.folder)
            .iter()
            .any(|path| path.file_name().unwrap().to_str().unwrap().starts_with("all-"))
            .then_some(())
    };
    plant.eventually("parts to be merged", LONG, merged).await;
    history.has(&seen);
    history.is_reported();
    let sent =
        "modelfleet_closed_window_prediction_errors_ratio{arm=\"canary\",stratum=\"\",version=\"1.1.0\"}";
    let arrived = async || Some(samples(receiver, sent)).filter(|samples| samples.len() > 5);
    let arrived = plant.eventually("windows in Prometheus", LONG, arrived).await;
    let rows = history.ask(
        "select epoch_ms(window_start) + window_ms as ended_ms, prediction_errors_ratio as errors from windows \
         where version = '1.1.0' and arm = 'canary' and stratum = ''",
    );
    let of_row = |at: u64| rows.iter().find(|row| row["ended_ms"].as_u64() == Some(at));
    let equal = arrived
        .iter()
        .filter(|(at, value)| of_row(**at).is_some_and(|row| row["errors"].as_f64() == Some(**value)));
    let (equal, of) = (equal.count(), arrived.len());
    // A window that a device reported more than three seconds late has changed since it was sent.
    assert!(equal * 10 >= of * 8, "{equal} of {of} samples are those of history");
    assert!(arrived.keys().all(|at| at.is_multiple_of(1_000)), "the ends of windows");
    assert!(plant.log().contains("remote write goes on in version 1"), "{}", plant.log());
    plant.delete_all().await;
}

/// History and remote write lead nowhere: the rollout does not notice, and the numbers say so.
#[tokio::test(flavor = "multi_thread")]
async fn dead_sinks_delay_no_rollout() {
    let [history, receiver] = modelfleet_test_support::place::free_ports().unwrap();
    let plant = Plant::start_with("dead-sinks", |_, _| {
        let history = format!("--history=http://127.0.0.1:{history}/history");
        let receiver = format!("--remote-write=http://127.0.0.1:{receiver}/api/v1/write");
        let flags = ["--history-interval-seconds=1", "--window-lateness-seconds=1"].map(str::to_owned);
        [history, receiver, "--store-option=allow_http=true".to_owned()].into_iter().chain(flags).collect()
    })
    .await;
    let _fleet = fleet(&plant, 20).await;
    plant.register("1.0.0").await;
    plant.roll_out("1.0.0").await;
    plant.wait("1.0.0", "Succeeded", LONG).await;
    let told = async || {
        let metrics = plant.metrics();
        let value = |name: &str| -> f64 {
            let line = metrics.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        let sinks = ["history", "remote_write"];
        let fails = |sink: &&str| {
            value(&format!("modelfleet_{sink}_failures_total")) > 0.0
                && value(&format!("modelfleet_{sink}_waiting_rows")) > 0.0
        };
        sinks.iter().all(fails).then_some(())
    };
    plant.eventually("failures to be counted, and rows to wait", LONG, told).await;
    plant.delete_all().await;
}
