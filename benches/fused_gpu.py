"""The fused operator on a GPU against copying the tensors that it must read and write, on the device.

    fused_gpu.py RESULTS.json

Both are timed by the device's own clock, on one stream, in turns; least and median of the turns. The device is kept busy
until the host has asked for all runs of a turn, so that the time is the device's alone; a turn in which the host was too slow
for that is counted (`late_turns`), and its time is too long. The goal is 85 % of the copy's speed. Needs IBGRAPH_BIN and
IBGRAPH_OPS; ci/gpu sets them.
"""

import ctypes
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime as ort

SIZES = [(8192, 1000, 512), (1024, 100_000, 512)]
GOAL = 0.85
TURNS, RUNS = 15, 20
# What the device does while the host asks for the runs: copies of this many bytes, for some milliseconds.
BUSY_BYTES, BUSY_COPIES = 1 << 28, 40
NOT_READY = 600


class Driver:
    """The few functions of CUDA's driver that time work on a stream and copy."""

    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")
        self.call("cuInit", 0)
        context, stream = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
        self.call("cuCtxPushCurrent_v2", context)
        self.call("cuStreamCreate", ctypes.byref(stream), 1)
        self.stream, self.events = stream, [ctypes.c_void_p(), ctypes.c_void_p()]
        for event in self.events:
            self.call("cuEventCreate", ctypes.byref(event), 0)
        self.busy = [ctypes.c_uint64(), ctypes.c_uint64()]
        for place in self.busy:
            self.call("cuMemAlloc_v2", ctypes.byref(place), ctypes.c_size_t(BUSY_BYTES))
        self.late = 0

    def call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status:
            raise RuntimeError(f"{name} failed with {status}")

    def microseconds(self, work) -> float:
        """Of one call of `work`, which starts something on the stream; of RUNS in a row."""
        start, end = self.events
        self.call("cuStreamSynchronize", self.stream)
        for _ in range(BUSY_COPIES):
            self.call("cuMemcpyDtoDAsync_v2", *self.busy, ctypes.c_size_t(BUSY_BYTES), self.stream)
        self.call("cuEventRecord", start, self.stream)
        for _ in range(RUNS):
            work()
        self.call("cuEventRecord", end, self.stream)
        self.late += self.library.cuEventQuery(start) != NOT_READY
        self.call("cuEventSynchronize", end)
        elapsed = ctypes.c_float()
        self.call("cuEventElapsedTime", ctypes.byref(elapsed), start, end)
        return elapsed.value * 1e3 / RUNS

    def copy(self, to: ort.OrtValue, value: ort.OrtValue, size: int):
        pointers = [ctypes.c_uint64(v.data_ptr()) for v in (to, value)]
        self.call("cuMemcpyDtoDAsync_v2", *pointers, ctypes.c_size_t(size), self.stream)


def emitted(directory, classes) -> str:
    path = str(pathlib.Path(directory) / f"{classes}.onnx")
    command = [os.environ["IBGRAPH_BIN"], "emit", "ib", f"--classes={classes}", "--lowering=fused", "-o", path]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


def bound(driver, path, size):
    """What starts a run on the driver's stream without waiting for it, and the tensors that it reads and writes."""
    n, c, d = size
    options = ort.SessionOptions()
    options.register_custom_ops_library(os.environ["IBGRAPH_OPS"])
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    provider = {"user_compute_stream": str(driver.stream.value)}
    session = ort.InferenceSession(path, options, providers=[("CUDAExecutionProvider", provider)])
    random = np.random.default_rng(0)
    feeds = {"logits": random.normal(0, 3, (n, c)).astype(np.float32), "labels": random.integers(0, c, n)}
    feeds["features"] = random.normal(0, 1, (n, d)).astype(np.float32)
    held = {name: ort.OrtValue.ortvalue_from_numpy(value, "cuda", 0) for name, value in feeds.items()}
    shapes = {"loss": (), "logits_grad": (n, c), "features_grad": (n, d)}
    made = {k: ort.OrtValue.ortvalue_from_shape_and_type(v, np.float32, "cuda", 0) for k, v in shapes.items()}
    binding = session.io_binding()
    for name, value in held.items():
        binding.bind_ortvalue_input(name, value)
    for name, value in made.items():
        binding.bind_ortvalue_output(name, value)
    run_options = ort.RunOptions()
    run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return lambda: session.run_with_iobinding(binding, run_options), held, made


def measured(driver, directory, size) -> dict:
    n, c, d = size
    run, held, made = bound(driver, emitted(directory, c), size)
    pairs = [("logits_grad", "logits", 4 * n * c), ("features_grad", "features", 4 * n * d)]

    def copy():
        for to, value, bytes_ in pairs:
            driver.copy(made[to], held[value], bytes_)

    for work in (run, copy):
        driver.microseconds(work)
    driver.late = 0
    turns = [(driver.microseconds(run), driver.microseconds(copy)) for _ in range(TURNS)]
    kernel, copied = ([turn[k] for turn in turns] for k in (0, 1))
    moved = 2 * sum(pair[2] for pair in pairs)
    speed = statistics.median(copied) / statistics.median(kernel)
    return {
        "size": {"rows": n, "classes": c, "features": d},
        "kernel_us": {"least": min(kernel), "median": statistics.median(kernel)},
        "copy_us": {"least": min(copied), "median": statistics.median(copied)},
        "copy_gb_per_s": moved / statistics.median(copied) / 1e3,
        "late_turns": driver.late,
        "speed_of_copy": speed,
        "goal": GOAL,
        "reached": speed >= GOAL,
    }


def main():
    ort.preload_dlls()
    driver = Driver()
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    device = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    with tempfile.TemporaryDirectory() as directory:
        cells = [measured(driver, directory, size) for size in SIZES]
    results = {"device": device, "onnxruntime": ort.__version__, "cells": cells}
    target = pathlib.Path(sys.argv[1])
    temporary = target.with_suffix(".tmp")
    temporary.write_text(json.dumps(results, indent=1) + "\n")
    temporary.replace(target)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
