"""Forms of the gradient of a convolution's weight in standard operators, on ONNX Runtime's CPU provider.

`python benches/conv_weight.py` (with numpy, onnx, onnxruntime) prints, for typical layers, the wall time of one run of
each form with one and with two threads, the least of nine interleaved runs. `src/autodiff/conv_weight.rs` chooses by these
figures.

- conv: a convolution of x with g as its weight, samples in the place of channels
- products: for each element of the window a product of matrices [O, N·P] · [N·P, C], of slices of x
- sums: for each element of the window Σ g · x, of slices of x, where channels do not mix
- rows: positions first, so that what a row of the window meets is a Gather of rows of N·C numbers; then one batch of
  products (or sums, where channels do not mix) a row of the window
"""

import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

# (name, N, C, O, extent, window, stride, pad, groups)
LAYERS = [
    ("3x3, 64 to 64", 32, 64, 64, 16, 3, 1, 1, 1),
    ("3x3 by 2, 64 to 128", 32, 64, 128, 16, 3, 2, 1, 1),
    ("3x3, 24 to 24", 32, 24, 24, 32, 3, 1, 1, 1),
    ("3x3 by 2, 3 to 24", 32, 3, 24, 32, 3, 2, 1, 1),
    ("7x7 by 2, 3 to 64", 8, 3, 64, 112, 7, 2, 3, 1),
    ("1x1, 64 to 256", 32, 64, 256, 8, 1, 1, 0, 1),
    ("1x1 by 2, 64 to 128", 32, 64, 128, 16, 1, 2, 0, 1),
    ("1x1, 240 to 64, one position", 32, 240, 64, 1, 1, 1, 0, 1),
    ("3x3, 96 apart", 32, 96, 96, 16, 3, 1, 1, 96),
    ("3x3 by 2, 72 apart", 32, 72, 72, 32, 3, 2, 1, 72),
    ("5x5, 240 apart", 32, 240, 240, 8, 5, 1, 2, 240),
    ("3x3, 16 apart", 8, 16, 16, 112, 3, 1, 1, 16),
    ("3x3, 512 to 512", 8, 512, 512, 7, 3, 1, 1, 1),
    ("3x3, 128 to 128", 8, 128, 128, 28, 3, 1, 1, 1),
    ("3x3, 64 to 64, 56 by 56", 8, 64, 64, 56, 3, 1, 1, 1),
]


class Graph:
    """Nodes and integer constants in the making."""

    def __init__(self):
        self.nodes, self.constants = [], {}

    def ints(self, *values):
        name = f"i{len(self.constants)}"
        self.constants[name] = onnx.numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def add(self, op, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def session(self, output, x, g, threads):
        ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", x), ("g", g))]
        made = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "g", ports, made, list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def met(b, x, window, stride, pad, positions):
    if pad:
        x = b.add("Pad", x, b.ints(0, 0, pad, pad, 0, 0, pad, pad))
    end = stride * (positions - 1) + 1
    for i in range(window):
        for j in range(window):
            yield b.add("Slice", x, b.ints(i, j), b.ints(i + end, j + end), b.ints(2, 3), b.ints(stride, stride))


def conv(b, n, c, o, extent, window, stride, pad, groups, positions):
    if groups == 1:
        x = b.add("Transpose", "x", perm=[1, 0, 2, 3])
    else:
        x = b.add("Reshape", "x", b.ints(-1, groups, c // groups, extent, extent))
        x = b.add("Transpose", x, perm=[2, 1, 0, 3, 4])
        x = b.add("Reshape", x, b.ints(c // groups, -1, extent, extent))
    g = b.add("Transpose", "g", perm=[1, 0, 2, 3])
    made = b.add("Conv", x, g, kernel_shape=[positions] * 2, dilations=[stride] * 2, pads=[pad] * 4, group=groups)
    made = b.add("Slice", made, b.ints(0, 0), b.ints(window, window), b.ints(2, 3))
    return b.add("Transpose", made, perm=[1, 0, 2, 3])


def products(b, n, c, o, extent, window, stride, pad, groups, positions):
    g = b.add("Reshape", b.add("Transpose", "g", perm=[1, 0, 2, 3]), b.ints(o, -1))
    x = b.add("Transpose", "x", perm=[1, 0, 2, 3])
    parts = []
    for part in met(b, x, window, stride, pad, positions):
        product = b.add("Gemm", g, b.add("Reshape", part, b.ints(c, -1)), transB=1)
        parts.append(b.add("Unsqueeze", product, b.ints(2)))
    return b.add("Reshape", b.add("Concat", *parts, axis=2), b.ints(o, c, window, window))


def sums(b, n, c, o, extent, window, stride, pad, groups, positions):
    parts = []
    for part in met(b, "x", window, stride, pad, positions):
        total = b.add("ReduceSum", b.add("Mul", part, "g"), b.ints(0, 2, 3), keepdims=0)
        parts.append(b.add("Unsqueeze", total, b.ints(1)))
    return b.add("Reshape", b.add("Concat", *parts, axis=1), b.ints(o, 1, window, window))


def places(row, extent, window, stride, positions):
    """Where the elements of a row of the window meet x, flat, for all positions."""
    p = np.arange(positions) * stride
    return [(p[:, None] + row) * extent + p[None, :] + column for column in range(window)]


def rows(b, n, c, o, extent, window, stride, pad, groups, positions):
    x = b.add("Transpose", "x", perm=[2, 3, 0, 1])
    if pad:
        x = b.add("Pad", x, b.ints(pad, pad, 0, 0, pad, pad, 0, 0))
    x = b.add("Reshape", x, b.ints((extent + 2 * pad) ** 2, -1, c))
    if groups == 1:
        g = b.add("Reshape", b.add("Transpose", "g", perm=[1, 2, 3, 0]), b.ints(o, -1))
    else:
        g = b.add("Reshape", b.add("Transpose", "g", perm=[2, 3, 0, 1]), b.ints(1, -1, c))
    parts = []
    for row in range(window):
        at = b.ints(*np.ravel(places(row, extent + 2 * pad, window, stride, positions)))
        part = b.add("Reshape", b.add("Gather", x, at), b.ints(window, -1, c))
        if groups == 1:
            parts.append(b.add("MatMul", g, part))
        else:
            parts.append(b.add("ReduceSum", b.add("Mul", part, g), b.ints(1), keepdims=0))
    joined = b.add("Transpose", b.add("Concat", *parts, axis=0), perm=[1, 2, 0] if groups == 1 else [1, 0])
    return b.add("Reshape", joined, b.ints(o, c // groups, window, window))


def main():
    rng = np.random.default_rng(0)
    for name, n, c, o, extent, window, stride, pad, groups in LAYERS:
        positions = (extent + 2 * pad - window) // stride + 1
        shapes = [n, c, extent, extent], [n, o, positions, positions]
        feeds = dict(zip("xg", (rng.standard_normal(s, np.float32) for s in shapes)))
        line = ""
        for threads in (1, 2):
            sessions = {}
            for form in (conv, products if groups == 1 else sums, rows):
                b = Graph()
                made = form(b, n, c, o, extent, window, stride, pad, groups, positions)
                sessions[form.__name__] = b.session(made, *shapes, threads)
            results = [session.run(None, feeds)[0] for session in sessions.values()]
            for result in results[1:]:
                np.testing.assert_allclose(result, results[0], atol=1e-4 * np.abs(results[0]).max())
            times = {form: [] for form in sessions}
            for _ in range(9):
                for form, session in sessions.items():
                    start = time.perf_counter()
                    session.run(None, feeds)
                    times[form].append(time.perf_counter() - start)
            line += f"  {threads}:" + "".join(f" {form} {min(t) * 1e3:.2f}" for form, t in times.items())
        print(f"{name:30}{line}", flush=True)


if __name__ == "__main__":
    main()
