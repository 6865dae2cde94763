#!/usr/bin/env python3
"""Makes the small models that the tests of the engines run. Needs numpy and onnx; the files are kept beside it.

    python3 make.py
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto as T
from onnx import checker, helper, numpy_helper, save

HERE = Path(__file__).parent
EVERY = [
    ("FP16", T.FLOAT16), ("BF16", T.BFLOAT16), ("FP32", T.FLOAT), ("FP64", T.DOUBLE), ("INT8", T.INT8),
    ("INT16", T.INT16), ("INT32", T.INT32), ("INT64", T.INT64), ("UINT8", T.UINT8), ("UINT16", T.UINT16),
    ("UINT32", T.UINT32), ("UINT64", T.UINT64), ("BOOL", T.BOOL), ("BYTES", T.STRING),
]


def weight(name, values, dtype):
    return numpy_helper.from_array(np.array(values, dtype=dtype), name)


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def write(name, nodes, inputs, outputs, weights=(), opset=17, ml=False):
    graph = helper.make_graph(nodes, name, inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid("ai.onnx.ml", 3)] if ml else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="modelfleet tests")
    checker.check_model(model)
    save(model, HERE / f"{name}.onnx")


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs, outputs, **attributes)


def quantised_convolution():
    """As dynamic quantisation leaves a convolution net."""
    random = np.random.default_rng(7)
    kernel = random.integers(-90, 90, (6, 3, 3, 3))
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        node("ConvInteger", ["q", "kernel", "zero", "kernel_zero"], ["sums"], pads=[1, 1, 1, 1]),
        node("Cast", ["sums"], ["floats"], to=T.FLOAT),
        node("Mul", ["scale", "kernel_scale"], ["both"]),
        node("Mul", ["floats", "both"], ["y"]),
    ]
    weights = [weight("kernel", kernel, np.int8), weight("kernel_zero", 3, np.int8), weight("kernel_scale", 0.01, np.float32)]
    write("quantised-convolution", nodes, [value("x", T.FLOAT, ["n", 3, 8, 8])], [value("y", T.FLOAT, ["n", 6, 8, 8])], weights)


def whole_numbers():
    pair = lambda kind: ([value("x", kind, ["n", 2])], [value("y", kind, ["n", 2])])
    write("int64-product", [node("Mul", ["x", "by"], ["y"])], *pair(T.INT64), [weight("by", 100_000, np.int64)])
    write("int64-same", [node("Identity", ["x"], ["y"])], *pair(T.INT64))
    nodes = [node("Cast", ["x"], ["whole"], to=T.INT64), node("Mul", ["whole", "by"], ["y"])]
    floats = [value("x", T.FLOAT, ["n", 2])]
    write("int64-inside", nodes, floats, [value("y", T.INT64, ["n", 2])], [weight("by", 100_000, np.int64)])
    big = weight("big", [3_000_000_000, 5], np.int64)
    nodes = [node("Cast", ["big"], ["floats"], to=T.FLOAT), node("Add", ["x", "floats"], ["y"])]
    write("int64-weight", nodes, floats, [value("y", T.FLOAT, ["n", 2])], [big])
    write("int32-product", [node("Mul", ["x", "by"], ["y"])], *pair(T.INT32), [weight("by", 3, np.int32)])
    nodes = [node("Greater", ["x", "half"], ["y"])]
    write("truths", nodes, floats, [value("y", T.BOOL, ["n", 2])], [weight("half", 0.5, np.float32)])
    nodes = [node("Cast", ["x"], ["truth"], to=T.BOOL), node("Cast", ["truth"], ["y"], to=T.FLOAT)]
    write("truth-of-number", nodes, floats, [value("y", T.FLOAT, ["n", 2])])
    # What exporters write to flatten a batch: sizes in 64 bits, none of them near 32.
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["rows"], axis=0),
        node("Mul", ["rows", "two"], ["count"]),
        node("Unsqueeze", ["count", "axes"], ["target"]),
        node("Reshape", ["x", "target"], ["y"]),
    ]
    weights = [weight("zero", 0, np.int64), weight("two", 2, np.int64), weight("axes", [0], np.int64)]
    write("flattened", nodes, floats, [value("y", T.FLOAT, ["m"])], weights)


def decimals():
    pair = lambda kind: ([value("x", kind, ["n", 2])], [value("y", kind, ["n", 2])])
    write("double-sum", [node("Add", ["x", "by"], ["y"])], *pair(T.DOUBLE), [weight("by", 1e-9, np.float64)])
    nodes = [node("Cast", ["x"], ["d"], to=T.DOUBLE), node("Add", ["d", "by"], ["e"]), node("Cast", ["e"], ["y"], to=T.FLOAT)]
    write("double-inside", nodes, *pair(T.FLOAT), [weight("by", 1e9, np.float64)])
    nodes = [node("Cast", ["x"], ["h"], to=T.FLOAT16), node("Mul", ["h", "h"], ["g"]), node("Cast", ["g"], ["y"], to=T.FLOAT)]
    write("half-inside", nodes, *pair(T.FLOAT))
    write("softplus", [node("Softplus", ["x"], ["y"])], *pair(T.FLOAT))
    nodes = [node("Relu", ["x"], ["r"]), node("Add", ["r", "low"], ["s"]), node("Clip", ["s", "low", "high"], ["y"])]
    write("bounded", nodes, *pair(T.FLOAT), [weight("low", -1.0, np.float32), weight("high", 6.0, np.float32)])
    cube = ([value("x", T.FLOAT, ["n", 2, 3])], [value("y", T.FLOAT, ["n", 2, 3])])
    write("softmax-of-set-11", [node("Softmax", ["x"], ["y"], axis=1)], *cube, opset=11)
    image = ([value("x", T.FLOAT, ["n", 1, 4, 4])], [value("y", T.FLOAT, ["n", 1, 4, 4])])
    write("same-lower", [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_LOWER")], *image)
    random = np.random.default_rng(8)
    weights = [weight(n, random.normal(size=s), np.float32) for n, s in [("w", (1, 8, 3)), ("r", (1, 8, 2)), ("b", (1, 16))]]
    nodes = [node("LSTM", ["x", "w", "r", "b", "lengths"], ["y"], hidden_size=2)]
    write("lengths", nodes, [value("x", T.FLOAT, [4, "n", 3])], [value("y", T.FLOAT, [4, 1, "n", 2])],
          weights + [weight("lengths", [2], np.int32)])
    write("sign", [node("Sign", ["x"], ["y"])], *pair(T.FLOAT))
    nodes = [node("Resize", ["x", "", "scales"], ["y"], mode="cubic")]
    write("cubic", nodes, [value("x", T.FLOAT, ["n", 1, 4, 4])], [value("y", T.FLOAT, ["n", 1, 8, 8])],
          [weight("scales", [1, 1, 2, 2], np.float32)])
    nodes = [node("Resize", ["x", "", "scales"], ["y"], mode="nearest", nearest_mode="ceil",
                  coordinate_transformation_mode="asymmetric")]
    write("next-above", nodes, [value("x", T.FLOAT, ["n", 1, 4, 4])], [value("y", T.FLOAT, ["n", 1, 28, 28])],
          [weight("scales", [1, 1, 7, 7], np.float32)])
    nodes = [node("QuantizeLinear", ["x", "scale", "zero"], ["q"]), node("DequantizeLinear", ["q", "scale", "zero"], ["y"])]
    write("quantised", nodes, *pair(T.FLOAT), [weight("scale", 0.1, np.float32), weight("zero", 128, np.uint8)])


def loaded_and_not_run():
    """What rten reads and then has no code for."""
    pair = lambda kind: ([value("x", kind, ["n", 2])], [value("y", kind, ["n", 2])])
    write("uint8-sum", [node("Add", ["x", "by"], ["y"])], *pair(T.UINT8), [weight("by", 200, np.uint8)])
    random = np.random.default_rng(9)
    weights = [weight(n, random.normal(size=s), np.float32) for n, s in [("w", (1, 6, 3)), ("r", (1, 6, 2)), ("b", (1, 12))]]
    write("reset-after", [node("GRU", ["x", "w", "r", "b"], ["y"], hidden_size=2)],
          [value("x", T.FLOAT, [4, "n", 3])], [value("y", T.FLOAT, [4, 1, "n", 2])], weights)
    nodes = [node("Gather", ["table", "x"], ["y"])]
    write("lookup-narrow", nodes, [value("x", T.INT32, ["n"])], [value("y", T.FLOAT, ["n"])],
          [weight("table", [1], np.float32)])
    nodes = [node("Shape", ["x"], ["y"], start=1)]
    write("sizes", nodes, [value("x", T.FLOAT, ["n", 1, 4, 4])], [value("y", T.INT64, [3])])


def ties():
    for name, operator, keep, opset in [
        ("largest", "ArgMax", 1, 17), ("largest-flat", "ArgMax", 0, 17), ("smallest-flat", "ArgMin", 0, 11),
    ]:
        nodes = [node("Relu", ["x"], ["r"]), node(operator, ["r"], ["y"], axis=1, keepdims=keep)]
        shape = ["n", 1] if keep else ["n"]
        write(name, nodes, [value("x", T.FLOAT, ["n", 4])], [value("y", T.INT64, shape)], opset=opset)


def every_type():
    inputs = [value(f"in-{name}", kind, [2]) for name, kind in EVERY]
    outputs = [value(f"out-{name}", kind, [2]) for name, kind in EVERY]
    nodes = [node("Identity", [f"in-{name}"], [f"out-{name}"]) for name, _ in EVERY]
    write("every-type", nodes, inputs, outputs)


def no_tensors():
    nodes = [node("SequenceConstruct", ["x", "x"], ["y"])]
    sequence = helper.make_tensor_sequence_value_info("y", T.FLOAT, None)
    write("sequence", nodes, [value("x", T.FLOAT, ["n", 2])], [sequence])
    nodes = [node("Identity", ["x"], ["y"])]
    write("complex", nodes, [value("x", T.COMPLEX64, ["n", 2])], [value("y", T.COMPLEX64, ["n", 2])])


def sized_by_values():
    outputs = [value("y", T.FLOAT, ["a", "b"])]
    one = weight("one", 1.0, np.float32)
    write("expand", [node("Expand", ["one", "shape"], ["y"])], [value("shape", T.INT64, [2])], outputs, [one])
    # The same by way of numbers that any engine takes.
    nodes = [node("Cast", ["x"], ["shape"], to=T.INT64), node("Expand", ["one", "shape"], ["y"])]
    write("expand-narrow", nodes, [value("x", T.INT32, [2])], outputs, [one])
    huge = weight("shape", [1 << 30, 1 << 30], np.int64)
    nodes = [node("Expand", ["one", "shape"], ["e"]), node("ReduceMax", ["e"], ["m"], keepdims=0), node("Add", ["x", "m"], ["y"])]
    write("expand-weight", nodes, [value("x", T.FLOAT, [2])], [value("y", T.FLOAT, [2])], [one, huge])
    # Every element with every other one: a row of N numbers becomes N times N.
    nodes = [
        node("Unsqueeze", ["x", "last"], ["column"]),
        node("Sub", ["column", "x"], ["differences"]),
        node("ReduceMax", ["differences"], ["y"], keepdims=0),
    ]
    write("pairs", nodes, [value("x", T.FLOAT, ["n"])], [value("y", T.FLOAT, [])], [weight("last", [1], np.int64)])
    nodes = [node("Gather", ["table", "x"], ["y"])]
    write("lookup", nodes, [value("x", T.INT64, ["n"])], [value("y", T.FLOAT, ["n"])], [weight("table", [1, 2, 3], np.float32)])
    write("reciprocal", [node("Div", ["one", "x"], ["y"])], [value("x", T.FLOAT, ["n"])], [value("y", T.FLOAT, ["n"])], [one])


for make in (quantised_convolution, whole_numbers, decimals, loaded_and_not_run, ties, every_type, no_tensors,
             sized_by_values):
    make()
