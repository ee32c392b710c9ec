"""The CUDA source of a fused node."""

import subprocess

import onnx
from conftest import required


def source(path, dtype="f32", shape="-") -> str:
    """The source for a file of one fused node; `shape` is warp, block or streamed instead of what suits the loss."""
    graph = onnx.load(path).graph
    (node,) = graph.node
    types = {t.name: t.data_type for t in graph.initializer}
    types |= {port.name: port.type.tensor_type.elem_type for port in graph.input}
    doubles = [str(k) for k, name in enumerate(node.input) if types[name] == onnx.TensorProto.DOUBLE]
    program = required("IBGRAPH_TEST_CUDA_SOURCE", "the built example cuda_source")
    command = [program, dtype, shape, ",".join(doubles) or "-"]
    done = subprocess.run(command, input=node.attribute[0].s, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()
