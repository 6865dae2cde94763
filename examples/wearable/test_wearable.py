"""The example keeps its word: the tables, the graphs, and what the committed models get right."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

import accuracy
import motion_net
import recorded_motion

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def traffic():
    return accuracy.read_traffic()


@pytest.fixture(scope="module")
def sessions():
    return {version: accuracy.open_session(version) for version in accuracy.VERSIONS}


def test_a_recording_is_read_channel_after_channel():
    channels = [",".join(f"{channel}.{point}" for point in range(100)) for channel in range(6)]
    values, labels = recorded_motion.parse("#note\n@data\n" + ":".join([*channels, "Walking"]) + "\n")
    assert labels == ["Walking"]
    named = dict(zip(recorded_motion.COLUMNS, values[0], strict=True))
    assert (named["c0_t00"], named["c2_t07"], named["c5_t99"]) == ("0.0", "2.7", "5.99")


def test_a_recording_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="found 2"):
        recorded_motion.parse("1,2:Walking\n")


def test_traffic_is_the_test_half(traffic):
    motion, activities = traffic
    assert motion.shape == (40, 600)
    assert motion.dtype == np.float32
    assert Counter(activities) == {0: 10, 1: 10, 2: 10, 3: 10}
    assert (HERE / "traffic.csv").stat().st_size < 400_000


def test_training_rows_are_the_train_half_and_nothing_else(traffic):
    with open(HERE / "training-rows.csv", newline="", encoding="ascii") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == recorded_motion.COLUMNS
    training = np.array(rows, np.float32)
    assert training.shape == (40, 600)
    distances = np.abs(training[:, None, :] - traffic[0][None, :, :]).max(axis=2)
    assert distances.min() > 0.1


def test_only_standard_operators():
    for version in accuracy.VERSIONS:
        model = onnx.load(accuracy.model_path(version))
        assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
        assert {node.domain for node in model.graph.node} == {""}


def test_shapes_are_as_promised(sessions):
    for session in sessions.values():
        (motion,) = session.get_inputs()
        assert (motion.name, motion.type, motion.shape) == ("motion", "tensor(float)", ["N", 600])
        outputs = [(output.name, output.type, output.shape) for output in session.get_outputs()]
        assert outputs == [("probabilities", "tensor(float)", ["N", 4]), ("label", "tensor(int64)", ["N"])]


def test_label_is_the_likeliest_activity(sessions, traffic):
    for session in sessions.values():
        probabilities, label = session.run(["probabilities", "label"], {"motion": traffic[0]})
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(probabilities.argmax(axis=1), label)


def test_the_graph_sees_the_summaries_that_the_network_was_trained_on(traffic):
    model = onnx.load(accuracy.model_path("1.1.0"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("summary", onnx.TensorProto.FLOAT, None))
    session = accuracy.onnxruntime.InferenceSession(model.SerializeToString())
    (summary,) = session.run(["summary"], {"motion": traffic[0]})
    np.testing.assert_allclose(summary, motion_net.summaries(traffic[0]), rtol=1e-4, atol=1e-5)


def test_accuracy_is_as_the_readme_says(sessions, traffic):
    right = {version: accuracy.right_answers(session, *traffic) for version, session in sessions.items()}
    assert right == {"1.0.0": 31, "1.1.0": 38}
