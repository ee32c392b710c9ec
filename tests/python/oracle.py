"""The losses and their gradients in numpy float64, straight from the formulas, and how outputs are compared.

Everything is a function of a row's margin u = logsumexp over j != y of (z_j - z_y): with p = sigmoid(-u) and
q = 1 - p = sigmoid(u), cross entropy is softplus(u), |softmax - onehot|_1 is 2q, and dL/dz_j = L'(u) r_j for the
other classes (r is the softmax over them alone), dL/dz_y = -L'(u).
"""

from dataclasses import dataclass

import numpy as np

# float32 graphs: what is left of the float64 row arithmetic is float32 work on [N, C], about 17 roundings of 2^-24.
WHOLE = 1e-6
ROW = 2e-6
# float64 graphs: four digits go where the two parts of an influence gradient nearly cancel.
DOUBLE = 1e-11
# Half a unit in the last place, relative.
ROUNDING = {"f16": 2.0**-11, "bf16": 2.0**-8}


def class_weights(counts, kind, beta=None):
    """Class weights [C] from counts, normalised to sum to C; Cui et al., CVPR 2019, for effective numbers."""
    n = np.asarray(counts, np.float64)
    raw = {"none": lambda: n**0, "inverse": lambda: 1 / n, "effective": lambda: (1 - beta) / (1 - beta**n)}[kind]()
    return raw * len(n) / raw.sum()


@dataclass
class Rows:
    """One row a sample, not reduced: losses [N], their gradients [N, C] and [N, D], and row entries [N]."""

    loss: np.ndarray
    logits_grad: np.ndarray
    features_grad: np.ndarray
    influence_weight: np.ndarray


def rows(logits, labels, features, weights=None, *, loss="ib", alpha=1000.0, epsilon=1e-3, gamma=1.0, stopped=False):
    """The loss of every row. `weights` are class weights [C]; `features` [N, D], unused by cross-entropy."""
    z, f = np.asarray(logits, np.float64), np.asarray(features, np.float64)
    everyone = np.arange(len(z))
    w = np.ones(len(z)) if weights is None else np.asarray(weights, np.float64)[labels]

    others = z - z[everyone, labels][:, None]
    others[everyone, labels] = -np.inf
    top = others.max(axis=1)
    r = np.exp(others - top[:, None])
    u = top + np.log(r.sum(axis=1))
    r /= r.sum(axis=1, keepdims=True)

    nll = np.logaddexp(0, u)
    q, p = np.exp(-np.logaddexp(0, -u)), np.exp(-nll)
    h = np.abs(f).sum(axis=1)
    s = 2 * q * h + epsilon
    influence = alpha / s
    assert loss in ("ib", "ib-focal", "cross-entropy")
    if loss == "cross-entropy":
        value, du, dh = w * nll, w * q, 0 * h
    else:
        # d influence = -influence / s (2 h pq du + 2 q dh); stopped, it is a constant.
        flow = 0.0 if stopped else influence / s
        value = w * nll * influence
        du = w * q * influence - w * nll * flow * 2 * h * p * q
        dh = -w * nll * flow * 2 * q
        if loss == "ib-focal":
            # (1 - exp(-m))^gamma of the weighted cross entropy m.
            m = w * nll
            factor = (-np.expm1(-m)) ** gamma
            slope = gamma * (-np.expm1(-m)) ** (gamma - 1) * np.exp(-m) * w * q
            value, du, dh = value * factor, du * factor + value * slope, dh * factor
    logits_grad = r * du[:, None]
    logits_grad[everyone, labels] = -du
    return Rows(value, logits_grad, np.sign(f) * dh[:, None], influence)


def reduced(of: Rows, divisor: float):
    """Loss, logits_grad and features_grad of a batch whose sum is divided by `divisor`."""
    return {
        "loss": of.loss.sum() / divisor,
        "logits_grad": of.logits_grad / divisor,
        "features_grad": of.features_grad / divisor,
    }


def assert_close(got, want, whole=WHOLE, row=ROW, smallest=np.finfo(np.float32).tiny):
    """Relative errors of the whole and of the worst row, in the Euclidean norm; nothing but zero is close to zero.

    A norm over a batch hides wrong rows, so rows count by themselves. Magnitudes below the smallest normal number are
    zero. NaN and infinity are never close.
    """
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape
    assert np.isfinite(got).all()
    got, want = (np.where(np.abs(x) < smallest, 0, x) for x in (got, want))
    assert relative(got.ravel(), want.ravel()) <= whole
    if got.ndim == 2:
        assert max(map(relative, got, want)) <= row


def relative(got, want):
    # Divided by the largest magnitude first: squares of numbers below 1e-154 would vanish.
    size = np.abs(want).max(initial=0)
    if size == 0:
        return 0.0 if not got.any() else np.inf
    return np.linalg.norm((got - want) / size) / np.linalg.norm(want / size)
