"""The CUDA kernels, run by the host's C++ compiler: blocks and threads as on a device, with a shim for CUDA's words.

Every shape of the kernels runs, whatever suits a case. There is no GPU in these tests.
"""

import ctypes
import pathlib
import subprocess

import numpy as np
import onnx
import oracle
import pytest
from conftest import DTYPES, vector
from cuda_source import source
from oracle import assert_close

SHAPES = ["warp", "block", "streamed"]
# Some cases in every shape, the others in one.
VECTORS = [(name, shape) for name in ("ib_6x1000x512", "balanced_softmax") for shape in SHAPES]
VECTORS += [("ib_128x10x64", "warp"), ("ib_focal_g05", "warp"), ("ib_stopped", "block"), ("ib_margin_20", "streamed")]
VECTORS += [("cross_entropy_cb", "block"), ("ldam", "streamed")]
BATCHES = [("f32", shape) for shape in SHAPES] + [("f64", "streamed"), ("f16", "warp"), ("bf16", "block")]
C, D = 37, 1501


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
    (directory / "rows.cpp").write_text('#include "cuda_shim.h"\n' + text + RUN)
    library = directory / "rows.so"
    flags = ["-std=c++20", "-O1", "-ffp-contract=off", "-shared", "-fPIC", f"-I{pathlib.Path(__file__).parent}"]
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


@pytest.mark.parametrize("name, shape", VECTORS)
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


def batch(dtype):
    """Logits, labels and features; the second row does not count, the fourth's label is no class."""
    random = np.random.default_rng(5)
    logits = random.normal(0, 3, (6, C)).astype(dtype)
    features = random.normal(0, 0.1, (6, D)).astype(dtype)
    return logits, np.array([0, -100, C - 1, 77, 5, 12]), features


@pytest.mark.parametrize("dtype, shape", BATCHES)
def test_rows_that_do_not_count_and_labels_that_are_no_class_stay_in_their_rows(emit, tmp_path, dtype, shape):
    logits, labels, features = batch(DTYPES[dtype])
    options = ["--set=alpha=100", "--set=epsilon=1", "--ignore-index=-100", "--runtime-input=class_weights,enabled"]
    model = emit("ib", f"--classes={C}", f"--dtype={dtype}", *options, "--lowering=fused")
    library = on_host(source(model, dtype, shape), tmp_path)
    graph = onnx.load(model).graph
    weights = np.linspace(0.5, 2, C).astype(np.float64 if dtype == "f64" else np.float32)
    shapes = {"loss": (), "logits_grad": logits.shape, "features_grad": features.shape}
    feeds = {"logits": logits, "labels": labels, "features": features, "class_weights": weights}
    run = lambda **new: run_on_host(library, graph, feeds | {"enabled": np.array(True)} | new, shapes, DTYPES[dtype], offset=1)
    good = [0, 2, 4, 5]
    of = oracle.rows(logits[good], labels[good], features[good], weights, alpha=100, epsilon=1)
    # Half types: one rounding of each element.
    rounding = {"f32": {}, "f64": {"whole": oracle.DOUBLE, "row": oracle.DOUBLE}}
    close = rounding.get(dtype) or {k: oracle.ROUNDING.get(dtype, 1e-6) for k in ("whole", "row")}
    # The row whose label is no class counts, and makes the loss unknown.
    want, got = oracle.reduced(of, 5), run()
    assert np.isnan(got["loss"])
    for name in ("logits_grad", "features_grad"):
        found = got[name].astype(np.float64)
        assert_close(found[good], want[name], **close) if dtype != "f32" else assert_close(found[good], want[name])
        assert (found[1] == 0).all() and np.isnan(found[3]).all()
    valid = np.where(labels == 77, 3, labels)
    everyone = [0, 2, 3, 4, 5]
    of = oracle.rows(logits[everyone], valid[everyone], features[everyone], weights, alpha=100, epsilon=1)
    assert_close(run(labels=valid)["loss"], of.loss.sum() / 5)
    # Switched off, it is the mean cross entropy, without weights, and the features do not matter.
    of = oracle.rows(logits[everyone], valid[everyone], features[everyone], loss="cross-entropy")
    off = run(labels=valid, enabled=np.array(False), features=np.full_like(features, np.nan))
    assert_close(off["loss"], of.loss.sum() / 5)
    assert (off["features_grad"].astype(np.float64) == 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_smoothed_labels_and_rows_without_reduction(emit, tmp_path, shape):
    logits, labels, _ = batch(np.float32)
    labels = np.abs(labels) % C
    outputs = "--outputs=loss,logits_grad,row_loss"
    model = emit("cross-entropy", f"--classes={C}", "--set=label_smoothing=0.1", "--reduction=none", outputs, "--lowering=fused")
    library = on_host(source(model, "f32", shape), tmp_path)
    upstream = np.linspace(1, 2, 6).astype(np.float32)
    feeds = {"logits": logits, "labels": labels, "loss_grad": upstream}
    shapes = {"loss": (6,), "logits_grad": logits.shape, "row_loss": (6,)}
    got = run_on_host(library, onnx.load(model).graph, feeds, shapes, np.float32)
    z = logits.astype(np.float64)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    target = np.full(z.shape, 0.1 / C) + 0.9 * np.eye(C)[labels]
    want = -(target * log_p).sum(axis=1)
    assert_close(got["loss"], want)
    assert_close(got["row_loss"], want)
    assert_close(got["logits_grad"], (np.exp(log_p) - target) * upstream[:, None])


@pytest.mark.parametrize("loss, shape", [("cross-entropy", shape) for shape in SHAPES] + [("balanced-softmax", "streamed")])
def test_logits_that_are_not_finite_stay_in_their_rows(emit, tmp_path, loss, shape):
    logits = np.tile(np.linspace(-1, 1, C, dtype=np.float32), (7, 1))
    labels = np.full(7, 3)
    logits[0, :3], logits[0, 4:] = -np.inf, -np.inf
    logits[1, 9], logits[2, 3], logits[3, 9] = np.nan, np.nan, np.inf
    logits[4], logits[5] = -np.inf, np.where(np.arange(C) == 3, np.nan, -np.inf)
    counts = "--class-counts=" + ",".join(str(k) for k in range(C, 0, -1))
    model = emit(loss, counts, "--outputs=loss,logits_grad,row_loss", "--lowering=fused")
    library = on_host(source(model, "f32", shape), tmp_path)
    shapes = {"loss": (), "logits_grad": logits.shape, "row_loss": (7,)}
    feeds = {"logits": logits, "labels": labels}
    got = run_on_host(library, onnx.load(model).graph, feeds, shapes, np.float32)
    assert got["row_loss"][0] == 0 and (got["logits_grad"][0] == 0).all()
    assert np.isnan(got["row_loss"][1:6]).all() and np.isnan(got["logits_grad"][1:6]).all()
    assert np.isfinite(got["row_loss"][6]) and np.isfinite(got["logits_grad"][6]).all() and np.isnan(got["loss"])


def test_a_race_would_be_seen(emit, tmp_path):
    """Without the barrier that guards a block's sums, the order of threads matters."""
    case = vector("ib_6x1000x512")
    model = emit(*case.arguments(tmp_path), "--lowering=fused")
    text = source(model, "f32", "block")
    broken = text.replace("space[k][warp] = x[k];\n    __syncthreads();", "space[k][warp] = x[k];")
    assert broken != text
    library = on_host(broken, tmp_path)
    shapes = {"loss": (), "logits_grad": case.outputs["logits_grad"].shape, "features_grad": case.outputs["features_grad"].shape}
    graph = onnx.load(model).graph
    one, two = (run_on_host(library, graph, case.inputs, shapes, np.float32, backwards=b) for b in (False, True))
    assert (one["logits_grad"] != two["logits_grad"]).any()
