"""Exported classifiers with a grafted loss, trained by ONNX Runtime Training."""

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from conftest import TESTS
from network import Network
from onnx import helper, numpy_helper
from oracle import assert_close, class_weights, reduced, rows
from training import Training, with_parameters

CLASSIFIERS = ["mlp", "cnn"]
FORMS = {"plain": [], "explicit": ["--explicit-backward"]}

# Of a parameter's gradient, relative to itself and to the gradients of all parameters together: some are exactly zero
# in the reference, and float32 leaves 5e-8 of the total there (tests/data/classifiers/README.md).
PLAIN, EXPLICIT, FLOOR = 1e-4, 5e-5, 2e-7
# Gradients of the loss alone, at the float32 logits and features that the model has.
AT_THE_HEAD = 5e-6
# A loss is a mean of float32 numbers over eight steps, each of which carries on the rounding of the last.
LOSSES = 1e-4
# The optimizer of the references.
ADAMW = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2}
LEARNING_RATE = 1e-4


class Classifier:
    """A folder of tests/data/classifiers."""

    def __init__(self, name: str):
        self.directory = TESTS / "data" / "classifiers" / name
        self.path = self.directory / "model.onnx"
        self.case = yaml.safe_load((self.directory / "case.yaml").read_text())
        files = self.directory / "test_data_set_0"
        tensor = lambda name: numpy_helper.to_array(onnx.load_tensor(files / name))
        self.x, self.labels = tensor("input_0.pb"), tensor("input_1.pb")
        self.gradients = {}
        for path in files.glob("output_*.pb"):
            proto = onnx.load_tensor(path)
            if proto.name.endswith("_grad"):
                self.gradients[proto.name[: -len("_grad")]] = numpy_helper.to_array(proto).astype(np.float64)
        assert len(self.gradients) == self.case["parameters"]
        self.weights = class_weights(self.case["class_counts"], self.case["class_weights"])


@pytest.fixture(params=CLASSIFIERS)
def classifier(request) -> Classifier:
    return Classifier(request.param)


@pytest.fixture(params=FORMS)
def form(request) -> str:
    return request.param


@pytest.fixture
def graft(run_ibgraph, tmp_path, counts):
    """`graft(classifier, model, form)`: the model with the classifier's loss on it."""

    def graft(classifier, model, form) -> onnx.ModelProto:
        output = tmp_path / "grafted.onnx"
        loss = [classifier.case["loss"], f"--class-counts={counts(classifier.case['class_counts'])}"]
        run_ibgraph("graft", model, *loss, "--class-weights=inverse", *FORMS[form], "-o", output)
        return onnx.load(output)

    return graft


def assert_gradients(got: dict, want: dict, tolerance: float):
    total = np.sqrt(sum(np.sum(w**2) for w in want.values()))
    assert total > 0
    for name, w in want.items():
        error = np.linalg.norm(got[name] - w)
        assert error <= tolerance * np.linalg.norm(w) + FLOOR * total, name


def gradients(training: Training, like: dict) -> dict:
    return {name: training.gradient(name, value.shape) for name, value in like.items()}


def test_the_reference_agrees_with_the_stored_gradients(classifier):
    network = Network(onnx.load(classifier.path))
    logits, features = network.forward(classifier.x)
    grads = reduced(rows(logits, classifier.labels, features, classifier.weights), len(classifier.labels))
    got = network.backward(grads["logits_grad"], grads["features_grad"])
    # The stored gradients are rounded to float32.
    assert_gradients(got, classifier.gradients, 1e-7)


def test_gradients_and_losses_follow_the_reference(classifier, form, graft, tmp_path):
    model = graft(classifier, classifier.path, form)
    assert [output.name for output in model.graph.output] == ["loss", "logits"]
    # Artifacts for evaluation keep the extra outputs of batch normalization, which only its training mode has.
    evaluates = not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    training = Training(model, classifier.gradients, tmp_path / "artifacts", ADAMW, evaluates)
    losses = []
    for _ in classifier.case["training_losses"]["adamw"]:
        losses.append(training.forward_and_backward(classifier.x, classifier.labels))
        if len(losses) == 1:
            tolerance = PLAIN if form == "plain" else EXPLICIT
            assert_gradients(gradients(training, classifier.gradients), classifier.gradients, tolerance)
        training.step(LEARNING_RATE)
    np.testing.assert_allclose(losses, classifier.case["training_losses"]["adamw"], rtol=LOSSES)
    if evaluates:
        assert training.evaluate(classifier.x, classifier.labels) < losses[-1]


def at_margin_20(classifier: Classifier, path):
    """The model with a last layer that makes every sample's label lead by 20, written to `path`."""
    model = onnx.load(classifier.path)
    network = Network(model)
    _, features = network.forward(classifier.x)
    random = np.random.default_rng(20)
    everyone = np.arange(len(classifier.labels))
    logits = random.normal(size=(len(everyone), 10))
    logits[everyone, classifier.labels] = -np.inf
    others = np.log(np.exp(logits).sum(axis=1))
    logits[everyone, classifier.labels] = others + 20
    gemm = [node for node in model.graph.node if node.op_type == "Gemm"][-1]
    weight, bias = (network.weights[name] for name in gemm.input[1:])
    # Fewer samples than features, so that there is a layer that gives exactly these logits.
    new = (np.linalg.pinv(features) @ (logits - bias)).T
    assert new.shape == weight.shape
    for tensor in model.graph.initializer:
        if tensor.name == gemm.input[1]:
            tensor.CopyFrom(numpy_helper.from_array(new.astype(np.float32), tensor.name))
    onnx.save(model, path)
    return Network(model)


def float32_head(model, network, x) -> dict:
    """Logits and features as ONNX Runtime computes them."""
    model.graph.output.append(helper.make_empty_tensor_value_info(network.features))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run([network.logits, network.features], {session.get_inputs()[0].name: x})
    return dict(zip(("logits", "features"), values))


def test_the_explicit_backward_is_exact_where_samples_are_sure(classifier, graft, run_ibgraph, counts, tmp_path):
    network = at_margin_20(classifier, tmp_path / "sure.onnx")
    logits, features = network.forward(classifier.x)
    everyone = np.arange(len(classifier.labels))
    margins = logits[everyone, classifier.labels] - np.log(
        np.exp(np.where(np.eye(10)[classifier.labels] == 1, -np.inf, logits)).sum(axis=1)
    )
    np.testing.assert_allclose(margins, 20, atol=1e-3)

    # The gradients of all parameters, by way of the grafted model.
    grafted = graft(classifier, tmp_path / "sure.onnx", "explicit")
    training = Training(grafted, classifier.gradients, tmp_path / "whole")
    training.forward_and_backward(classifier.x, classifier.labels)
    at = lambda z, f: reduced(rows(z, classifier.labels, f, classifier.weights), len(classifier.labels))
    want = at(logits, features)
    want = network.backward(want["logits_grad"], want["features_grad"])
    want = {name: want[name] for name in classifier.gradients}
    assert_gradients(gradients(training, want), want, EXPLICIT)

    # Those of logits and features by themselves, at the float32 values that the model has.
    head = float32_head(onnx.load(tmp_path / "sure.onnx"), network, classifier.x)
    path = tmp_path / "loss.onnx"
    arguments = ["ib", f"--class-counts={counts(classifier.case['class_counts'])}", "--class-weights=inverse"]
    run_ibgraph("emit", *arguments, "--lowering=explicit-backward", "--opset=18", "-o", path)
    alone = Training(with_parameters(path, head), head, tmp_path / "alone")
    alone.forward_and_backward(classifier.labels)
    want = at(head["logits"], head["features"])
    for name, value in head.items():
        got = alone.gradient(name, value.shape)
        assert_close(got, want[f"{name}_grad"], whole=AT_THE_HEAD, row=AT_THE_HEAD)
