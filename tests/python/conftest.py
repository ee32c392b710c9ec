"""Fixtures: the program, graphs that it writes, and ONNX Runtime to run them. `ci/test` sets what they need."""

import ctypes
import json
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from onnx import numpy_helper

ROOT = pathlib.Path(__file__).parent.parent.parent
VECTORS = pathlib.Path(__file__).parent.parent / "data" / "vectors"
DTYPES = {"f32": np.float32, "f64": np.float64, "f16": np.float16, "bf16": ml_dtypes.bfloat16}


def required(variable: str, what: str) -> str:
    """A test that cannot run has failed; none is skipped."""
    value = os.environ.get(variable)
    if not value:
        pytest.fail(f"set {variable} to {what}; ci/test does")
    return value


@pytest.fixture(scope="session")
def run_ibgraph():
    """Runs the program with arguments; the completed process, its output as bytes."""
    program = required("IBGRAPH_BIN", "the built ibgraph program")

    def run(*args) -> subprocess.CompletedProcess:
        return subprocess.run([program, *map(str, args)], capture_output=True, timeout=120)

    return run


@pytest.fixture(scope="session")
def ort_library() -> str:
    return required("IBGRAPH_TEST_ORT", "an ONNX Runtime library")


@pytest.fixture
def emit(run_ibgraph, tmp_path):
    """`emit(*args)`: the path of a new graph."""

    def emit(*args) -> pathlib.Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx"
        done = run_ibgraph("emit", *args, "-o", path)
        assert done.returncode == 0, done.stderr.decode()
        return path

    emit.directory = tmp_path
    return emit


def ok(completed):
    assert completed.returncode == 0, completed.stdout.decode() + completed.stderr.decode()
    return completed.stdout.decode()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """train.npz, test.npz and classifier.onnx of examples/digits."""
    directory = tmp_path_factory.mktemp("digits")
    prepare = [sys.executable, ROOT / "examples/digits/prepare.py", directory, "--seed", "1"]
    ok(subprocess.run(prepare, capture_output=True, timeout=60))
    return directory


@pytest.fixture
def place(digits, tmp_path):
    """A directory of the test's own with the digits in it."""
    for file in digits.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return tmp_path


@pytest.fixture
def ibgraph(place):
    """Runs the program in that directory, with the ONNX Runtime of the tests."""
    program = required("IBGRAPH_BIN", "the built ibgraph program")
    environment = {**os.environ, "ORT_DYLIB_PATH": required("IBGRAPH_TEST_ORT", "an ONNX Runtime library")}

    def run(line):
        words = [program, *line.split()]
        return subprocess.run(words, cwd=place, env=environment, capture_output=True, timeout=300)

    run.popen = lambda line: subprocess.Popen(
        [program, *line.split()], cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    return run


def arrays(path):
    with np.load(path) as archive:
        members = {name: archive[name] for name in archive.files if name != "ibgraph.losses"}
    return {name: value for name, value in members.items() if isinstance(value, np.ndarray)}


def load(path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path, **inputs) -> dict[str, np.ndarray]:
    """Outputs by name. float types of the inputs follow the graph's."""
    session = load(path)
    types = {i.name: i.type for i in session.get_inputs()}
    assert inputs.keys() == types.keys()
    feeds = {name: to_ort(value, types[name]) for name, value in inputs.items()}
    outputs = session.run_with_ort_values(None, feeds)
    return {o.name: to_numpy(value) for o, value in zip(session.get_outputs(), outputs)}


def to_ort(value, ort_type: str) -> onnxruntime.OrtValue:
    of = {"float": "f32", "double": "f64", "float16": "f16", "bfloat16": "bf16"}
    name = of.get(ort_type.removeprefix("tensor(").removesuffix(")"))
    value = np.ascontiguousarray(value, DTYPES.get(name))
    if name == "bf16":
        bits = value.view(np.uint16)
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, onnx.TensorProto.BFLOAT16)
    return onnxruntime.OrtValue.ortvalue_from_numpy(value)


def to_numpy(value: onnxruntime.OrtValue) -> np.ndarray:
    if value.data_type() != "tensor(bfloat16)":
        return value.numpy()
    # numpy has no bfloat16, so ONNX Runtime does not convert one.
    bits = (ctypes.c_uint16 * int(np.prod(value.shape()))).from_address(value.data_ptr())
    return np.array(bits, np.uint16).view(ml_dtypes.bfloat16).reshape(value.shape())


@dataclass
class Vector:
    """A case of tests/data/vectors: what it is, and its tensors by name."""

    case: dict
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]

    def arguments(self, tmp_path: pathlib.Path) -> list[str]:
        """Arguments of `ibgraph emit`, class counts through a file."""
        counts = tmp_path / "counts.json"
        counts.write_text(json.dumps(self.case["class_counts"]))
        weights = self.case.get("class_weights", "none")
        arguments = [self.case["loss"], f"--class-counts={counts}", f"--class-weights={weights}"]
        parameters = ("alpha", "epsilon", "gamma", "beta")
        arguments += [f"--set={name}={self.case[name]}" for name in parameters if name in self.case]
        if "influence_gradient" in self.case:
            arguments.append(f"--influence-gradient={self.case['influence_gradient']}")
        return arguments


def vector(name: str) -> Vector:
    def tensors(kind: str, names: list[str]) -> dict[str, np.ndarray]:
        files = VECTORS / name / "test_data_set_0"
        read = lambda k: numpy_helper.to_array(onnx.load_tensor(files / f"{kind}_{k}.pb"))
        return {tensor: read(k) for k, tensor in enumerate(names)}

    case = yaml.safe_load((VECTORS / name / "case.yaml").read_text())
    inputs = tensors("input", ["logits", "labels", "features"])
    return Vector(case, inputs, tensors("output", ["loss", "logits_grad", "features_grad"]))
