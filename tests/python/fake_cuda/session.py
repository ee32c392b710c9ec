"""Sessions with the operator library, in a process of their own: `session.py MODEL FEEDS.npz RESULTS.npz SESSIONS RUNS THREADS`.

SESSIONS follow one another, and THREADS make RUNS each of every one. The outputs of the last run are the results; errors are
printed. No run that ends well differs from another in a bit.
"""

import os
import sys
import threading

import numpy as np
import onnxruntime as ort

model, feeds, results = sys.argv[1:4]
sessions, runs, threads = map(int, sys.argv[4:])
feeds = dict(np.load(feeds))
found = []


def session() -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(os.environ["IBGRAPH_OPS"])
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def work(of):
    for _ in range(runs):
        try:
            found.append(dict(zip([o.name for o in of.get_outputs()], of.run(None, feeds))))
        except Exception as error:
            print(error)


for _ in range(sessions):
    try:
        of = session()
    except Exception as error:
        print(error)
        continue
    workers = [threading.Thread(target=work, args=(of,)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    del of
for outputs in found:
    assert all(outputs[name].tobytes() == found[-1][name].tobytes() for name in outputs)
if found:
    np.savez(results, **found[-1])
