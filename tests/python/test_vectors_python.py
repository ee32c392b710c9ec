"""The vectors of tests/data/vectors, through the command line and ONNX Runtime's Python package."""

from collections import defaultdict

import numpy as np
import pytest
from conftest import VECTORS, run, vector
from oracle import DOUBLE, assert_close, class_weights, reduced, rows

LOSSES = ("ib", "ib-focal", "cross-entropy")
NAMES = sorted(path.parent.name for path in VECTORS.glob("*/case.yaml"))
CASES = {name: case for name in NAMES if (case := vector(name)).case["loss"] in LOSSES}

SOME = ["cross_entropy_cb", "ib_128x10x64", "ib_focal_g05", "ib_focal_g2", "ib_margin_20", "ib_stopped"]
TINIEST = np.finfo(np.float64).tiny


def arguments_and_inputs(case, tmp_path):
    inputs = dict(case.inputs)
    if case.case["loss"] == "cross-entropy":
        del inputs["features"]
    return case.arguments(tmp_path), inputs


def assert_outputs(got, want, **tolerances):
    assert list(got) == [name for name in want if name in got]
    for name, value in got.items():
        assert_close(value, want[name], **tolerances)


def test_there_are_vectors_of_every_loss():
    assert {case.case["loss"] for case in CASES.values()} == set(LOSSES)
    assert len(CASES) >= 30


@pytest.mark.parametrize("name", CASES)
def test_the_formulas_that_other_tests_compare_with_agree(name):
    case, inputs, labels = CASES[name].case, CASES[name].inputs, CASES[name].inputs["labels"]
    weights = class_weights(case["class_counts"], case["class_weights"], case.get("beta"))
    parameters = {key: case[key] for key in ("loss", "alpha", "epsilon", "gamma") if key in case}
    of = rows(**inputs, weights=weights, **parameters, stopped=case.get("influence_gradient") == "stopped")
    want = reduced(of, weights[labels].sum() if case["loss"] == "cross-entropy" else len(labels))
    assert_outputs(want, CASES[name].outputs, whole=DOUBLE, row=DOUBLE, smallest=TINIEST)


@pytest.mark.parametrize("name", CASES)
def test_float32_graphs_agree(emit, tmp_path, name):
    arguments, inputs = arguments_and_inputs(CASES[name], tmp_path)
    assert_outputs(run(emit(*arguments), **inputs), CASES[name].outputs)


@pytest.mark.parametrize("name", CASES)
def test_float64_graphs_agree(emit, tmp_path, name):
    arguments, inputs = arguments_and_inputs(CASES[name], tmp_path)
    got = run(emit(*arguments, "--dtype=f64"), **inputs)
    assert_outputs(got, CASES[name].outputs, whole=DOUBLE, row=DOUBLE, smallest=TINIEST)


@pytest.mark.parametrize("opset", [9, 13, 28])
@pytest.mark.parametrize("name", SOME)
def test_the_oldest_and_the_newest_operator_set_agree(emit, tmp_path, name, opset):
    arguments, inputs = arguments_and_inputs(CASES[name], tmp_path)
    assert_outputs(run(emit(*arguments, f"--opset={opset}"), **inputs), CASES[name].outputs)


def same_loss():
    """Groups of vectors with the same shapes and the same mean loss, whose rows can stand in one batch."""
    groups = defaultdict(list)
    for name, case in CASES.items():
        about = {key: value for key, value in case.case.items() if key not in ("note", "torch_float32_relative_error")}
        about["shape"] = [extent for axis, extent in about["shape"].items() if axis != "batch"]
        if about["loss"] != "cross-entropy":
            groups[repr(about)].append(name)
    return [names for names in groups.values() if len(names) > 1]


@pytest.mark.parametrize("names", same_loss(), ids=lambda names: f"{names[0]} and {len(names) - 1} more")
def test_rows_do_not_disturb_each_other(emit, tmp_path, names):
    cases = [CASES[name] for name in names]
    sizes = [len(case.inputs["labels"]) for case in cases]
    order = np.random.default_rng(1).permutation(sum(sizes))
    inputs = {key: np.concatenate([c.inputs[key] for c in cases])[order] for key in cases[0].inputs}
    got = run(emit(*cases[0].arguments(tmp_path)), **inputs)

    # Every mean was over its own rows; now it is over all of them.
    shares = np.array(sizes) / sum(sizes)
    assert_close(got["loss"], sum(share * c.outputs["loss"] for share, c in zip(shares, cases)))
    for key in ("logits_grad", "features_grad"):
        want = np.concatenate([share * c.outputs[key] for share, c in zip(shares, cases)])[order]
        assert_close(got[key], want)
