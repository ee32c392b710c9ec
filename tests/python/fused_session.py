"""Runs a model with the operator library registered, in a process of its own and so with any ONNX Runtime.

    fused_session.py LIBRARY MODEL INPUTS.npz OUTPUTS.npz

Prints ONNX Runtime's version. Then a label out of range must fail, and its message is printed.
"""

import sys

import numpy as np
import onnxruntime as ort

library, model, inputs, outputs = sys.argv[1:]
options = ort.SessionOptions()
options.register_custom_ops_library(library)
options.log_severity_level = 4
options.intra_op_num_threads = 2
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
feeds = dict(np.load(inputs))
names = [output.name for output in session.get_outputs()]
np.savez(outputs, **dict(zip(names, session.run(None, feeds))))
print(ort.__version__)
feeds["labels"] = np.full_like(feeds["labels"], -1)
try:
    session.run(None, feeds)
except Exception as error:
    print(error)
