"""Times the usual scikit-learn export of version 1.1.0's forest against the lean one.

Both answer the same rows one at a time on one thread. The stock graph is handed logarithms ready made,
so it is if anything favoured. Needs skl2onnx; nothing else in the example does.
"""

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

import lean_forest
from measure import latencies_us, open_session, read_traffic
from train import LOG_COLUMNS, RECIPES, fit, record_history


def main():
    forest, cut = fit(RECIPES["1.1.0"], record_history())
    forest.offset_ = -cut.threshold
    rows = np.vstack(list(read_traffic().values()))
    logs = lean_forest.with_logs(rows, LOG_COLUMNS)
    inputs = [("features", FloatTensorType([None, len(LOG_COLUMNS) + 1]))]
    stock = to_onnx(forest, initial_types=inputs, target_opset={"": 17, "ai.onnx.ml": 3})
    lean = lean_forest.build(forest, LOG_COLUMNS, cut.threshold, "lean")
    expected = forest.decision_function(logs)[:, None]
    for name, model, given in (("stock", stock, logs), ("lean", lean, rows)):
        content = model.SerializeToString()
        session = open_session(content)
        off_by = float(np.max(np.abs(session.run(["scores"], {"features": given})[0] - expected)))
        taken = latencies_us(session, given)
        middle, high = np.median(taken), np.quantile(taken, 0.95)
        print(
            f"{name}: {len(model.graph.node)} nodes, {len(content) / 1024:.0f} KiB, median {middle:.0f} us, "
            f"p95 {high:.0f} us, at most {off_by:.1e} from scikit-learn"
        )


if __name__ == "__main__":
    main()
