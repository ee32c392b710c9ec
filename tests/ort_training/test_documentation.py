"""The way that docs/ort-training.md describes, as it stands there."""

import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
from conftest import TESTS
from onnx import numpy_helper

PAGE = TESTS.parent / "docs" / "ort-training.md"


def test_the_documented_script_trains_a_classifier(run_ibgraph, counts, tmp_path):
    script = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)
    classifier = TESTS / "data" / "classifiers" / "mlp" / "model.onnx"
    shutil.copy(classifier, tmp_path / "classifier.onnx")
    # Classes that lie apart, so that there is something to learn.
    random = np.random.default_rng(1)
    labels = random.integers(0, 10, 96)
    x = random.normal(size=(10, 64))[labels] * 2 + random.normal(size=(96, 64))
    np.savez(tmp_path / "data.npz", x=x.astype(np.float32), labels=labels)
    numbers = [int(n) + 1 for n in np.bincount(labels, minlength=10)]
    run_ibgraph(
        "graft", classifier, f"--class-counts={counts(numbers)}", "--class-weights=inverse", "-o", tmp_path / "train.onnx"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    losses = [float(line.split()[1]) for line in done.stdout.splitlines() if re.fullmatch(r"\d+ \S+", line)]
    assert len(losses) == 20
    assert losses[-1] < losses[0] / 2

    before, after = (onnx.load(path).graph.initializer for path in (classifier, tmp_path / "trained.onnx"))
    for old, new in zip(before, after):
        assert old.name == new.name
        assert not np.array_equal(numpy_helper.to_array(old), numpy_helper.to_array(new))
