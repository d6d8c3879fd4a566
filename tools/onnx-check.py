"""Checks an exported model with Python's onnx, runs it in Python's onnxruntime, and compares its logits with those beside it.

    pip install onnx onnxruntime numpy
    node tools/onnx-check.mjs MODEL FOLDER [SPARSITY]
    python tools/onnx-check.py FOLDER
"""

import json
import os
import sys

import numpy as np
import onnx
import onnxruntime

folder = sys.argv[1]
path = os.path.join(folder, "model.onnx")
onnx.checker.check_model(path, full_check=True)
model = onnx.load(path, load_external_data=False)
opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
print(f"onnx {onnx.__version__}: sound, {len(model.graph.node)} nodes, {opsets}")

with open(os.path.join(folder, "tokens.json"), encoding="utf-8") as file:
    tokens = json.load(file)
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
caches = [info for info in session.get_inputs() if info.name.startswith("past_key_values")]
expected = np.fromfile(os.path.join(folder, "logits.bin"), "<f4").reshape(len(tokens), -1)


def run(chunk):
    """Logits of all tokens, read so many at a time."""
    past = {info.name: np.zeros((1, info.shape[1], 0, info.shape[3]), np.float32) for info in caches}
    rows = []
    for start in range(0, len(tokens), chunk):
        part = tokens[start : start + chunk]
        end = start + len(part)
        logits, *present = session.run(
            None,
            {
                "input_ids": np.array([part], np.int64),
                "attention_mask": np.ones((1, end), np.int64),
                "position_ids": np.arange(start, end, dtype=np.int64)[None],
                **past,
            },
        )
        past = dict(zip((info.name for info in caches), present))
        rows.append(logits[0])
    return np.concatenate(rows)


for chunk in (len(tokens), 1):
    difference = np.abs(run(chunk) - expected).max()
    print(
        f"onnxruntime {onnxruntime.__version__}, {chunk} tokens at a time: "
        f"logits differ by at most {difference:.1e}, of {np.abs(expected).max():.1f}"
    )
    if not difference < 1e-3:
        sys.exit("The logits differ.")
