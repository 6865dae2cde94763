#!/usr/bin/env python3
"""Makes the model files beside it, each of one kind that readers must agree about. Needs onnx and numpy.

usage: make.py [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto as T
from onnx import helper, numpy_helper, save

folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)


def tensor(name, element, shape):
    return helper.make_tensor_value_info(name, element, shape)


def write(name, nodes, inputs, outputs, opsets=(("", 17),), ir_version=8, weights=(), functions=()):
    graph = helper.make_graph(list(nodes), name, inputs, outputs, initializer=list(weights))
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets]
    model = helper.make_model(
        graph, opset_imports=imports, ir_version=ir_version, producer_name="", functions=list(functions)
    )
    save(model, folder / f"{name}.onnx")


def weight(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


rows = [tensor("features", T.FLOAT, ["N", 3])]
ml = (("", 17), ("ai.onnx.ml", 3))

# A classifier as converters of scikit-learn write it unless they are told otherwise.
classifier = helper.make_node(
    "LinearClassifier", ["features"], ["label", "scores"], domain="ai.onnx.ml",
    coefficients=[0.5, -0.25, 1.0, -0.5, 0.25, -1.0], intercepts=[0.0, 0.1], classlabels_ints=[0, 1],
    post_transform="SOFTMAX",
)
maps = helper.make_node("ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
of_maps = helper.make_value_info(
    "probabilities",
    helper.make_sequence_type_proto(helper.make_map_type_proto(T.INT64, helper.make_tensor_type_proto(T.FLOAT, []))),
)
write("zipmap", [classifier, maps], rows, [tensor("label", T.INT64, ["N"]), of_maps], ml)

# Operator sets that nothing uses, as optimisers and converters leave them behind.
double = helper.make_node("Add", ["features", "features"], ["sum"])
unused = (("", 17), ("ai.onnx.ml", 99), ("com.microsoft.nchwc", 1), ("ai.onnx.preview.training", 1))
write("unused-opsets", [double], rows, [tensor("sum", T.FLOAT, ["N", 3])], unused)

# Weights in another file, in a branch.
outside = helper.make_tensor("w", T.FLOAT, [3], [1.0, 2.0, 3.0])
outside.ClearField("float_data")
outside.data_location = T.EXTERNAL
entry = outside.external_data.add()
entry.key, entry.value = "location", "weights.bin"
branch = helper.make_graph(
    [helper.make_node("Identity", ["w"], ["b"])], "branch", [], [tensor("b", T.FLOAT, [3])], initializer=[outside]
)
choose = helper.make_node("If", ["choose"], ["y"], then_branch=branch, else_branch=branch)
write("external-in-branch", [choose], [tensor("choose", T.BOOL, [])], [tensor("y", T.FLOAT, [3])])

# A file of a version of the format that engines of today do not take.
write("ir14", [double], rows, [tensor("sum", T.FLOAT, ["N", 3])], ir_version=14)

# Half floats out, and a type that no device carries.
for name, element in (("half", T.FLOAT16), ("float8", T.FLOAT8E4M3FN)):
    cast = helper.make_node("Cast", ["features"], ["y"], to=element)
    write(name, [cast], rows, [tensor("y", element, ["N", 3])], (("", 19),), ir_version=9)

# Takes no gaps: a gap comes out as a gap. And one that does: a gap is 20.
mean = helper.make_node("ReduceMean", ["features"], ["mean"], axes=[1], keepdims=0)
write("mean", [mean], rows, [tensor("mean", T.FLOAT, ["N"])])
gap = helper.make_node("IsNaN", ["features"], ["gap"])
filled = helper.make_node("Where", ["gap", "twenty", "features"], ["filled"])
mean = helper.make_node("ReduceMean", ["filled"], ["mean"], axes=[1], keepdims=0)
twenty = weight("twenty", np.float32(20))
write("mean-of-gaps", [gap, filled, mean], rows, [tensor("mean", T.FLOAT, ["N"])], weights=[twenty])

# Double precision.
large = helper.make_node("Mul", ["features", "half"], ["y"])
inputs, outputs = [tensor("features", T.DOUBLE, ["N", 3])], [tensor("y", T.DOUBLE, ["N", 3])]
write("double", [large], inputs, outputs, weights=[weight("half", np.float64(0.5))])

# An input for each column, one of them text, and a text that comes out.
kind = helper.make_node(
    "LabelEncoder", ["kind"], ["code"], domain="ai.onnx.ml", keys_strings=["vane", "centrifugal"],
    values_floats=[1.0, 2.0], default_float=0.0,
)
total = helper.make_node("Sum", ["rms", "peak", "code"], ["total"])
high = helper.make_node("Greater", ["total", "four"], ["high"])
number = helper.make_node("Cast", ["high"], ["number"], to=T.INT64)
word = helper.make_node(
    "LabelEncoder", ["number"], ["label"], domain="ai.onnx.ml", keys_int64s=[0, 1],
    values_strings=["normal", "alarm"], default_string="?",
)
write(
    "columns",
    [kind, total, high, number, word],
    [tensor("rms", T.FLOAT, ["N", 1]), tensor("kind", T.STRING, ["N", 1]), tensor("peak", T.FLOAT, ["N", 1])],
    [tensor("label", T.STRING, ["N", 1]), tensor("total", T.FLOAT, ["N", 1])],
    ml,
    weights=[weight("four", np.float32(4))],
)

# Right on every engine for one row. Weights that are quantised while the model runs, by the range of what comes in:
# engines that take the range of each row instead of the batch's differ in batches.
random = np.random.default_rng(7)
write("net", [
    helper.make_node("MatMul", ["features", "w"], ["hidden"]),
    helper.make_node("Relu", ["hidden"], ["positive"]),
    helper.make_node("ReduceSum", ["positive", "axis"], ["score"], keepdims=1),
], rows, [tensor("score", T.FLOAT, ["N", 1])], weights=[
    weight("w", random.normal(size=(3, 4)).astype(np.float32)), weight("axis", np.array([1], np.int64)),
])
