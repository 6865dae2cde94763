"""The example keeps its word: features, geometry, costs, the lean forest, and the committed models."""

import csv
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.fftpack import fft
from sklearn.ensemble import IsolationForest

import lean_forest
import operating_class
import threshold
from bearing_signal import Bearing, draw_pump, window
from features import NAMES, extract
from measure import REFUSALS, alarm_share, latencies_us, model_path, open_session, read_traffic

HERE = Path(__file__).parent
LOG_COLUMNS = (0, 1, 2, 4, 5, 6)
RUNNABLE = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0")


@pytest.fixture(scope="module")
def traffic():
    return read_traffic()


@pytest.fixture(scope="module")
def sessions():
    return {version: open_session(model_path(version).read_bytes()) for version in RUNNABLE}


def reference_features(raw_signal, sample_rate=4000):
    """The worked example's own code (7.7.1), as printed."""
    features = {}
    features["rms"] = np.sqrt(np.mean(raw_signal**2))
    features["peak"] = np.max(np.abs(raw_signal))
    features["crest_factor"] = features["peak"] / features["rms"]
    features["kurtosis"] = stats.kurtosis(raw_signal)
    fft_vals = np.abs(fft(raw_signal))[: len(raw_signal) // 2]
    freqs = np.fft.fftfreq(len(raw_signal), 1 / sample_rate)[: len(raw_signal) // 2]
    features["energy_0_500hz"] = np.sum(fft_vals[(freqs < 500)] ** 2)
    features["energy_500_1000hz"] = np.sum(fft_vals[(freqs >= 500) & (freqs < 1000)] ** 2)
    rpm = 1800
    bpfo = 0.4 * (rpm / 60) * 9
    features["bpfo_energy"] = np.sum(fft_vals[(freqs >= bpfo - 5) & (freqs <= bpfo + 5)] ** 2)
    return features


def a_window(severity, seed=5):
    rng = np.random.default_rng(seed)
    return window(draw_pump(8.0, 0.7, True, rng), severity, rng)


@pytest.mark.parametrize("severity", [0.0, 0.6])
def test_features_are_those_of_the_reference(severity):
    signal = a_window(severity)
    expected = reference_features(signal)
    assert tuple(expected) == NAMES
    np.testing.assert_allclose(extract(signal), list(expected.values()), rtol=1e-9)


def test_ball_pass_frequency_follows_from_geometry():
    shaft_hz = 1800 / 60
    assert Bearing().bpfo_hz(shaft_hz) == pytest.approx(0.4 * shaft_hz * 9, rel=0.005)
    flat = Bearing(contact_angle_rad=np.pi / 2)
    assert flat.bpfo_hz(shaft_hz) == pytest.approx(9 / 2 * shaft_hz)


def test_a_failing_bearing_is_impulsive_and_strong_at_its_ball_pass_frequency():
    healthy, failing = extract(a_window(0.0)), extract(a_window(0.8))
    kurtosis, bpfo = NAMES.index("kurtosis"), NAMES.index("bpfo_energy")
    assert failing[kurtosis] > healthy[kurtosis] + 1
    assert failing[bpfo] > 5 * healthy[bpfo]


def test_same_seed_same_signal():
    np.testing.assert_array_equal(a_window(0.5), a_window(0.5))
    assert not np.array_equal(a_window(0.5), a_window(0.5, seed=6))


@pytest.mark.parametrize(
    ("missed", "false_alarms", "cost"), [(0, 80, 76_000), (0.6, 35, 60_700), (1, 18, 57_000), (2, 8, 64_000)]
)
def test_costs_are_those_of_the_reference(missed, false_alarms, cost):
    assert threshold.annual_cost(missed, false_alarms) == pytest.approx(cost)


def test_cheapest_cut_parts_what_can_be_parted():
    cut = threshold.cheapest_cut([0.1, 0.2, 0.3], [0.7, 0.8])
    assert 0.3 < cut.threshold < 0.7
    assert (cut.recall, cut.false_alarm_rate) == (1.0, 0.0)
    assert cut.cost == threshold.FAILURES_PER_YEAR * threshold.PLANNED_MAINTENANCE


def test_lean_forest_equals_scikit_learn_on_ten_thousand_rows(traffic):
    rng = np.random.default_rng(9)
    seen = np.vstack(list(traffic.values()))
    rows = (seen[rng.integers(0, len(seen), 10_000)] * rng.lognormal(0, 0.3, (10_000, 7))).astype(np.float32)
    forest = IsolationForest(n_estimators=50, max_samples=128, random_state=0)
    forest.fit(lean_forest.with_logs(seen, LOG_COLUMNS))
    forest.offset_ = -0.6
    logs = lean_forest.with_logs(rows, LOG_COLUMNS)
    model = lean_forest.build(forest, LOG_COLUMNS, 0.6, "check")
    label, scores = open_session(model.SerializeToString()).run(["label", "scores"], {"features": rows})
    expected = forest.decision_function(logs)
    np.testing.assert_allclose(scores[:, 0], expected, atol=1e-5)
    clear = np.abs(expected) > 1e-5
    np.testing.assert_array_equal(label[clear, 0], forest.predict(logs)[clear])
    assert 0.01 < np.mean(label == -1) < 0.99


def test_every_runnable_model_has_the_promised_shape(sessions):
    for session in sessions.values():
        (features,) = session.get_inputs()
        assert (features.name, features.type, features.shape[1]) == ("features", "tensor(float)", 7)
        outputs = [(output.name, output.type, output.shape[1]) for output in session.get_outputs()]
        assert outputs == [("label", "tensor(int64)", 1), ("scores", "tensor(float)", 1)]


def test_files_are_small():
    for path in (HERE / "models").glob("*.onnx"):
        assert path.stat().st_size < 1_000_000
    assert (HERE / "training-rows.csv").stat().st_size < 150_000
    assert (HERE / "traffic.csv").stat().st_size < 400_000


def false_alarms(session, traffic, kinds):
    return alarm_share(session, np.vstack([traffic[kind, "normal"] for kind in kinds]))


def recall(session, traffic):
    return alarm_share(session, np.vstack([traffic[kind, "anomaly"] for kind in operating_class.ALL]))


def test_production_and_its_successor_are_good(sessions, traffic):
    for kind in operating_class.ALL:
        assert false_alarms(sessions["1.0.0"], traffic, [kind]) <= 0.035
        assert false_alarms(sessions["1.1.0"], traffic, [kind]) <= 0.02
    old, new = (false_alarms(sessions[version], traffic, operating_class.ALL) for version in ("1.0.0", "1.1.0"))
    assert new < old
    assert 0.9 <= recall(sessions["1.0.0"], traffic) <= recall(sessions["1.1.0"], traffic)


def test_1_2_0_fails_old_heavily_loaded_pumps_only(sessions, traffic):
    for kind in operating_class.ALL:
        rate = false_alarms(sessions["1.2.0"], traffic, [kind])
        assert rate >= 0.3 if kind in operating_class.OLD_HEAVY else rate <= 0.035


def test_1_3_0_gives_the_answers_of_1_1_0_a_thousand_times_slower(sessions, traffic):
    rows = traffic[operating_class.ALL[0], "anomaly"]
    for name in ("label", "scores"):
        slow, quick = (sessions[v].run([name], {"features": rows})[0] for v in ("1.3.0", "1.1.0"))
        np.testing.assert_array_equal(slow, quick)
    slow, quick = (min(latencies_us(sessions[v], rows, seconds=1.0)) for v in ("1.3.0", "1.1.0"))
    assert slow > 500 * quick


def test_1_4_0_is_a_fine_model(sessions, traffic):
    assert false_alarms(sessions["1.4.0"], traffic, operating_class.ALL) <= 0.02
    assert recall(sessions["1.4.0"], traffic) >= 0.9


def test_1_5_0_does_not_load():
    with pytest.raises(REFUSALS, match="com.example.bearing"):
        open_session(model_path("1.5.0").read_bytes())


def test_training_rows_are_finite_and_only_features():
    with open(HERE / "training-rows.csv", newline="", encoding="ascii") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == NAMES
    assert 500 <= len(rows) <= 1000
    assert np.all(np.isfinite(np.array(rows, float)))


def test_the_fleet_has_every_kind_of_pump():
    with open(HERE / "devices.csv", newline="", encoding="ascii") as file:
        devices = list(csv.DictReader(file))
    assert [device["id"] for device in devices] == [f"pump-{number:03d}" for number in range(1, 201)]
    kinds = [(device["age"], device["load"], device["environment"]) for device in devices]
    assert set(kinds) == set(operating_class.ALL)
    assert sum(kind[:2] == ("old", "heavy") for kind in kinds) == 50


class PretendAgent(BaseHTTPRequestHandler):
    """Answers like an agent that is not ready for the first two requests, and that may know no prediction any more."""

    forgets = False

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body))
        early = len(self.server.seen) <= 2
        answer = {"id": body["id"], "outputs": [{"name": "label", "datatype": "INT64", "data": [-1]}]}
        content = json.dumps(answer).encode()
        forgotten = self.forgets and self.path.endswith("feedback")
        self.send_response(503 if early else 404 if forgotten else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def run_feeder(port, *more):
    command = [sys.executable, str(HERE / "feeder.py"), "--url", f"http://127.0.0.1:{port}"]
    command += ["--age", "old", "--load", "heavy", "--environment", "outdoor", "--rate", "50", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_feeder_waits_for_the_agent_then_sends_readings_and_truth():
    with HTTPServer(("127.0.0.1", 0), PretendAgent) as server:
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = run_feeder(server.server_port, "--seconds", "2", "--failing-share", "0.3")
        server.shutdown()
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    path, reading = server.seen[2]
    assert path == "/v2/models/pump-anomaly/infer"
    (tensor,) = reading["inputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("features", "FP32", [1, 7])
    path, truth = server.seen[3]
    assert path == "/v2/models/pump-anomaly/feedback"
    assert truth["id"] == reading["id"]
    truths = [body["truth"] for path, body in server.seen if path.endswith("feedback")]
    assert set(truths) == {True, False}
    assert 60 <= len(truths) <= 102


def test_feeder_goes_on_when_a_prediction_is_remembered_by_nobody():
    """As in the moment of a swap: the truth is lost, and the readings after it are not."""
    forgetful = type("Forgetful", (PretendAgent,), {"forgets": True})
    with HTTPServer(("127.0.0.1", 0), forgetful) as server:
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = run_feeder(server.server_port, "--seconds", "2")
        server.shutdown()
    assert done.returncode == 0
    assert sum(path.endswith("infer") for path, _ in server.seen) >= 60


def test_feeder_gives_up_on_an_agent_that_never_comes():
    with HTTPServer(("127.0.0.1", 0), PretendAgent) as closed:
        port = closed.server_port
    done = run_feeder(port, "--seconds", "5", "--wait", "0.5")
    assert done.returncode == 1
    assert "gave up on the agent" in done.stdout
