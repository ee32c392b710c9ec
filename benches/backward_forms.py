"""Forms of pieces of a backward pass in standard operators, on ONNX Runtime's CPU provider.

`python benches/backward_forms.py` (with numpy, onnx, onnxruntime) prints for each piece and shape the wall time of one run
of each form with one and with two threads, in milliseconds, the least of 15 interleaved runs, after checking that the
forms agree. The rules in `src/autodiff` choose by these figures.

- relu: Where(y > 0, g, 0); Cast(y > 0) · g; clip(y · largest number, 0, 1) · g
- batch normalization: per-channel values as [1, C, 1, 1], and stretched to [1, C, H, W]
- average pool: shares repeated over their windows by Expand, and by joining copies
"""

import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

LARGEST = np.finfo(np.float32).max
RUNS = 15


class Graph:
    """Nodes and constants in the making."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, values, dtype):
        name = f"c{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def ints(self, *values):
        return self.constant(values, np.int64)

    def float(self, value):
        return self.constant(value, np.float32)

    def add(self, op, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def session(self, output, shapes, threads):
        ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
        made = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "g", ports, made, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def race(title, shapes, forms):
    rng = np.random.default_rng(0)
    feeds = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    line = ""
    for threads in (1, 2):
        sessions = {}
        for name, form in forms.items():
            b = Graph()
            sessions[name] = b.session(form(b), shapes, threads)
        results = [session.run(None, feeds)[0] for session in sessions.values()]
        for result in results[1:]:
            np.testing.assert_allclose(result, results[0], atol=1e-4 * np.abs(results[0]).max())
        times = {name: [] for name in sessions}
        for _ in range(RUNS):
            for name, session in sessions.items():
                start = time.perf_counter()
                session.run(None, feeds)
                times[name].append(time.perf_counter() - start)
        line += f"  {threads}:" + "".join(f" {name} {min(t) * 1e3:.3f}" for name, t in times.items())
    print(f"{title:36}{line}", flush=True)


RELU = {
    "where": lambda b: b.add("Where", b.add("Greater", "y", b.float(0)), "g", b.float(0)),
    "cast": lambda b: b.add("Mul", "g", b.add("Cast", b.add("Greater", "y", b.float(0)), to=1)),
    "clip": lambda b: b.add("Mul", "g", b.add("Clip", b.add("Mul", "y", b.float(LARGEST)), b.float(0), b.float(1))),
}


def batch_norm(shape, stretched):
    n, c, h, w = shape

    def form(b):
        axes, count = b.ints(0, 2, 3), b.float(n * h * w)

        def column(value):
            return b.add("Expand", value, b.ints(c, h, w)) if stretched else value

        mean = b.add("ReduceMean", "x", axes)
        centred = b.add("Sub", "x", column(mean))
        variance = b.add("ReduceMean", b.add("Mul", centred, centred), axes)
        r = b.add("Reciprocal", b.add("Sqrt", b.add("Add", variance, b.float(1e-5))))
        g_mean = b.add("Div", b.add("ReduceSum", "g", axes), count)
        product_mean = b.add("Div", b.add("ReduceSum", b.add("Mul", "g", centred), axes), count)
        factor = b.add("Mul", product_mean, b.add("Mul", r, r))
        rest = b.add("Sub", b.add("Sub", "g", column(g_mean)), b.add("Mul", centred, column(factor)))
        return b.add("Mul", rest, column(b.add("Mul", "scale", r)))

    return form


def average_pool(c, positions, times):
    share = 1 / times**2
    extent = positions * times

    def expand(b):
        apart = b.add("Expand", b.add("Unsqueeze", "g", b.ints(3, 5)), b.ints(1, 1, 1, times, 1, times))
        return b.add("Mul", b.add("Reshape", apart, b.ints(-1, c, extent, extent)), b.float(share))

    def join(b):
        row = b.add("Reshape", b.add("Mul", "g", b.float(share)), b.ints(-1, 1))
        row = b.add("Reshape", b.add("Concat", *[row] * times, axis=1), b.ints(-1, 1, extent))
        return b.add("Reshape", b.add("Concat", *[row] * times, axis=1), b.ints(-1, c, extent, extent))

    return {"expand": expand, "join": join}


def main():
    print(f"ONNX Runtime {ort.__version__}")
    for shape in [(32, 32, 16, 16), (32, 48, 4, 4), (8, 64, 56, 56)]:
        race(f"relu {shape}", {"g": shape, "y": shape}, RELU)
    for shape in [(32, 32, 16, 16), (32, 64, 8, 8), (32, 48, 4, 4), (32, 192, 2, 2), (8, 512, 7, 7), (8, 64, 56, 56)]:
        shapes = {"g": shape, "x": shape, "scale": (1, shape[1], 1, 1)}
        forms = {"columns": batch_norm(shape, False), "stretched": batch_norm(shape, True)}
        race(f"batch normalization {shape}", shapes, forms)
    for n, c, positions, times in [(32, 32, 4, 2), (32, 192, 1, 2), (8, 256, 14, 2)]:
        shape = (n, c, positions, positions)
        race(f"average pool {shape} by {times}", {"g": shape}, average_pool(c, positions, times))


if __name__ == "__main__":
    main()
