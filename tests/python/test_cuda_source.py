"""The CUDA source of every loss: NVRTC compiles it for two architectures, and its arithmetic is right on the host.

There is no GPU in these tests. The host's C++ compiler runs the kernels with a block of one thread.
"""

import ctypes
import pathlib
import subprocess

import numpy as np
import onnx
import pytest
from conftest import required, vector
from oracle import assert_close

ARCHITECTURES = ["sm_80", "sm_90"]
LOSSES = ["ib", "ib-focal", "cross-entropy", "focal", "ldam", "balanced-softmax"]
OPTIONS = {
    "ib": ["--runtime-input=enabled,class_weights,alpha", "--ignore-index=-100"],
    "cross-entropy": ["--set=label_smoothing=0.1", "--reduction=none", "--outputs=loss,logits_grad,row_loss"],
    "ib-focal": ["--feature-input=norm", "--outputs=loss,logits_grad,features_grad,influence_weight"],
}
# The half types need instructions that the host has not.
VECTORS = ["cross_entropy_cb", "ib_128x10x64", "ib_6x1000x512", "ib_focal_g05", "ib_margin_20", "ib_stopped"]


@pytest.fixture(scope="session")
def nvrtc():
    (library,) = pathlib.Path(required("IBGRAPH_TEST_NVRTC", "NVRTC's directory")).rglob("libnvrtc.so.12")
    return ctypes.CDLL(str(library))


def source(model, dtype="f32") -> str:
    (node,) = onnx.load(model).graph.node
    program = required("IBGRAPH_TEST_CUDA_SOURCE", "the built example cuda_source")
    done = subprocess.run([program, dtype], input=node.attribute[0].s, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def compiled(nvrtc, text: str, architecture: str) -> bytes:
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"rows.cu", 0, None, None) == 0
    option = (ctypes.c_char_p * 1)(f"--gpu-architecture={architecture}".encode())
    status, size = nvrtc.nvrtcCompileProgram(program, 1, option), ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert status == 0, log.value.decode()
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    code = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, code)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return code.raw


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16"])
@pytest.mark.parametrize("loss", LOSSES)
def test_nvrtc_compiles_it(emit, nvrtc, loss, dtype):
    counts = "--class-counts=" + ",".join(str(k) for k in range(10, 0, -1))
    model = emit(loss, counts, f"--dtype={dtype}", "--lowering=fused", *OPTIONS.get(loss, []))
    for architecture in ARCHITECTURES:
        code = compiled(nvrtc, source(model, dtype), architecture)
        assert code.startswith(b"\x7fELF") and b"rows" in code


def test_nvrtc_does_not_take_what_is_wrong(emit, nvrtc):
    text = source(emit("ib", "--classes=3", "--lowering=fused")).replace("double s1 =", "double s0 =")
    with pytest.raises(AssertionError, match="s0"):
        compiled(nvrtc, text, "sm_80")


class Args(ctypes.Structure):
    """`struct Args` of a loss with at most one parameter and one row entry."""

    NAMES = ["logits", "labels", "features", "loss_grad", "class_weights", "logit_bias", "label_margin", "enabled"]
    NAMES += ["parameter", "loss", "logits_grad", "features_grad", "row_loss", "entry", "work"]
    _fields_ = [(name, ctypes.c_void_p) for name in NAMES] + [("n", ctypes.c_longlong), ("d", ctypes.c_longlong)]


RUN = """
extern "C" void run(Args a) {
    batch(a);
    for (blockIdx.x = 0; blockIdx.x < a.n; blockIdx.x++) rows(a);
    total(a);
}
"""


@pytest.mark.parametrize("name", VECTORS)
def test_its_arithmetic_is_right(emit, tmp_path, name):
    case = vector(name)
    model = emit(*case.arguments(tmp_path), "--lowering=fused")
    shim = pathlib.Path(__file__).with_name("cuda_shim.h").read_text()
    (tmp_path / "rows.cpp").write_text(shim + source(model) + RUN)
    library = tmp_path / "rows.so"
    subprocess.run(["c++", "-O1", "-shared", "-fPIC", "-o", library, tmp_path / "rows.cpp"], check=True, timeout=120)
    graph = onnx.load(model).graph
    tables = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    inputs = {port.name: case.inputs[port.name] for port in graph.input} | tables
    outputs = {o.name: np.full(case.outputs[o.name].shape, np.nan, np.float32) for o in graph.output}
    outputs = {name: np.atleast_1d(value) for name, value in outputs.items()}
    n = len(inputs["labels"])
    held = {**inputs, **outputs, "work": np.full(2 + n, np.nan)}
    held = {name: np.ascontiguousarray(value) for name, value in held.items()}
    width = inputs["features"].shape[1] if "features" in inputs else 0
    args = Args(**{name: value.ctypes.data for name, value in held.items()}, n=n, d=width)
    run = ctypes.CDLL(str(library)).run
    run.argtypes = [Args]
    run(args)
    for output in outputs:
        assert_close(held[output].reshape(case.outputs[output].shape), case.outputs[output])
