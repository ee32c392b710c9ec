"""ONNX Runtime Training as a peer of the benchmark: every classifier's step follows the float64 reference."""

import sys

import numpy as np
import pytest
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


def test_an_optimizer_that_it_does_not_have_is_named():
    from ort_training import load

    with pytest.raises(ValueError, match="it has no momentum"):
        load({"threads": 1, "step": {"recipe": {"optimizer": {"name": "momentum"}}}})
