"""What every peer speaks: requests and answers as lines of JSON on standard input and output (docs/bench.md)."""

import json
import signal
import sys
import time

import numpy as np


def serve(hello, load):
    """Answers requests until the pipe closes. `load(request)` makes what the other operations are asked of."""
    # A Ctrl-C is the benchmark's to handle; without it, its end of the pipe closes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not get among the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    loaded = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": True, **handle(request, hello, load, loaded)}
        except ModuleNotFoundError as error:
            how = f"`{sys.executable} -m pip install {error.name}`"
            makers = "`ci/peers` and `ci/ort-training --python` make Pythons that have what they need"
            answer = {"ok": False, "error": f"the peer's Python lacks the package {error.name}; {how} installs it, and {makers}"}
        except Exception as error:  # an answer is owed, whatever happened
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}".strip()[:2000]}
        print(json.dumps(answer), file=answers, flush=True)


def handle(request, hello, load, loaded):
    operation, arm = request["op"], request.get("arm")
    if operation == "hello":
        return hello
    if operation == "load":
        loaded[arm] = load(request)
        return {"note": getattr(loaded[arm], "note", None)}
    if operation == "compute":
        return {"outputs": write(request["file"], loaded[arm].compute())}
    if operation == "losses":
        return {"losses": loaded[arm].losses(request["rate"], request["steps"])}
    if operation == "block":
        return {"seconds": [timed(loaded[arm], index) for index in request["sets"]]}
    if operation == "unload":
        loaded.pop(arm, None)
        return {}
    raise ValueError(f"no operation {operation!r}")


def timed(problem, index):
    problem.wait()
    start = time.perf_counter()
    problem.step(index)
    problem.wait()
    return time.perf_counter() - start


def write(path, outputs):
    """Writes outputs in float64, one after the other; returns their names and shapes."""
    with open(path, "wb") as out:
        for value in outputs.values():
            out.write(np.ascontiguousarray(value, np.float64).tobytes())
    return [[name, list(value.shape)] for name, value in outputs.items()]


class Batches:
    """A file of tensors, one after the other, little-endian."""

    def __init__(self, path):
        self.data, self.at = np.fromfile(path, np.uint8), 0

    def take(self, shape, dtype, size=None):
        """The next tensor; one of a type that numpy lacks comes as bytes of `size` an element."""
        count = int(np.prod(shape, dtype=np.int64)) * (size or np.dtype(dtype).itemsize)
        part = self.data[self.at : self.at + count].copy()
        self.at += count
        return part if size else part.view(dtype).reshape(shape)


def step_batches(request):
    """The batch of the reference, and those to be timed on: pairs of x and labels."""
    step, batches = request["step"], Batches(request["file"])
    rows = [step["reference_rows"]] + [request["rows"]] * request["sets"]
    pairs = [(batches.take([n, *step["shape"]], np.float32), batches.take([n], np.int64)) for n in rows]
    return pairs[0], pairs[1:]
