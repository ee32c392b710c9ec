"""ONNX Runtime Training as a peer of the benchmark: losses and every classifier's step follow the float64 reference."""

import sys

import numpy as np
import pytest
from oracle import class_weights, reduced, rows
from test_classifiers import ADAMW, LOSSES, Classifier

from conftest import TESTS

sys.path.append(str(TESTS.parent / "benches" / "peers"))

# What stands in the note is what the release cannot differentiate as it was exported.
CASES = {"cnn": None, "resnet": "AveragePool", "mobilenet": "HardSwish", "vit": "LayerNormalization"}


@pytest.mark.parametrize("name", CASES)
def test_a_step_follows_the_reference_and_says_what_was_put_in_place(name, run_ibgraph, counts, tmp_path):
    from ort_training import load

    classifier = Classifier(name)
    loss = [classifier.case["loss"], f"--class-counts={counts(classifier.case['class_counts'])}"]
    run_ibgraph("graft", classifier.path, *loss, "--class-weights=inverse", "-o", tmp_path / "loss.onnx")
    batch = classifier.x.tobytes() + classifier.labels.tobytes()
    (tmp_path / "inputs.bin").write_bytes(2 * batch)
    rule = {"name": "adamw", "beta1": ADAMW["betas"][0], "beta2": ADAMW["betas"][1], "epsilon": ADAMW["eps"]}
    step = {
        "model": str(tmp_path / "loss.onnx"),
        "parameters": list(classifier.gradients),
        "shape": classifier.x.shape[1:],
        "reference_rows": len(classifier.labels),
        "recipe": {"optimizer": rule, "weight_decay": ADAMW["weight_decay"]},
    }
    request = {"rows": len(classifier.labels), "threads": 1, "sets": 1, "file": tmp_path / "inputs.bin", "step": step}
    peer = load(request)
    want = classifier.case["training_losses"]["adamw"]
    np.testing.assert_allclose(peer.losses(1e-4, len(want)), want, rtol=LOSSES)
    # What is timed is the same step, from the parameters of the file, with a learning rate of 0.
    for _ in range(3):
        again = peer.train(*peer.sets[0])
        assert abs(float(again.numpy().reshape(-1)[0]) / want[0] - 1) < LOSSES
    note = CASES[name]
    assert (note is None and peer.note is None) or note in peer.note


def test_a_loss_by_itself_is_differentiated_as_a_graph(run_ibgraph, counts, tmp_path):
    from ort_training import load

    random = np.random.default_rng(4)
    n, c, d, class_counts = 6, 5, 3, [50, 20, 9, 4, 2]
    arguments = ["ib", f"--class-counts={counts(class_counts)}", "--class-weights=inverse"]
    run_ibgraph("emit", *arguments, "--lowering=trainable", "-o", tmp_path / "loss.onnx")
    sets = []
    for _ in range(2):
        logits, features = (random.normal(size=shape).astype(np.float32) for shape in ((n, c), (n, d)))
        sets.append((logits, random.integers(0, c, n), features))
    (tmp_path / "inputs.bin").write_bytes(b"".join(value.tobytes() for one in sets for value in one))
    sizes = {"rows": n, "classes": c, "features": d, "uses_features": True, "dtype": "f32"}
    files = {"sets": 2, "file": tmp_path / "inputs.bin", "model": str(tmp_path / "loss.onnx")}
    peer = load({"threads": 1, **sizes, **files})
    got = peer.compute()
    logits, labels, features = sets[0]
    want = reduced(rows(logits, labels, features, class_weights(class_counts, "inverse")), n)
    assert set(got) == {"loss", "logits_grad", "features_grad"}
    for name, value in got.items():
        np.testing.assert_allclose(value, want[name], rtol=2e-5, atol=2e-5 * np.abs(want[name]).max())
    with pytest.raises(ValueError, match="float32"):
        load({**sizes, **files, "threads": 1, "dtype": "f16"})


def test_an_optimizer_that_it_does_not_have_is_named():
    from ort_training import load

    with pytest.raises(ValueError, match="it has no momentum"):
        load({"threads": 1, "step": {"recipe": {"optimizer": {"name": "momentum"}}}})
