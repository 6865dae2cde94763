"""The same answers, far too slowly: version 1.3.0.

A loop of matrix products runs beside the forest and its mean, times zero, is added to the scores, as
when a half-removed second model is left in a graph. The loop starts from the label, so nothing of it
is known before a request and no optimiser can fold it away; tanh keeps it finite, so zero stays zero.
"""

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

SIDE = 64
ROUNDS = 11000
SEED = 13


def _loop_body():
    """One round: state := tanh(state @ mixing)."""
    shape = [SIDE, SIDE]
    return helper.make_graph(
        [
            helper.make_node("MatMul", ["state_in", "mixing"], ["mixed"]),
            helper.make_node("Tanh", ["mixed"], ["state_out"]),
            helper.make_node("Identity", ["go_on_in"], ["go_on_out"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_in", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("go_on_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, shape),
        ],
    )


def slowed(model):
    """A copy of a lean forest with the idle loop added; outputs are the same numbers."""
    slow = ModelProto()
    slow.CopyFrom(model)
    graph = slow.graph
    subtract = next(node for node in graph.node if node.output[0] == "scores")
    subtract.output[0] = "own_scores"
    compare = next(node for node in graph.node if node.op_type == "Less")
    compare.input[0] = "own_scores"
    mixing = np.random.default_rng(SEED).normal(0.0, 1.5 / np.sqrt(SIDE), (SIDE, SIDE))
    graph.initializer.extend(
        [
            numpy_helper.from_array(mixing.astype(np.float32), "mixing"),
            numpy_helper.from_array(np.array(ROUNDS, np.int64), "rounds"),
            numpy_helper.from_array(np.array(True), "go_on"),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Cast", ["label"], ["label_float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["label_float"], ["label_mean"]),
            helper.make_node("Mul", ["label_mean", "mixing"], ["state_start"]),
            helper.make_node("Loop", ["rounds", "go_on", "state_start"], ["state_end"], body=_loop_body()),
            helper.make_node("ReduceMean", ["state_end"], ["state_mean"]),
            helper.make_node("Mul", ["state_mean", "zero"], ["nothing"]),
            helper.make_node("Add", ["own_scores", "nothing"], ["scores"]),
        ]
    )
    checker.check_model(slow)
    return slow
