"""ONNX's own tests of SoftmaxCrossEntropyLoss, against the built-in cross entropy.

The operator takes [N, C] and [N, C, d1, ...]; the loss takes [N, C]. So the cases of more dimensions run as a user runs
them: classes moved last, and every position a row. The operator's second output, log_prob, is none of the loss's.
"""

import numpy as np
import onnx.backend.test.case.node as operator_tests
import pytest
from conftest import run
from onnx.backend.test.case.node import softmax_cross_entropy_loss  # noqa: F401, fills the list of cases

# ONNX's values are numpy's in float32: a sum of 5 exponentials, a logarithm, and a mean of at most 6,480 rows added
# in pairs, about 20 roundings of 2^-24; the loss's own error is below 2^-23.
FLOAT32 = 22 * 2.0**-24

# The operator's form [N, C], by name; `_log_prob` and `_expanded` variants have the same data.
MATRICES = [
    "test_sce_NCd1d2d3_sum_weight_high_ii",
    "test_sce_mean",
    "test_sce_mean_no_weight_ii",
    "test_sce_mean_weight",
    "test_sce_mean_weight_ii",
    "test_sce_none",
    "test_sce_none_weights",
    "test_sce_sum",
]
# With more dimensions, which the loss does not take as they are.
TENSORS = [
    "test_sce_NCd1_mean_weight_negative_ii",
    "test_sce_NCd1d2d3_none_no_weight_negative_ii",
    "test_sce_NCd1d2d3d4d5_mean_weight",
    "test_sce_NCd1d2d3d4d5_none_no_weight",
    "test_sce_mean_3d",
    "test_sce_mean_no_weight_ii_3d",
    "test_sce_mean_no_weight_ii_4d",
    "test_sce_mean_weight_ii_3d",
    "test_sce_mean_weight_ii_4d",
]

CASES = {case.name: case for case in operator_tests._NodeTestCases if case.name.startswith("test_sce_")}


def plain(name):
    return name.removesuffix("_expanded").removesuffix("_log_prob")


def data(name):
    ((inputs, outputs),) = CASES[name].data_sets
    return inputs, outputs[0]


def test_the_installed_onnx_has_the_cases_that_are_named_here():
    assert {plain(name) for name in CASES} == {*MATRICES, *TENSORS}
    assert all(data(name)[0][0].ndim == 2 for name in MATRICES)
    assert all(data(name)[0][0].ndim > 2 for name in TENSORS)


@pytest.mark.parametrize("name", sorted(CASES))
def test_variants_of_a_case_have_its_data(name):
    (inputs, loss), (others, other_loss) = data(name), data(plain(name))
    assert len(inputs) == len(others) and all(map(np.array_equal, inputs, others))
    assert np.array_equal(loss, other_loss)


@pytest.mark.parametrize("name", MATRICES + TENSORS)
def test_cross_entropy_matches_the_operator(emit, tmp_path, name):
    (logits, labels, *weights), loss = data(name)
    attributes = {a.name: a for a in CASES[name].model.graph.node[0].attribute}
    # The operator's mean is over the weights of the rows that count.
    reduction = attributes["reduction"].s.decode().replace("mean", "weighted-mean")
    arguments = ["cross-entropy", "--classes", logits.shape[1], f"--reduction={reduction}"]
    if "ignore_index" in attributes:
        arguments.append(f"--ignore-index={attributes['ignore_index'].i}")
    inputs = {"logits": np.moveaxis(logits, 1, -1).reshape(-1, logits.shape[1]), "labels": labels.reshape(-1)}
    if weights:
        arguments += ["--runtime-input", "class_weights"]
        inputs["class_weights"] = weights[0]
    if reduction == "none":
        inputs["loss_grad"] = np.ones(labels.size, np.float32)
    got = run(emit(*arguments), **inputs)["loss"].reshape(loss.shape)
    assert got.dtype == loss.dtype == np.float32
    scale = np.abs(loss).max()
    assert np.abs(got - loss).max() <= FLOAT32 * scale, np.abs(got - loss).max() / scale
