"""Grafted classifiers are valid ONNX, in whose messages the classifier is found again whole."""

import pathlib

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import checker

DATA = pathlib.Path(__file__).parent.parent / "data"
CASES = sorted((DATA / "graft_cases").glob("*.onnx"))
REFUSED = {"bad_external_path", "cycle", "dangling", "not_onnx", "truncated"}
MODELS = [path for path in CASES if path.stem not in REFUSED]
MODELS += [DATA / "exports" / "keras_cnn.onnx"]
MODELS += [DATA / "classifiers" / name / "model.onnx" for name in ("mlp", "cnn")]


@pytest.mark.parametrize("emit", ["loss", "loss-grad"])
@pytest.mark.parametrize("model", MODELS, ids=lambda path: f"{path.parent.stem}-{path.stem}")
def test_a_graft_is_valid_and_holds_the_classifier(model, emit, run_ibgraph, tmp_path):
    grafted = tmp_path / "grafted.onnx"
    done = run_ibgraph("graft", model, "--emit", emit, "-o", grafted)
    assert done.returncode == 0, done.stderr.decode()
    checker.check_model(grafted, full_check=True)
    before = onnx.load(model, load_external_data=False)
    after = onnx.load(grafted, load_external_data=False)
    added = len(after.graph.output) - len(before.graph.output)
    assert added == (1 if emit == "loss" else 3)
    del after.graph.output[slice(1) if emit == "loss" else slice(-added, None)]
    for field in ("node", "initializer", "input", "value_info"):
        del getattr(after.graph, field)[len(getattr(before.graph, field)) :]
    del after.metadata_props[len(before.metadata_props) :]
    assert after == before


def test_there_are_as_many_models_as_thought():
    assert len(CASES) == 15 and len(MODELS) == 13


def test_functions_are_written_out_as_onnx_runtime_does_it(run_ibgraph, tmp_path):
    """ONNX Runtime writes them out by itself, as another implementation of the same rules."""
    model = DATA / "functions" / "layers.onnx"
    grafted = tmp_path / "grafted.onnx"
    done = run_ibgraph("graft", model, "--emit", "gradients", "-o", grafted)
    assert done.returncode == 0, done.stderr.decode()
    checker.check_model(grafted, full_check=True)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    outputs = ["logits", "aside"]
    want = ort.InferenceSession(model).run(outputs, {"x": x})
    got = ort.InferenceSession(grafted).run(outputs, {"x": x, "labels": np.array([0, 1, 2, 0])})
    for name, a, b in zip(outputs, got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6, err_msg=name)
