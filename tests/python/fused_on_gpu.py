"""The fused operator on a GPU, run by ci/gpu alone: `pytest tests/python/fused_on_gpu.py`.

Its name keeps it out of the tests of a machine without a GPU. IBGRAPH_TEST_PROVIDER names another provider than CUDA, to try
the tests themselves.
"""

import os
import threading

import numpy as np
import onnxruntime as ort
import oracle
import pytest
from conftest import DTYPES, VECTORS, required, to_numpy, to_ort, vector
from oracle import assert_close

PROVIDER = os.environ.get("IBGRAPH_TEST_PROVIDER", "CUDAExecutionProvider")
NAMES = sorted(d.name for d in VECTORS.iterdir() if d.is_dir())
# A warp a row, edges, a block a row, and a streamed row.
SIZES = [(257, 10, 64), (64, 1000, 513), (33, 5001, 100), (4, 100_003, 515)]
# Of each element: one rounding; of whole tensors in float32 and float64 what the tests of the CPU have.
TOLERANCES = {"f32": {}, "f64": {"whole": oracle.DOUBLE, "row": oracle.DOUBLE}}
TOLERANCES |= {name: {"whole": rounding, "row": rounding} for name, rounding in oracle.ROUNDING.items()}


@pytest.fixture(scope="session", autouse=True)
def libraries():
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()


def session(model, **provider) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.register_custom_ops_library(required("IBGRAPH_OPS", "the built operator library"))
    # Else a node that the provider cannot run would go to the CPU.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "0" if PROVIDER.startswith("CPU") else "1")
    made = ort.InferenceSession(model, options, providers=[(PROVIDER, provider)])
    assert made.get_providers()[0] == PROVIDER, "the provider did not load"
    return made


def run(of: ort.InferenceSession, feeds) -> dict[str, np.ndarray]:
    feeds = {i.name: to_ort(feeds[i.name], i.type) for i in of.get_inputs()}
    outputs = of.run_with_ort_values(None, feeds)
    values = [to_numpy(value) for value in outputs]
    return {o.name: value for o, value in zip(of.get_outputs(), values)}


def batch(n, c, d, dtype="f32", seed=1):
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (n, c)).astype(DTYPES[dtype])
    features = random.normal(0, 0.1, (n, d)).astype(DTYPES[dtype])
    return {"logits": logits, "labels": random.integers(0, c, n), "features": features}


def emitted(emit, c, dtype="f32", *options):
    # Losses and gradients of a size that half types hold.
    parameters = ["--set=alpha=100", "--set=epsilon=1"]
    return emit("ib", f"--classes={c}", f"--dtype={dtype}", "--lowering=fused", *parameters, *options)


@pytest.mark.parametrize("name", NAMES)
def test_every_vector(emit, tmp_path, name):
    case = vector(name)
    options = [f"--set={k}={case.case[k]}" for k in ("scale", "max_margin") if k in case.case]
    got = run(session(emit(*case.arguments(tmp_path), *options, "--lowering=fused")), case.inputs)
    for output, value in got.items():
        assert_close(value, case.outputs[output])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_shape_and_type(emit, dtype, size):
    feeds = batch(*size, dtype)
    # Not divided by N, or float16 would hold most gradients as subnormal numbers.
    of = session(emitted(emit, size[1], dtype, "--reduction=sum"))
    got = run(of, feeds)
    rows = oracle.rows(feeds["logits"], feeds["labels"], feeds["features"], alpha=100, epsilon=1)
    want = oracle.reduced(rows, 1)
    assert_close(got["loss"], want["loss"], **TOLERANCES["f64" if dtype == "f64" else "f32"])
    for name in ("logits_grad", "features_grad"):
        smallest = {"f16": 2.0**-14, "bf16": 2.0**-126}.get(dtype, np.finfo(np.float32).tiny)
        assert_close(got[name].astype(np.float64), want[name], **TOLERANCES[dtype], smallest=smallest)
    # The same bits each time.
    again = run(of, feeds)
    assert all(got[name].tobytes() == again[name].tobytes() for name in got)


@pytest.mark.parametrize("size", SIZES[1:])
def test_ignored_rows_are_zeros_and_wrong_labels_nan(emit, size):
    feeds = batch(*size)
    of = session(emitted(emit, size[1], "f32", "--ignore-index=-100", "--check-labels"))
    feeds["labels"][1] = -100
    counted = np.arange(size[0]) != 1
    rows = oracle.rows(*(feeds[k][counted] for k in ("logits", "labels", "features")), alpha=100, epsilon=1)
    want, got = oracle.reduced(rows, size[0] - 1), run(of, feeds)
    assert_close(got["loss"], want["loss"])
    assert_close(got["logits_grad"][counted], want["logits_grad"])
    assert (got["logits_grad"][1] == 0).all() and (got["features_grad"][1] == 0).all()
    feeds["labels"][2] = size[1]
    got = run(of, feeds)
    assert np.isnan(got["loss"]) and np.isnan(got["logits_grad"][2]).all() and np.isfinite(got["logits_grad"][3:]).all()
    feeds["labels"][:] = -100
    got = run(of, feeds)
    assert np.isnan(got["loss"]) and (got["logits_grad"] == 0).all()


def test_an_empty_batch(emit):
    got = run(session(emitted(emit, 10)), batch(0, 10, 8))
    assert np.isnan(got["loss"]) and got["logits_grad"].shape == (0, 10) and got["features_grad"].shape == (0, 8)


def test_switches_weights_and_parameters_are_read_where_they_are(emit):
    feeds = batch(64, 1000, 513)
    of = session(emitted(emit, 1000, "f32", "--runtime-input=enabled,class_weights,alpha"))
    weights = np.linspace(0.5, 2, 1000).astype(np.float32)
    given = feeds | {"class_weights": weights, "alpha": np.float32(7), "enabled": np.array(True)}
    tensors = (feeds["logits"], feeds["labels"], feeds["features"])
    on = oracle.reduced(oracle.rows(*tensors, weights, alpha=7, epsilon=1), 64)
    off = oracle.reduced(oracle.rows(*tensors, loss="cross-entropy"), 64)
    for enabled, want in ((True, on), (False, off)):
        got = run(of, given | {"enabled": np.array(enabled)})
        assert_close(got["loss"], want["loss"])
        assert_close(got["logits_grad"], want["logits_grad"])


def test_concurrent_runs_of_a_session_do_not_disturb_each_other(emit):
    of = session(emitted(emit, 1000, "f32", "--ignore-index=-100"))
    batches = [batch(64 + 16 * k, 1000, 513, seed=k) for k in range(4)]
    alone = [run(of, feeds) for feeds in batches]
    wrong = []

    def work(feeds, want):
        for _ in range(50):
            got = run(of, feeds)
            wrong.extend(name for name in got if got[name].tobytes() != want[name].tobytes())

    threads = [threading.Thread(target=work, args=pair) for pair in zip(batches, alone)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# Other providers have neither graphs nor compiled kernels.
if PROVIDER.startswith("CUDA"):

    def test_a_cuda_graph_of_it_runs_on_new_data(emit):
        size = (64, 1000, 513)
        model = emitted(emit, 1000, "f32", "--ignore-index=-100")
        of = session(model, enable_cuda_graph="1")
        plain = session(model)
        first = batch(*size)
        held = {name: ort.OrtValue.ortvalue_from_numpy(value, "cuda", 0) for name, value in first.items()}
        shapes = {"loss": (), "logits_grad": size[:2], "features_grad": (size[0], size[2])}
        made = {k: ort.OrtValue.ortvalue_from_shape_and_type(v, np.float32, "cuda", 0) for k, v in shapes.items()}
        binding = of.io_binding()
        for name, value in held.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in made.items():
            binding.bind_ortvalue_output(name, value)
        # The first run captures; the others replay.
        for seed in range(1, 5):
            feeds = batch(*size, seed=seed)
            for name, value in feeds.items():
                held[name].update_inplace(value)
            of.run_with_iobinding(binding)
            want = run(plain, feeds)
            assert all(made[name].numpy().tobytes() == want[name].tobytes() for name in want)

    def test_compiled_kernels_are_kept(emit, tmp_path, monkeypatch):
        monkeypatch.setenv("IBGRAPH_CACHE", str(tmp_path / "cache"))
        session(emitted(emit, 77))
        (entry,) = (tmp_path / "cache" / "kernels").iterdir()
        assert entry.stat().st_size > 10_000
