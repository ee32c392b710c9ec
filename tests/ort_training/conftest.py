"""Fixtures: the program, and ONNX Runtime Training. `ci/ort-training` makes the environment that this runs in."""

import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

# ONNX Runtime Training imports its optimizers for PyTorch, and with them PyTorch, which nothing here needs.
optim = types.ModuleType("onnxruntime.training.optim")
optim.__path__ = []
sys.modules["onnxruntime.training.optim"] = optim

TESTS = pathlib.Path(__file__).parent.parent
# The losses in numpy float64, and how outputs are compared.
sys.path.append(str(TESTS / "python"))


@pytest.fixture(scope="session")
def run_ibgraph():
    """Runs the program with arguments; a test that cannot run has failed."""
    program = os.environ.get("IBGRAPH_BIN") or pytest.fail("set IBGRAPH_BIN to the built program; ci/test does")

    def run(*args) -> subprocess.CompletedProcess:
        done = subprocess.run([program, *map(str, args)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def counts(tmp_path):
    """`counts(list)`: a file of class counts."""

    def counts(values) -> pathlib.Path:
        path = tmp_path / "counts.json"
        path.write_text(json.dumps(values))
        return path

    return counts
