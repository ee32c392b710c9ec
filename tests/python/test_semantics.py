"""What users rely on: which rows count, what labels, infinities and half types do, switches, and exit codes."""

import numpy as np
import onnx
import pytest
import yaml
from conftest import DTYPES, VECTORS, run, vector
from oracle import ROUNDING, ROW, WHOLE, assert_close, reduced, rows

C = 10
WEIGHTS = np.linspace(0.25, 3, C).astype(np.float32)
GRADS = ("logits_grad", "features_grad")


def batch(n=12, d=8, seed=0, dtype="f32"):
    """Logits, labels and features, rounded to `dtype`."""
    random = np.random.default_rng(seed)
    logits, features = 3 * random.standard_normal((n, C)), random.standard_normal((n, d))
    labels = random.integers(0, C, n)
    return {"logits": logits.astype(DTYPES[dtype]), "labels": labels, "features": features.astype(DTYPES[dtype])}


def weights_file(tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text("\n".join(map(str, WEIGHTS.tolist())))
    return path


def assert_batch(got, want, **tolerances):
    assert got.keys() == want.keys()
    for name in got:
        assert_close(got[name], want[name], **tolerances)


# Files


@pytest.mark.parametrize(
    "arguments",
    ["--classes 9", "ib-focal --classes 3 --runtime-input enabled", "--class-counts 5,4 --class-weights inverse"],
)
def test_the_same_arguments_give_the_same_bytes(run_ibgraph, emit, arguments):
    arguments = arguments.split()
    first, second = emit(*arguments).read_bytes(), emit(*arguments).read_bytes()
    printed = run_ibgraph("emit", *arguments, "-o", "-")
    assert first == second == printed.stdout
    # What is said about it goes elsewhere.
    assert b"wrote" in printed.stderr


def test_class_counts_read_the_same_from_every_kind_of_file(emit, tmp_path):
    texts = {"json": "[9, 5, 2]", "yaml": "0: 9\n1: 5\n2: 2\n", "csv": "class,count\n0,9\n1,5\n2,2\n"}
    files = []
    for extension, text in texts.items():
        files.append(tmp_path / f"counts.{extension}")
        files[-1].write_text(text)
    graphs = {emit("--class-weights=inverse", f"--class-counts={c}").read_bytes() for c in ("9,5,2", *files)}
    assert len(graphs) == 1


@pytest.mark.parametrize(
    "wrong", ["--set gamma=2", "--set alpha=-1", "--opset 8", "--outputs lost", "--class-counts 1,2"]
)
def test_an_older_file_survives_a_wrong_option(run_ibgraph, tmp_path, wrong):
    path = tmp_path / "loss.onnx"
    path.write_bytes(b"an older file")
    done = run_ibgraph("emit", "--classes", C, "-o", path, *wrong.split())
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ") and not done.stdout
    assert [(p, p.read_bytes()) for p in tmp_path.iterdir()] == [(path, b"an older file")]


# Reductions, weights, rows


def divisor(reduction, labels, weights):
    return {"mean": len(labels), "sum": 1.0, "weighted-mean": weights[labels].sum(dtype=np.float64)}[reduction]


@pytest.mark.parametrize("reduction", ["mean", "sum", "weighted-mean"])
@pytest.mark.parametrize("loss", ["ib", "ib-focal", "cross-entropy"])
def test_a_batch_reduces_as_asked(emit, tmp_path, loss, reduction):
    inputs = batch()
    of = rows(**inputs, weights=WEIGHTS, loss=loss)
    want = reduced(of, divisor(reduction, inputs["labels"], WEIGHTS))
    if loss == "cross-entropy":
        del inputs["features"], want["features_grad"]
    path = emit(loss, f"--class-weights={weights_file(tmp_path)}", f"--reduction={reduction}")
    assert_batch(run(path, **inputs), want)


def test_without_reduction_every_row_has_its_own_upstream_gradient(emit):
    inputs, upstream = batch(), np.linspace(-2, 3, 12, dtype=np.float32)
    of = rows(**inputs)
    got = run(emit("--classes", C, "--reduction=none"), **inputs, loss_grad=upstream)
    column = upstream[:, None].astype(np.float64)
    want = {"loss": of.loss, "logits_grad": of.logits_grad * column, "features_grad": of.features_grad * column}
    assert_batch(got, want)


def test_row_outputs_are_the_terms_of_the_formula(emit):
    inputs = batch()
    of = rows(**inputs)
    got = run(emit("--classes", C, "--outputs=row_loss,influence_weight"), **inputs)
    assert_batch(got, {"row_loss": of.loss, "influence_weight": of.influence_weight})


@pytest.mark.parametrize("kind, shape", [("norm", (12,)), ("norm-column", (12, 1))])
def test_norms_stand_in_for_features(emit, kind, shape):
    inputs = batch()
    norm = np.abs(inputs["features"]).sum(axis=1)
    inputs["features"] = norm[:, None]
    want = reduced(rows(**inputs), 12)
    want["features_grad"] = want["features_grad"].reshape(shape)
    inputs["features"] = norm.reshape(shape)
    assert_batch(run(emit("--classes", C, f"--feature-input={kind}"), **inputs), want)


def test_a_users_own_formula_compiles(emit, tmp_path):
    case = vector("focal")
    path = tmp_path / "my_focal.yaml"
    about = {"name": "my-focal", "parameters": {"gamma": case.case["gamma"]}, "reduction": "mean"}
    path.write_text(yaml.safe_dump(about | {"loss": "q ^ gamma * nll"}))
    inputs = {name: case.inputs[name] for name in ("logits", "labels")}
    got = run(emit(path, "--classes", case.case["shape"]["classes"]), **inputs)
    assert_batch(got, {name: case.outputs[name] for name in ("loss", "logits_grad")})


# Inputs at run time


@pytest.mark.parametrize("alpha", [1.0, 1000.0, 5e4])
def test_a_runtime_parameter_takes_the_place_of_the_stored_one(emit, alpha):
    inputs = batch()
    got = run(emit("--classes", C, "--runtime-input=alpha", "--set=alpha=7"), **inputs, alpha=alpha)
    assert_batch(got, reduced(rows(**inputs, alpha=alpha), 12))


def test_class_weights_can_be_an_input(emit):
    inputs = batch()
    got = run(emit("--classes", C, "--runtime-input=class_weights"), **inputs, class_weights=WEIGHTS)
    assert_batch(got, reduced(rows(**inputs, weights=WEIGHTS), 12))


@pytest.mark.parametrize("features", [np.nan, np.inf, 3e38, 0.0])
def test_not_enabled_is_the_plain_mean_cross_entropy_whatever_the_features(emit, tmp_path, features):
    path = emit(f"--class-weights={weights_file(tmp_path)}", "--runtime-input=enabled")
    inputs = batch()
    want = reduced(rows(**inputs, loss="cross-entropy"), 12)
    inputs["features"] = np.full_like(inputs["features"], features)
    got = run(path, **inputs, enabled=np.False_)
    assert_batch(got, want)
    assert not got["features_grad"].any()


def test_enabled_is_the_influence_balanced_loss(emit, tmp_path):
    path = emit(f"--class-weights={weights_file(tmp_path)}", "--runtime-input=enabled")
    inputs = batch()
    assert_batch(run(path, **inputs, enabled=np.True_), reduced(rows(**inputs, weights=WEIGHTS), 12))


# Rows that do not count, labels out of range


@pytest.mark.parametrize("index", [-100, -1, 3, 255])
@pytest.mark.parametrize("reduction", ["mean", "weighted-mean", "sum"])
def test_ignored_rows_are_exact_zeros_and_do_not_count(emit, tmp_path, index, reduction):
    inputs = batch()
    inputs["labels"][inputs["labels"] == index] = 0
    ignored = np.arange(12) % 4 == 1
    kept = {name: value[~ignored] for name, value in inputs.items()}
    want = reduced(rows(**kept, weights=WEIGHTS), divisor(reduction, kept["labels"], WEIGHTS))

    inputs["labels"][ignored] = index
    inputs["logits"][ignored] = [[np.nan], [np.inf], [-np.inf]]
    inputs["features"][ignored] = np.nan
    weights = f"--class-weights={weights_file(tmp_path)}"
    got = run(emit(weights, f"--ignore-index={index}", f"--reduction={reduction}"), **inputs)
    for name in GRADS:
        assert not got[name][ignored].any()
        got[name] = got[name][~ignored]
    assert_batch(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "weighted-mean"])
def test_a_mean_over_no_rows_is_nan_with_zero_gradients(emit, dtype, reduction):
    inputs = batch(dtype=dtype)
    inputs["labels"][:] = -100
    got = run(emit("--classes", C, "--ignore-index=-100", f"--reduction={reduction}", f"--dtype={dtype}"), **inputs)
    assert np.isnan(got["loss"])
    assert not any(got[name].any() for name in GRADS)


@pytest.mark.parametrize("label", [C, C + 5, -100, -C - 1])
def test_onnx_runtime_on_the_cpu_refuses_most_labels_out_of_range(emit, label):
    inputs = batch()
    inputs["labels"][2] = label
    with pytest.raises(Exception, match="out of|index|indices"):
        run(emit("--classes", C), **inputs)


def test_onnx_runtime_reads_label_minus_one_as_the_last_class(emit):
    inputs = batch()
    inputs["labels"][2] = C - 1
    want = reduced(rows(**inputs), 12)
    inputs["labels"][2] = -1
    assert_batch(run(emit("--classes", C), **inputs), want)


@pytest.mark.parametrize("label", [C, C + 5, -100, -1, 2**40, -(2**63)])
@pytest.mark.parametrize("extra", [[], ["--ignore-index=255"]])
def test_checked_labels_out_of_range_are_nan_where_they_stand(emit, label, extra):
    inputs = batch()
    wrong = np.arange(12) == 2
    want = reduced(rows(**inputs), 12)
    inputs["labels"][wrong] = label
    got = run(emit("--classes", C, "--check-labels", *extra), **inputs)
    assert np.isnan(got["loss"])
    for name in GRADS:
        assert np.isnan(got[name][wrong]).all()
        assert_close(got[name][~wrong], want[name][~wrong])


def test_an_ignored_label_is_not_out_of_range(emit):
    inputs = batch()
    kept = {name: value[1:] for name, value in inputs.items()}
    inputs["labels"][0] = -100
    got = run(emit("--classes", C, "--check-labels", "--ignore-index=-100"), **inputs)
    assert_close(got["loss"], reduced(rows(**kept), 11)["loss"])


# Infinities, half types


@pytest.mark.parametrize("loss", ["ib", "ib-focal", "cross-entropy"])
def test_a_label_without_rivals_costs_nothing(emit, loss):
    inputs = batch()
    label = inputs["logits"][np.arange(12), inputs["labels"]]
    inputs["logits"][:] = -np.inf
    inputs["logits"][np.arange(12), inputs["labels"]] = label
    if loss == "cross-entropy":
        del inputs["features"]
    got = run(emit(loss, "--classes", C), **inputs)
    # As PyTorch's cross entropy of such rows.
    assert all((value == 0).all() for value in got.values())


def test_classes_that_are_masked_out_get_no_gradient(emit):
    inputs = batch()
    masked = np.arange(C)[None, :] == (inputs["labels"][:, None] + 3) % C
    inputs["logits"][masked] = -np.inf
    got = run(emit("--classes", C), **inputs)
    assert not got["logits_grad"][masked].any()
    assert_batch(got, reduced(rows(**inputs), 12))


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize("loss", ["ib", "ib-focal"])
def test_half_types_are_right_to_their_rounding(emit, dtype, loss):
    inputs = batch(dtype=dtype)
    want = reduced(rows(**inputs, loss=loss), 12)
    got = run(emit(loss, "--classes", C, f"--dtype={dtype}"), **inputs)
    assert {name: value.dtype for name, value in got.items()} == {
        "loss": np.float32, "logits_grad": DTYPES[dtype], "features_grad": DTYPES[dtype]
    }
    assert_close(got.pop("loss"), want.pop("loss"))
    # A magnitude below the smallest normal float16 has fewer bits; here it is small beside its row.
    assert_batch(got, want, whole=WHOLE + ROUNDING[dtype], row=ROW + ROUNDING[dtype], smallest=0)


# Almost dead features make the influence weight alpha / epsilon, and the gradient of features larger still.
@pytest.mark.parametrize(
    "dtype, largest, parameters",
    [("f16", 65504.0, {}), ("bf16", (2 - 2**-7) * 2.0**127, {"alpha": 1e30, "epsilon": 1e-30})],
)
def test_half_gradients_saturate_instead_of_overflowing(emit, dtype, largest, parameters):
    inputs = batch(dtype=dtype)
    inputs["features"] *= DTYPES[dtype](2.0**-20)
    want = reduced(rows(**inputs, **parameters), 12)
    settings = [f"--set={name}={value}" for name, value in parameters.items()]
    got = run(emit("--classes", C, f"--dtype={dtype}", *settings), **inputs)
    assert (np.abs(want["features_grad"]) > largest).any()
    for name in GRADS:
        limited = np.clip(want[name], -largest, largest)
        assert_close(got[name], limited, whole=WHOLE + ROUNDING[dtype], row=ROW + ROUNDING[dtype], smallest=0)


# Exit codes


@pytest.fixture
def check(run_ibgraph, ort_library):
    return lambda *args: run_ibgraph("check", "--engine=ort", f"--runtime={ort_library}", *args)


def test_a_good_graph_passes_its_check(emit, check, tmp_path):
    case = vector("ib_margin_20")
    path = emit(*case.arguments(tmp_path))
    assert check(path).returncode == 0
    assert check(path, f"--data={VECTORS / 'ib_margin_20'}").returncode == 0


def test_a_graph_that_computes_something_else_fails_its_check(emit, check, tmp_path):
    # It claims another alpha than the one it was compiled with.
    model = onnx.load(emit("--classes", C))
    [claim] = [p for p in model.metadata_props if '"alpha":1000.0' in p.value]
    claim.value = claim.value.replace('"alpha":1000.0', '"alpha":1001.0')
    path = tmp_path / "changed.onnx"
    onnx.save(model, path)
    done = check(path)
    assert done.returncode == 1
    assert b"loss" in done.stdout


def test_data_of_another_loss_fails_the_check(emit, check):
    assert check(emit("--classes", C), f"--data={VECTORS / 'ib_alpha10000'}").returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "emit",
        "emit --classes 10",
        "emit --classes 1 -o OUT",
        "emit nothing --classes 10 -o OUT",
        "emit missing.yaml --classes 10 -o OUT",
        "emit --classes 10 --class-weights inverse -o OUT",
        "emit --classes 10 --set alpha=much -o OUT",
        "emit --classes 10 --dtype f8 -o OUT",
        "emit --classes 10 --runtime-input beta -o OUT",
        "emit cross-entropy --classes 10 --influence-gradient stopped -o OUT",
        "emit --classes 10 -o OUT/in/no/directory",
        "check missing.onnx",
        "check NOT_ONNX",
        "check NOT_ONNX --provider frob",
    ],
)
def test_wrong_use_and_broken_input_are_2(run_ibgraph, tmp_path, arguments):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x08not a model")
    places = {"OUT": tmp_path / "out.onnx", "NOT_ONNX": broken}
    for name, path in places.items():
        arguments = arguments.replace(name, str(path))
    done = run_ibgraph(*arguments.split())
    assert done.returncode == 2
    assert done.stderr and not done.stdout
    assert list(tmp_path.iterdir()) == [broken]


@pytest.mark.parametrize(
    "arguments", [["--provider=cuda"], ["--engine=embedded", "--provider=cuda"], ["--runtime=missing"]]
)
def test_what_is_asked_for_and_not_there_is_3(emit, run_ibgraph, ort_library, arguments):
    # The library has no CUDA, whatever the machine has.
    if "--runtime=missing" not in arguments:
        arguments = [f"--runtime={ort_library}", *arguments]
    done = run_ibgraph("check", emit("--classes", C), *arguments)
    assert done.returncode == 3
    assert done.stderr.startswith(b"error: ") and not done.stdout


# Sums of many and of small terms


# 20011 is a prime.
@pytest.mark.parametrize("classes", [20_000, 20_011, 300_000])
def test_shares_of_very_many_classes_are_added_up_to_all_digits(emit, classes):
    random = np.random.default_rng(1)
    logits = (3 * random.standard_normal((2, classes))).astype(np.float32)
    labels = random.integers(0, classes, 2)
    got = run(emit("cross-entropy", "--classes", classes), logits=logits, labels=labels)
    share = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    nll = -np.log(share[np.arange(2), labels])
    share[np.arange(2), labels] -= 1
    assert abs(got["loss"] / nll.mean() - 1) <= WHOLE
    off = np.linalg.norm(got["logits_grad"] - share / 2, axis=1) / np.linalg.norm(share / 2, axis=1)
    assert off.max() <= ROW


@pytest.mark.parametrize("smoothing, classes", [(0.1, 2), (1, 2), (1, 3), (1, 100)])
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16"])
def test_smoothed_gradients_that_cancel_pass_the_check(run_ibgraph, tmp_path, smoothing, classes, dtype):
    options = ("--set", f"label_smoothing={smoothing}", "--classes", classes, "--dtype", dtype)
    done = run_ibgraph("emit", "cross-entropy", *options, "--check", "-o", tmp_path / "loss.onnx")
    assert done.returncode == 0, done.stdout.decode()
