"""The memory that a training step takes on ONNX Runtime's CPU provider, beside the least that it could.

`python benches/memory.py [CLASSIFIER…]` (Linux, with numpy, onnx, onnxruntime; the names are directories of
tests/data/classifiers) grafts a step with `ibgraph graft --emit train-step` and prints, in MiB:

- saved: what the backward reads of what the forward computes (reshaped values once), plus the parameters: with both in
  memory at the end of the forward, no step can do with less unless it computes something twice
- live: the peak during a run, plus the parameters; measured in a process of its own as the growth of its resident
  memory (VmHWM) from a loaded session with its inputs to the peak of a run, without what the outputs take, and with every
  value given back to the system as soon as nothing reads it any more (no arena, no pattern, no reuse)
- lean: the same where later values of the same size get the place of earlier ones, as ONNX Runtime plans it, which holds
  that place in between (no arena, no pattern)
- default: the same with the options that a session has by default
- apart, in neither: the batch, the optimizer's state, and the outputs

--order priority has ONNX Runtime run the nodes in another order than its default.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort

from train_step import MANIFEST, ROOT, THREADS, feeds

MIB = 1 << 20
# Arena and pattern, reuse of places.
MODES = {"live": (False, False), "lean": (False, True), "default": (True, True)}
# Blocks of this size and more go back to the system when they are freed; smaller ones do not matter here.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
ALIASES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"}


def saved(model, step):
    """Names of what the classifier's own nodes make and added ones read; one name for all shapes of a value."""
    own = {name for node in model.graph.node for name in node.output}
    source = {}
    for node in model.graph.node:
        if node.op_type in ALIASES:
            source[node.output[0]] = source.get(node.input[0], node.input[0])
    added = [node for node in step.graph.node if not own.intersection(node.output)]
    read = {source.get(name, name) for node in added for name in node.input if name in own}
    return sorted(read & own)


def bytes_of(model, names, batch):
    """The size of each value at this batch, from runs with small batches: sizes are linear in the batch."""
    kept = {port.name for port in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in kept)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    port = session.get_inputs()[0]
    shape = port.shape[1:]
    small = [session.run(names, {port.name: np.zeros([rows, *shape], np.float32)}) for rows in (2, 4)]
    return [two.nbytes + (four.nbytes - two.nbytes) // 2 * (batch - 2) for two, four in zip(*small)]


def status(field):
    """A field of /proc/self/status in bytes."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/self/status has no {field}")


def peak(path, batch, mode, order):
    """What this process grows by in a run, and what the outputs take of it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = options.enable_mem_pattern = MODES[mode][0]
    options.enable_mem_reuse = MODES[mode][1]
    if order == "priority":
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    session = ort.InferenceSession(path, options, ["CPUExecutionProvider"])
    inputs = feeds(session, batch)
    session.run(None, feeds(session, 2))
    before = status("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    for _ in range(2):
        outputs = session.run(None, inputs)
        size = sum(value.nbytes for value in outputs)
        del outputs
    return {"growth": status("VmHWM") - before, "outputs": size, "inputs": sum(v.nbytes for v in inputs.values())}


def measured(path, batch, mode, order):
    command = [sys.executable, __file__, "--measure", path, "--mode", mode, "--batch", str(batch)]
    command += ["--order", order]
    run = subprocess.run(command, env=os.environ | MALLOC, check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def report(binary, name, optimizer, batch, order, directory):
    source = ROOT / "tests/data/classifiers" / name / "model.onnx"
    path = directory / f"{name}.onnx"
    command = [binary, "graft", source, "-o", path, "--emit", "train-step", "--optimizer", optimizer]
    subprocess.run(command, check=True, capture_output=True)
    model, step = onnx.load(source), onnx.load(path)
    manifest = json.loads(next(p.value for p in step.metadata_props if p.key == MANIFEST))
    parameters = 4 * sum(int(np.prod(v["shape"])) for v in manifest["carried"] if v["role"] == "parameter")
    ideal = parameters + sum(bytes_of(model, saved(model, step), batch))
    line = f"{name}, {optimizer}, {batch} images: saved {ideal / MIB:.1f}"
    for mode in MODES:
        run = measured(path, batch, mode, order)
        total = run["growth"] - run["outputs"] + parameters
        line += f", {mode} {total / MIB:.1f} ({total / ideal:.2f})"
    print(f"{line}; apart: inputs {run['inputs'] / MIB:.1f}, outputs {run['outputs'] / MIB:.1f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("classifiers", nargs="*", default=["resnet", "mobilenet", "vit"])
    parser.add_argument("--ibgraph", default=ROOT / "target/debug/ibgraph")
    parser.add_argument("--optimizer", action="append", choices=["sgd", "momentum", "adam", "adamw"])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--order", choices=["default", "priority"], default="default")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(peak(args.measure, args.batch, args.mode, args.order)))
        return
    print(f"ONNX Runtime {ort.__version__}, {THREADS} threads, MiB (and how many times what is saved)")
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.classifiers:
            for optimizer in args.optimizer or ["sgd", "adamw"]:
                report(args.ibgraph, name, optimizer, args.batch, args.order, pathlib.Path(scratch))


if __name__ == "__main__":
    main()
