"""The CUDA source of every loss: NVRTC compiles it for two architectures, and its arithmetic is right on the host.

There is no GPU in these tests. The host's C++ compiler runs the kernels with a block of one thread.
"""

import ctypes
import pathlib
import subprocess

import numpy as np
import onnx
import pytest
from conftest import DTYPES, required, vector
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


def source(model, dtype="f32", *shape) -> str:
    (node,) = onnx.load(model).graph.node
    program = required("IBGRAPH_TEST_CUDA_SOURCE", "the built example cuda_source")
    done = subprocess.run([program, dtype, *shape], input=node.attribute[0].s, capture_output=True, timeout=60)
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
    SIZES = ["n", "d", "blocks", "cached"]
    _fields_ = [(name, ctypes.c_void_p) for name in NAMES] + [(name, ctypes.c_longlong) for name in SIZES]


# As the library launches them: `batch` where the source says that it is needed, a row a lane group, `total`.
RUN = """
static Args arguments;
extern "C" int blocks_of(long long n) { return (int)((n + THREADS / LANES - 1) / (THREADS / LANES)); }
extern "C" void run(Args a, int backwards) {
    arguments = a;
    work = [] { batch(arguments); };
    if (NEEDS_BATCH) run_block(0, 1024, backwards);
    work = [] { rows(arguments); };
    for (int block = 0; block < a.blocks; block++) run_block(block, THREADS, backwards);
    work = [] { total(arguments); };
    if (HAS_TOTAL) run_block(0, 1024, backwards);
}
"""


def on_host(text: str, directory) -> ctypes.CDLL:
    """The kernels as a library, with a shim for CUDA."""
    shim = pathlib.Path(__file__).with_name("cuda_shim.h").read_text()
    (directory / "rows.cpp").write_text(shim + text + RUN)
    library = directory / "rows.so"
    flags = ["-std=c++20", "-O1", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run(["c++", *flags, "-o", library, directory / "rows.cpp"], check=True, timeout=120)
    loaded = ctypes.CDLL(str(library))
    loaded.run.argtypes = [Args, ctypes.c_int]
    loaded.blocks_of.argtypes = [ctypes.c_longlong]
    return loaded


def placed(value: np.ndarray, offset: int) -> np.ndarray:
    """A copy that starts so many elements after an address that 16 divides."""
    flat = np.ascontiguousarray(value).reshape(-1)
    space = np.zeros(flat.size * flat.itemsize + 64, np.uint8)
    start = -space.ctypes.data % 16 + offset * flat.itemsize
    place = space[start : start + flat.nbytes].view(flat.dtype)
    place[:] = flat
    return place


def run_on_host(library, graph, feeds, shapes, dtype, *, offset=0, backwards=False, cached=4) -> dict[str, np.ndarray]:
    """The outputs, whose shapes are given; logits and what is of their type stand `offset` elements off."""
    tables = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    n = len(feeds["labels"])
    wide = {"logits_grad", "features_grad"}
    narrow = np.float64 if dtype == np.float64 else np.float32
    held = {name: placed(value, offset if name in ("logits", "features") else 0) for name, value in (feeds | tables).items()}
    for name, shape in shapes.items():
        kind = dtype if name in wide else narrow
        held[name] = placed(np.full(int(np.prod(shape)), np.nan).astype(kind), offset if name in wide else 0)
    held["work"] = np.full(2 + n, np.nan)
    width = feeds["features"].shape[1] if "features" in feeds and feeds["features"].ndim > 1 else 0
    places = {name if name in Args.NAMES else "parameter": value.ctypes.data for name, value in held.items()}
    blocks = library.blocks_of(n)
    library.run(Args(**places, n=n, d=width, blocks=blocks, cached=cached), int(backwards))
    return {name: held[name].reshape(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("shape", ["warp", "block", "streamed"])
@pytest.mark.parametrize("name", VECTORS)
def test_its_arithmetic_is_right(emit, tmp_path, name, shape):
    case = vector(name)
    model = emit(*case.arguments(tmp_path), "--lowering=fused")
    library = on_host(source(model, "f32", shape), tmp_path)
    graph = onnx.load(model).graph
    dtype = np.float32
    feeds = {port.name: case.inputs[port.name] for port in graph.input}
    shapes = {o.name: case.outputs[o.name].shape for o in graph.output}
    found = run_on_host(library, graph, feeds, shapes, dtype)
    for output in shapes:
        assert_close(found[output], case.outputs[output])
    # Neither the order of threads nor how buffers lie in memory changes a sum beyond its rounding.
    again = run_on_host(library, graph, feeds, shapes, dtype, backwards=True)
    moved = run_on_host(library, graph, feeds, shapes, dtype, offset=1)
    for output in shapes:
        np.testing.assert_array_equal(found[output], again[output])
        assert_close(moved[output], case.outputs[output])
