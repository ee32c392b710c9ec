"""The operator library from Python, on the newest and on the oldest ONNX Runtime that it is for."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import required, vector
from onnx import checker
from oracle import assert_close

OLDEST = "1.20.1"
NAMES = ["cross_entropy_cb", "ib_128x10x64", "ib_6x1000x512", "ib_focal_g05", "ib_margin_20", "ib_stopped"]


@pytest.fixture(params=["newest", "oldest"])
def packages(request) -> tuple[str, str]:
    """Version of ONNX Runtime, and the directory of its packages."""
    if request.param == "newest":
        return onnxruntime.__version__, str(Path(onnxruntime.__file__).parent.parent)
    return OLDEST, required("IBGRAPH_TEST_OLDEST", f"a directory with the package onnxruntime=={OLDEST}")


@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_runs_in_python(emit, tmp_path, packages, name):
    version, site = packages
    case = vector(name)
    model = emit(*case.arguments(tmp_path), "--lowering", "fused")
    inputs = {port.name for port in onnx.load(model).graph.input}
    np.savez(tmp_path / "in.npz", **{k: v for k, v in case.inputs.items() if k in inputs})
    script = Path(__file__).with_name("fused_session.py")
    library = required("IBGRAPH_OPS", "the built operator library")
    arguments = [library, model, tmp_path / "in.npz", tmp_path / "out.npz"]
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": site},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(version)
    # The body of the function would not name the row.
    assert "row 0: the label is -1" in done.stdout
    for output, value in np.load(tmp_path / "out.npz").items():
        assert_close(value, case.outputs[output])


@pytest.mark.parametrize("opset", [13, 18, 28])
def test_a_fused_file_is_valid_onnx_whose_body_runs_without_the_library(emit, tmp_path, opset):
    case = vector("ib_margin_20")
    model = emit(*case.arguments(tmp_path), "--lowering=fused", f"--opset={opset}")
    checker.check_model(str(model), full_check=True)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for name, value in zip(names, session.run(None, case.inputs)):
        assert_close(value, case.outputs[name])
