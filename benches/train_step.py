"""Where the time of a training step goes, on ONNX Runtime's CPU provider.

`python benches/train_step.py [CLASSIFIER…]` (with numpy, onnx, onnxruntime; the names are directories of
tests/data/classifiers) grafts a step with `ibgraph graft --emit train-step --optimizer momentum` and prints the wall time
of a step and of the forward pass alone, the median of interleaved runs with two threads, and from ONNX Runtime's profile
the time of each operator, the classifier's own nodes and the added ones apart.

--nodes K also prints the K slowest nodes with their shapes; --step DIR times graphs that are already there,
DIR/NAME.onnx, beside those that it grafts (an earlier version's, say); --save DIR keeps the graphs.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort

ROOT = pathlib.Path(__file__).resolve().parent.parent
BATCHES = {"mlp": 64, "cnn": 64, "resnet": 32, "mobilenet": 32, "vit": 16}
THREADS = 2
MANIFEST = "ibgraph.train"


def options(profile=None):
    made = ort.SessionOptions()
    made.intra_op_num_threads = THREADS
    made.log_severity_level = 3
    if profile:
        made.enable_profiling = True
        made.profile_file_prefix = str(profile)
    return made


def session(path, profile=None):
    return ort.InferenceSession(str(path), options(profile), ["CPUExecutionProvider"])


def feeds(step, batch):
    """A batch, and what the first step starts from."""
    manifest = json.loads(step.get_modelmeta().custom_metadata_map[MANIFEST])
    rng = np.random.default_rng(0)
    made = {}
    for port in manifest["inputs"]:
        shape = [extent if isinstance(extent, int) else batch for extent in port["shape"]]
        match port["role"]:
            case "data":
                made[port["name"]] = rng.standard_normal(shape, np.float32)
            case "labels":
                made[port["name"]] = rng.integers(0, 10, shape)
            case "learning-rate":
                made[port["name"]] = np.array(1e-3, np.float32)
            case "step":
                made[port["name"]] = np.array(1)
            case other:
                raise ValueError(f"an input of the role {other}")
    for value in manifest["carried"]:
        if value["initial"] == "zeros":
            made[value["name"]] = np.zeros(value["shape"], np.float32)
    return made


class Timed:
    """Something to run, with the time of each run."""

    def __init__(self, run):
        self.run, self.seconds = run, []
        run()

    def once(self):
        start = time.perf_counter()
        self.run()
        self.seconds.append(time.perf_counter() - start)

    def median(self):
        return float(np.median(self.seconds))


def interleaved(runs, limit):
    """Runs in turns, the order reversed every time, for `limit` seconds and at least five times each."""
    order = list(runs.values())
    end = time.perf_counter() + limit
    while time.perf_counter() < end or len(order[0].seconds) < 5:
        for timed in order:
            timed.once()
        order.reverse()
    return {name: timed.median() for name, timed in runs.items()}


def bound(step, inputs):
    """A run with everything bound: inputs once, outputs into the engine's own memory."""
    binding = step.io_binding()
    for name, value in inputs.items():
        binding.bind_cpu_input(name, value)
    for port in step.get_outputs():
        binding.bind_output(port.name)
    return lambda: step.run_with_iobinding(binding)


def profile(path, inputs, directory):
    """Milliseconds of a step by (node, operator, shapes), the least of several runs each."""
    profiled = session(path, directory / "profile")
    run = bound(profiled, inputs)
    for _ in range(30):
        run()
    events = json.loads(pathlib.Path(profiled.end_profiling()).read_text())
    spent = collections.defaultdict(list)
    for event in events:
        if event["name"].endswith("_kernel_time"):
            args = event["args"]
            shapes = [list(s.values())[0] for s in args["input_type_shape"]]
            made = [list(s.values())[0] for s in args["output_type_shape"]]
            node = event["name"].removesuffix("_kernel_time")
            spent[node, args["op_name"], f"{shapes} -> {made}"[:150]].append(event["dur"] / 1e3)
    return {key: min(times) for key, times in spent.items()}


def report(costs, nodes):
    total = sum(costs.values())
    operators = collections.defaultdict(lambda: [0.0, 0])
    for (node, operator, _), cost in costs.items():
        entry = operators["added" if node.startswith("ibgraph") else "own", operator]
        entry[0] += cost
        entry[1] += 1
    print(f"  kernels {total:.2f} ms")
    for (whose, operator), (cost, count) in sorted(operators.items(), key=lambda o: -o[1][0])[:24]:
        print(f"  {cost:8.2f} ms {cost / total:5.0%}  {whose:6} {operator} ({count})")
    for (node, operator, shapes), cost in sorted(costs.items(), key=lambda o: -o[1])[:nodes]:
        print(f"  {cost:8.3f} ms  {operator:20} {node:40} {shapes}")


def graft(binary, name, directory):
    model = ROOT / "tests/data/classifiers" / name / "model.onnx"
    step = directory / f"{name}.onnx"
    subprocess.run(
        [binary, "graft", model, "-o", step, "--emit", "train-step", "--optimizer", "momentum"],
        check=True,
        capture_output=True,
    )
    return model, step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("classifiers", nargs="*", default=["resnet", "mobilenet", "vit"])
    parser.add_argument("--ibgraph", default=ROOT / "target/debug/ibgraph")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--nodes", type=int, default=0)
    parser.add_argument("--step", type=pathlib.Path)
    parser.add_argument("--save", type=pathlib.Path)
    parser.add_argument("--no-profile", action="store_true")
    args = parser.parse_args()
    print(f"ONNX Runtime {ort.__version__}, {THREADS} threads")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for name in args.classifiers:
            model, path = graft(args.ibgraph, name, args.save or scratch)
            step = session(path)
            inputs = feeds(step, BATCHES[name])
            forward = session(model)
            port = forward.get_inputs()[0].name
            runs = {
                "forward": Timed(bound(forward, {port: inputs[port]})),
                "step": Timed(bound(step, inputs)),
            }
            if args.step:
                runs["other"] = Timed(bound(session(args.step / f"{name}.onnx"), inputs))
            times = interleaved(runs, args.seconds)
            line = ", ".join(f"{what} {seconds * 1e3:.2f} ms" for what, seconds in times.items())
            nodes = len(onnx.load(path).graph.node)
            print(f"{name}, batch {BATCHES[name]}, {nodes} nodes: {line}")
            if not args.no_profile:
                report(profile(path, inputs, scratch), args.nodes)


if __name__ == "__main__":
    main()
