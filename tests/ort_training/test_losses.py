"""The losses alone, with logits and features as the parameters that ONNX Runtime Training differentiates by."""

import numpy as np
import onnx
import pytest
import yaml
from conftest import TESTS
from onnx import numpy_helper
from oracle import ROW, WHOLE, assert_close, rows
from training import Training, with_parameters

VECTORS = sorted(path.parent for path in (TESTS / "data" / "vectors").glob("*/case.yaml"))
PARAMETERS = ["alpha", "epsilon", "gamma", "beta", "max_margin", "scale"]
# What reverse mode finds in float32. The slope of ib is the difference of two terms, and as large as q + epsilon/(2 q h)
# of either: at least sqrt(2 epsilon/h), which is 1/150 for the norms h of the vectors. Each term has about five roundings
# of 2^-24 = 6e-8. The compiled backward is in float64 there, and held to the bounds of the graphs that have it.
CANCELLED = 5e-5
ALLOWED = {
    "trainable": {"whole": CANCELLED, "row": CANCELLED},
    "explicit-backward": {"whole": WHOLE, "row": ROW},
}


class Alone:
    """One batch of a loss; what is in `trained` is differentiated by, the rest is fed."""

    def __init__(self, run_ibgraph, directory, loss, lowering, trained, fed, opset=17):
        path = directory / "loss.onnx"
        run_ibgraph("emit", *loss, f"--lowering={lowering}", f"--opset={opset}", "-o", path)
        names = [port.name for port in onnx.load(path).graph.input]
        self.trained = {name: value for name, value in trained.items() if name in names}
        training = Training(with_parameters(path, self.trained), self.trained, directory / "artifacts")
        self.loss = training.forward_and_backward(*(fed[name] for name in names if name not in trained))
        shapes = {name: value.shape for name, value in self.trained.items()}
        self.gradients = {name: training.gradient(name, shape) for name, shape in shapes.items()}


@pytest.fixture(params=ALLOWED)
def lowering(request) -> str:
    return request.param


def tensors(directory, kind: str) -> list:
    files = directory / "test_data_set_0"
    return [numpy_helper.to_array(onnx.load_tensor(files / f"{kind}_{k}.pb")) for k in range(3)]


def test_there_are_vectors():
    assert len(VECTORS) >= 36


@pytest.mark.parametrize("directory", VECTORS, ids=lambda path: path.name)
def test_gradients_agree_with_every_vector(run_ibgraph, counts, tmp_path, lowering, directory):
    case = yaml.safe_load((directory / "case.yaml").read_text())
    logits, labels, features = tensors(directory, "input")
    loss, logits_grad, features_grad = tensors(directory, "output")
    arguments = [case["loss"], f"--class-counts={counts(case['class_counts'])}"]
    arguments.append(f"--class-weights={case.get('class_weights', 'none')}")
    arguments += [f"--set={name}={case[name]}" for name in PARAMETERS if name in case]
    trained, fed = {"logits": logits, "features": features}, {"labels": labels}
    if case.get("influence_gradient") == "stopped":
        # ONNX Runtime refuses to differentiate by what no gradient reaches.
        arguments.append("--influence-gradient=stopped")
        fed["features"] = trained.pop("features")
        assert not features_grad.any()
    got = Alone(run_ibgraph, tmp_path, arguments, lowering, trained, fed)
    assert_close(got.loss, loss)
    assert "logits" in got.gradients
    for name, want in {"logits": logits_grad, "features": features_grad}.items():
        if name in got.gradients:
            assert_close(got.gradients[name], want, **ALLOWED[lowering])


N, C, D = 12, 7, 9


def batch(seed=3):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(N, C)).astype(np.float32) * 2
    return logits, random.integers(0, C, N), random.normal(size=(N, D)).astype(np.float32)


def assert_agrees(got: Alone, want: dict, lowering: str):
    assert_close(got.loss, want["loss"])
    for name, gradient in got.gradients.items():
        assert_close(gradient, want[f"{name}_grad"], **ALLOWED[lowering])


def sums(of, counts=None, divisor=1.0) -> dict:
    """Loss and gradients of a batch; `counts` says which rows do."""
    counts = np.ones(len(of.loss), bool) if counts is None else counts
    column = counts[:, None]
    return {
        "loss": of.loss[counts].sum() / divisor,
        "logits_grad": np.where(column, of.logits_grad, 0) / divisor,
        "features_grad": np.where(column, of.features_grad, 0) / divisor,
    }


@pytest.mark.parametrize("loss", ["ib", "ib-focal", "cross-entropy"])
@pytest.mark.parametrize("reduction", ["sum", "mean", "weighted-mean"])
def test_weights_at_run_time_in_every_reduction(run_ibgraph, tmp_path, lowering, loss, reduction):
    logits, labels, features = batch()
    weights = np.linspace(0.2, 3, C).astype(np.float32)
    options = [loss, f"--classes={C}", f"--reduction={reduction}", "--runtime-input=class_weights"]
    trained, fed = {"logits": logits, "features": features}, {"labels": labels, "class_weights": weights}
    got = Alone(run_ibgraph, tmp_path, options, lowering, trained, fed)
    divisor = {"sum": 1, "mean": N, "weighted-mean": weights.astype(np.float64)[labels].sum()}[reduction]
    want = sums(rows(logits, labels, features, weights, loss=loss), divisor=divisor)
    assert_agrees(got, want, lowering)


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_operator_sets_that_the_training_reads(run_ibgraph, tmp_path, lowering, opset):
    logits, labels, features = batch()
    trained = {"logits": logits, "features": features}
    got = Alone(run_ibgraph, tmp_path, ["ib", f"--classes={C}"], lowering, trained, {"labels": labels}, opset)
    assert_agrees(got, sums(rows(logits, labels, features), divisor=N), lowering)


def test_ignored_rows_get_exact_zeros_whatever_is_in_them(run_ibgraph, tmp_path, lowering):
    logits, labels, features = batch()
    ignored = np.arange(N) % 3 == 1
    labels[ignored] = -100
    logits[ignored], features[ignored] = np.nan, np.inf
    options = ["ib", f"--classes={C}", "--ignore-index=-100"]
    got = Alone(run_ibgraph, tmp_path, options, lowering, {"logits": logits, "features": features}, {"labels": labels})
    counted = ~ignored
    of = rows(logits[counted], labels[counted], features[counted])
    assert_close(got.loss, of.loss.mean())
    for name, want in (("logits", of.logits_grad), ("features", of.features_grad)):
        assert not got.gradients[name][ignored].any()
        assert_close(got.gradients[name][counted], want / counted.sum(), **ALLOWED[lowering])


@pytest.mark.parametrize("enabled", [False, True])
def test_the_switch_between_the_phases(run_ibgraph, tmp_path, lowering, enabled):
    logits, labels, features = batch()
    if not enabled:
        features[0] = np.nan
    options = ["ib", f"--classes={C}", "--runtime-input=enabled,alpha", "--check-labels"]
    trained = {"logits": logits, "features": features}
    fed = {"labels": labels, "alpha": np.array(250, np.float32), "enabled": np.array(enabled)}
    got = Alone(run_ibgraph, tmp_path, options, lowering, trained, fed)
    of = rows(logits, labels, features, loss="ib" if enabled else "cross-entropy", alpha=250.0)
    want = sums(of, divisor=N)
    if not enabled:
        want["features_grad"] = np.zeros((N, D))
    assert_agrees(got, want, lowering)


@pytest.mark.parametrize("form, shape", [("norm", (N,)), ("norm-column", (N, 1))])
def test_norms_in_place_of_features(run_ibgraph, tmp_path, lowering, form, shape):
    logits, labels, _ = batch()
    norms = np.linspace(0.5, 40, N).astype(np.float32)
    options = ["ib", f"--classes={C}", f"--feature-input={form}"]
    trained = {"logits": logits, "features": norms.reshape(shape)}
    got = Alone(run_ibgraph, tmp_path, options, lowering, trained, {"labels": labels})
    want = sums(rows(logits, labels, norms[:, None]), divisor=N)
    want["features_grad"] = want["features_grad"].reshape(shape)
    assert_agrees(got, want, lowering)


def test_infinite_logits_and_labels_out_of_range(run_ibgraph, tmp_path, lowering):
    logits, labels, features = batch()
    labels[2] = C
    logits[5, np.arange(C) != labels[5]] = -np.inf
    options = ["ib", f"--classes={C}", "--check-labels"]
    got = Alone(run_ibgraph, tmp_path, options, lowering, {"logits": logits, "features": features}, {"labels": labels})
    assert np.isnan(got.loss)
    assert np.isnan(got.gradients["logits"][2]).all()
    assert not got.gradients["logits"][5].any()
    usual = np.delete(np.arange(N), [2, 5])
    of = rows(logits[usual], labels[usual], features[usual])
    assert_close(got.gradients["logits"][usual], of.logits_grad / N, **ALLOWED[lowering])
    assert_close(got.gradients["features"][usual], of.features_grad / N, **ALLOWED[lowering])


# Formulas with every function, and their slopes by u and by h, by hand. With p = sigmoid(-u), q = sigmoid(u) and
# nll = softplus(u): dnll = q, dq = p q, dp = -p q.
FORMULAS = {
    "sqrt(q) * nll": lambda u, p, q, nll, h: (q**0.5 * nll, q**0.5 * q + 0.5 * q**-0.5 * p * q * nll, 0 * h),
    "q ^ g * nll": lambda u, p, q, nll, h: (q**0.7 * nll, q**1.7 + 0.7 * q**-0.3 * p * q * nll, 0 * h),
    "nll ^ q": lambda u, p, q, nll, h: (
        nll**q,
        nll**q * (p * q * np.log(nll) + q * q / nll),
        0 * h,
    ),
    "max(nll, margin * margin) + min(q, 0.5)": lambda u, p, q, nll, h: (
        np.maximum(nll, u * u) + np.minimum(q, 0.5),
        np.where(nll > u * u, q, 2 * u) + np.where(q < 0.5, p * q, 0),
        0 * h,
    ),
    "stop(q) * log(1 + feature_l1) * nll + sign(margin) * nll": lambda u, p, q, nll, h: (
        q * np.log1p(h) * nll + np.sign(u) * nll,
        q * np.log1p(h) * q + np.sign(u) * q,
        q * nll / (1 + h),
    ),
    "abs(margin) * exp(-feature_l1 / 8) - log(p)": lambda u, p, q, nll, h: (
        np.abs(u) * np.exp(-h / 8) + nll,
        np.sign(u) * np.exp(-h / 8) + q,
        -np.abs(u) * np.exp(-h / 8) / 8,
    ),
    "one_minus_exp(-nll) ^ 3 * (2 - p)": lambda u, p, q, nll, h: (
        q**3 * (2 - p),
        3 * q**3 * p * (2 - p) + q**3 * p * q,
        0 * h,
    ),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_of_ones_own(run_ibgraph, tmp_path, lowering, formula):
    source = tmp_path / "mine.yaml"
    source.write_text(f"name: mine\nparameters: {{g: 0.7}}\nloss: {formula}\nreduction: mean\n")
    logits, labels, features = batch()
    trained, fed = {"logits": logits, "features": features}, {"labels": labels}
    got = Alone(run_ibgraph, tmp_path, [source, f"--classes={C}"], lowering, trained, fed)

    z, f = logits.astype(np.float64), features.astype(np.float64)
    everyone = np.arange(N)
    others = z - z[everyone, labels][:, None]
    others[everyone, labels] = -np.inf
    r, u = np.exp(others), np.log(np.exp(others).sum(axis=1))
    q, p, nll = 1 / (1 + np.exp(-u)), 1 / (1 + np.exp(u)), np.logaddexp(0, u)
    value, by_u, by_h = FORMULAS[formula](u, p, q, nll, np.abs(f).sum(axis=1))
    logits_grad = r / r.sum(axis=1, keepdims=True) * by_u[:, None] / N
    logits_grad[everyone, labels] = -by_u / N
    want = {"loss": value.mean(), "logits_grad": logits_grad, "features_grad": np.sign(f) * by_h[:, None] / N}
    assert_agrees(got, want, lowering)
