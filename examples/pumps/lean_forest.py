"""A scikit-learn isolation forest as one small ONNX graph.

The usual converter writes, for each tree, a regressor and a search for the leaf's depth. Here each leaf
simply holds its own path length, one TreeEnsembleRegressor adds these up over all trees, and three
more nodes turn the sum E into the anomaly score 2^(-E / (trees * c(n))) (Liu, Ting and Zhou, 2008).

Logarithms of features cost nothing either: log(x) <= t is the same test as x <= t' for the largest
32-bit t' whose logarithm is not above t, so the graph compares the raw features with t'.
"""

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
IR_VERSION = 8
EULER_GAMMA = 0.5772156649015329


def mean_path_length(rows):
    """c(n): mean depth of an unsuccessful search in a binary tree of n rows."""
    if rows <= 1:
        return 0.0
    if rows == 2:
        return 1.0
    return 2.0 * (np.log(rows - 1.0) + EULER_GAMMA) - 2.0 * (rows - 1.0) / rows


def with_logs(rows, log_columns):
    """What the forest is trained on: 32-bit features, the listed columns as 32-bit logarithms."""
    result = np.asarray(rows, dtype=np.float32).copy()
    for column in log_columns:
        result[:, column] = np.log(result[:, column].astype(np.float64)).astype(np.float32)
    return result


def raw_bound(threshold, is_log):
    """Largest 32-bit x that the test `x <= threshold` (or `log x <= threshold`) lets through."""

    def passes(value):
        seen = np.float32(np.log(np.float64(value))) if is_log else value
        return float(seen) <= threshold

    bound = np.float32(np.exp(threshold) if is_log else threshold)
    while not passes(bound):
        bound = np.nextafter(bound, np.float32(-np.inf))
    while passes(following := np.nextafter(bound, np.float32(np.inf))):
        bound = following
    return float(bound)


def _leaf_depths(tree):
    """Path length of each node of one tree, with c(rows) added for the rows a leaf did not split."""
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # parents come before children
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depth[child] = depth[node] + 1
    return [depth[node] + mean_path_length(int(rows)) for node, rows in enumerate(tree.n_node_samples)]


def _ensemble(forest, log_columns):
    """The TreeEnsembleRegressor whose single output is the path length summed over the trees."""
    names = ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    nodes = {name: [] for name in names}
    leaves = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, (estimator, columns) in enumerate(
        zip(forest.estimators_, forest.estimators_features_, strict=True)
    ):
        tree = estimator.tree_
        depths = _leaf_depths(tree)
        for node in range(tree.node_count):
            leaf = tree.children_left[node] < 0
            column = 0 if leaf else int(columns[tree.feature[node]])
            bound = 0.0 if leaf else raw_bound(float(tree.threshold[node]), column in log_columns)
            entry = (
                number,
                node,
                column,
                bound,
                "LEAF" if leaf else "BRANCH_LEQ",
                0 if leaf else int(tree.children_left[node]),
                0 if leaf else int(tree.children_right[node]),
            )
            for name, value in zip(names, entry, strict=True):
                nodes[name].append(value)
            if leaf:
                for name, value in zip(leaves, (number, node, 0, float(depths[node])), strict=True):
                    leaves[name].append(value)
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["features"],
        ["path_sum"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        **{f"nodes_{name}": values for name, values in nodes.items()},
        **{f"target_{name}": values for name, values in leaves.items()},
    )


def build(forest, log_columns, threshold, name):
    """The ONNX model: `features` [N,7] in, `label` [N,1] (1 normal, -1 anomaly) and `scores` [N,1] out.

    `scores` is scikit-learn's decision function for offset -threshold: negative means anomaly.
    """
    scale = -1.0 / (len(forest.estimators_) * mean_path_length(forest.max_samples_))
    constants = {
        "per_path": np.array([scale], np.float32),
        "two": np.array([2.0], np.float32),
        "threshold": np.array([threshold], np.float32),
        "zero": np.array([0.0], np.float32),
        "normal": np.array([1], np.int64),
        "anomaly": np.array([-1], np.int64),
    }
    nodes = [
        _ensemble(forest, log_columns),
        helper.make_node("Mul", ["path_sum", "per_path"], ["exponent"]),
        helper.make_node("Pow", ["two", "exponent"], ["strangeness"]),
        helper.make_node("Sub", ["threshold", "strangeness"], ["scores"]),
        helper.make_node("Less", ["scores", "zero"], ["is_anomaly"]),
        helper.make_node("Where", ["is_anomaly", "anomaly", "normal"], ["label"]),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", 7])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N", 1]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 1]),
        ],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=IR_VERSION)
    model.producer_name = "modelfleet-pumps-example"
    checker.check_model(model)
    return model
