"""The two small networks as ONNX graphs of standard operators only, so that any engine runs them.

Both take `motion` [N,600] (six channels of 100 points, one after the other) and give `probabilities`
[N,4] and `label` [N], an index into recorded_motion.ACTIVITIES.
"""

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from recorded_motion import ACTIVITIES, CHANNELS, POINTS

OPSET, IR_VERSION = 17, 8
SUMMARIES = 3  # per channel: mean, spread, and roughness


def summaries(motion):
    """What the second network looks at: mean, standard deviation, mean step per channel, [N,18]."""
    channels = motion.reshape(-1, CHANNELS, POINTS)
    steps = np.abs(channels[:, :, 1:] - channels[:, :, :-1])
    return np.concatenate([channels.mean(2), channels.std(2), steps.mean(2)], axis=1)


def _summary_nodes():
    """The same in ONNX, from `motion` to `summary`."""
    node = helper.make_node
    return [
        node("Reshape", ["motion", "by_channel"], ["channels"]),
        node("ReduceMean", ["channels"], ["means_kept"], axes=[2], keepdims=1),
        node("Sub", ["channels", "means_kept"], ["centred"]),
        node("Mul", ["centred", "centred"], ["squared"]),
        node("ReduceMean", ["squared"], ["variances"], axes=[2], keepdims=0),
        node("Sqrt", ["variances"], ["spreads"]),
        node("Slice", ["channels", "second", "end", "last_axis"], ["later"]),
        node("Slice", ["channels", "first", "one_before_end", "last_axis"], ["earlier"]),
        node("Sub", ["later", "earlier"], ["steps"]),
        node("Abs", ["steps"], ["step_sizes"]),
        node("ReduceMean", ["step_sizes"], ["roughness"], axes=[2], keepdims=0),
        node("ReduceMean", ["channels"], ["means"], axes=[2], keepdims=0),
        node("Concat", ["means", "spreads", "roughness"], ["summary"], axis=1),
    ]


SUMMARY_CONSTANTS = {
    "by_channel": np.array([-1, CHANNELS, POINTS], np.int64),
    "first": np.array([0], np.int64),
    "second": np.array([1], np.int64),
    "one_before_end": np.array([POINTS - 1], np.int64),
    "end": np.array([POINTS], np.int64),
    "last_axis": np.array([2], np.int64),
}


def build(scaler, network, name, summarised):
    """The graph of a fitted StandardScaler and MLPClassifier (one hidden layer, relu)."""
    (first, second), (first_bias, second_bias) = network.coefs_, network.intercepts_
    scaled = first / scaler.scale_[:, None]  # the scaler is folded into the first layer
    constants = {
        "first_weights": scaled,
        "first_bias": first_bias - scaler.mean_ @ scaled,
        "second_weights": second,
        "second_bias": second_bias,
    }
    constants = {key: np.asarray(value, np.float32) for key, value in constants.items()}
    nodes = []
    if summarised:
        nodes += _summary_nodes()
        constants |= SUMMARY_CONSTANTS
    nodes += [
        helper.make_node(
            "Gemm", ["summary" if summarised else "motion", "first_weights", "first_bias"], ["hidden"]
        ),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "second_weights", "second_bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("motion", TensorProto.FLOAT, ["N", CHANNELS * POINTS])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(ACTIVITIES)]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        ],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name = "modelfleet-wearable-example"
    checker.check_model(model, full_check=True)
    return model
