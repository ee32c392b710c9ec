"""Training with onnxruntime and numpy alone, the loop of the program, and data-parallel training, on the digits."""

import ast
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import required
from onnx import numpy_helper

ROOT = pathlib.Path(__file__).parent.parent.parent
# Ten steps of float32 updates, whose sums the processes add in another order: 10 steps x a few roundings of values below
# 4, each 2**-24 of them, stays far below.
SAME_PARAMETERS = 1e-5


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


def accuracy(place, model):
    session = onnxruntime.InferenceSession(place / model)
    with np.load(place / "test.npz") as test:
        (logits,) = session.run(["logits"], {"x": test["x"]})
        return np.mean(logits.argmax(1) == test["labels"])


def documented_loop():
    text = (ROOT / "docs/train-on-stock-onnxruntime.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return block


def test_the_documented_loop_needs_onnxruntime_and_numpy_alone_and_is_short():
    tree = ast.parse(documented_loop())
    imports = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert sorted(imports) == ["json", "numpy", "onnxruntime"]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert len([line for line in documented_loop().splitlines() if line.strip()]) <= 30


def test_the_documented_loop_trains(ibgraph, place):
    ok(ibgraph("graft classifier.onnx cross-entropy --emit train-step --optimizer adamw -o step.onnx"))
    ok(ibgraph("init step.onnx -o state.npz"))
    (place / "loop.py").write_text(documented_loop())
    text = ok(subprocess.run([sys.executable, "loop.py"], cwd=place, capture_output=True, timeout=300))
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", text)]
    assert len(losses) == 5 and losses[-1] < losses[0] / 3, text
    ok(ibgraph("export classifier.onnx trained.npz -o trained.onnx"))
    before, after = accuracy(place, "classifier.onnx"), accuracy(place, "trained.onnx")
    assert before < 0.3 < 0.6 < after, (before, after)


def test_the_manifest_beside_the_step_is_that_in_its_metadata(ibgraph, place):
    ok(ibgraph("graft classifier.onnx --emit train-step --optimizer momentum --accumulate 2 -o step.onnx"))
    beside = json.loads((place / "step.json").read_text())
    session = onnxruntime.InferenceSession(place / "step.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["ibgraph.train"]) == beside
    inputs = {value.name for value in session.get_inputs()}
    assert inputs == {item["name"] for item in beside["inputs"]} | {
        item["name"] for item in beside["carried"] if item["initial"] == "zeros"
    }
    outputs = {value.name for value in session.get_outputs()}
    assert outputs == {item["name"] for item in beside["outputs"]} | {item["next"] for item in beside["carried"]}
    onnx.checker.check_model(onnx.load(place / "step.onnx"), full_check=True)


def test_export_changes_the_parameters_and_nothing_else(ibgraph, place):
    ok(ibgraph("graft classifier.onnx cross-entropy --emit train-step -o step.onnx"))
    ok(ibgraph("train step.onnx --data train.npz --epochs 1 --lr 1e-3 -o trained.npz"))
    ok(ibgraph("export classifier.onnx trained.npz -o trained.onnx"))
    before, after = (onnx.load(place / name) for name in ("classifier.onnx", "trained.onnx"))
    trained = arrays(place / "trained.npz")
    for old, new in zip(before.graph.initializer, after.graph.initializer, strict=True):
        value = numpy_helper.to_array(new)
        assert np.array_equal(value, trained[new.name]) and not np.array_equal(value, numpy_helper.to_array(old))
        old.raw_data = new.raw_data
    assert before.SerializeToString() == (place / "trained.onnx").read_bytes()
    ok(ibgraph("init step.onnx -o initial.npz"))
    ok(ibgraph("export classifier.onnx initial.npz -o same.onnx"))
    assert (place / "same.onnx").read_bytes() == (place / "classifier.onnx").read_bytes()


RUN = "train step.onnx --data train.npz --epochs {} --batch 16 --lr 3e-3 --lr-drops 3 --first-phase 2 --threads 1 "


def two_phase(ibgraph):
    ok(
        ibgraph(
            "graft classifier.onnx ib --runtime-input enabled,class_weights --emit train-step --optimizer adamw "
            "--clip-norm 10 -o step.onnx"
        )
    )


def test_a_run_in_two_parts_ends_as_one_in_one_piece(ibgraph, place):
    two_phase(ibgraph)
    run = RUN + "--class-weights inverse "
    whole = ok(ibgraph(run.format(4) + "--validation test.npz -o whole.npz --curve loss.svg --json run.json"))
    ok(ibgraph(run.format(2) + "-o part.npz"))
    ok(ibgraph(run.format(4) + "--resume part.npz -o part.npz"))
    whole_arrays, part_arrays = arrays(place / "whole.npz"), arrays(place / "part.npz")
    assert whole_arrays.keys() == part_arrays.keys() and len(whole_arrays) == 24
    for name, value in whole_arrays.items():
        assert np.array_equal(value, part_arrays[name]), name
    assert (place / "whole.npz").read_bytes() == (place / "part.npz").read_bytes()
    report = json.loads((place / "run.json").read_text())
    assert len(report["epochs"]) == 4 and len(report["epochs"][-1]["classes"]) == 10
    assert f"{100 * report['epochs'][-1]['accuracy']:.2f} %" in whole
    assert (place / "loss.svg").read_text().startswith("<svg")


def test_a_run_that_is_interrupted_goes_on_as_if_it_had_not_been(ibgraph, place):
    two_phase(ibgraph)
    ok(ibgraph(RUN.format(30) + "-o whole.npz"))
    child = ibgraph.popen(RUN.format(30) + "-o part.npz")
    while not (place / "part.npz").exists() and child.poll() is None:
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, (child.returncode, out, err)
    assert b"--resume part.npz" in out
    assert not [name for name in os.listdir(place) if name.startswith(".ibgraph")]
    ok(ibgraph(RUN.format(30) + "--resume part.npz -o part.npz"))
    assert (place / "whole.npz").read_bytes() == (place / "part.npz").read_bytes()


def test_what_is_no_step_is_refused(ibgraph, place):
    ok(ibgraph("graft classifier.onnx --emit loss-grad -o loss.onnx"))
    ok(ibgraph("graft classifier.onnx --emit train-step -o step.onnx"))
    ok(ibgraph("graft classifier.onnx --emit gradients -o gradients.onnx"))
    ok(ibgraph("graft classifier.onnx --emit apply -o apply.onnx"))
    assert "a training step" in ok(ibgraph("inspect step.onnx"))
    np.savez(place / "wrong.npz", x=np.zeros((3, 1, 8, 8), np.float32), labels=np.zeros(4, np.int64))
    for line, words in [
        ("train classifier.onnx --data train.npz --lr 1 -o t.npz", "--emit train-step"),
        ("train gradients.onnx --data train.npz --lr 1 -o t.npz", "--emit train-step"),
        ("train step.onnx --data test.onnx --lr 1 -o t.npz", "cannot read test.onnx"),
        ("train step.onnx --data wrong.npz --lr 1 -o t.npz", "3 rows"),
        ("train step.onnx --data train.npz --lr 1 --resume train.npz -o t.npz", "--from"),
        ("train step.onnx --data train.npz --lr 1 -o step.onnx", "name another file"),
        ("init classifier.onnx -o t.npz", "--emit train-step"),
        ("export classifier.onnx train.npz -o t.onnx", "no array that is a parameter"),
        ("graft classifier.onnx --optimizer sgd -o t.onnx", "--optimizer has no use with --emit loss"),
        ("graft classifier.onnx --emit train-step --optimizer sgd --betas 0.9,0.99 -o t.onnx", "--betas"),
        ("graft classifier.onnx --emit train-step --clip-norm 0 -o t.onnx", "clip norm is 0"),
        ("graft classifier.onnx --emit train-step --freeze nothing* -o t.onnx", "--freeze nothing*"),
        ("graft step.onnx --emit train-step -o t.onnx", "already"),
        ("check step.onnx", "--emit loss-grad"),
        ("check apply.onnx", "no loss specification"),
    ]:
        failed = ibgraph(line)
        assert failed.returncode == 2, (line, failed)
        assert words in failed.stderr.decode(), (line, failed.stderr)
        assert not (place / "t.npz").exists() and not (place / "t.onnx").exists(), line


@pytest.mark.parametrize("optimizer", ["momentum", "adamw --clip-norm 2"])
def test_two_processes_end_where_one_does(ibgraph, place, optimizer):
    ok(ibgraph("graft classifier.onnx cross-entropy --emit gradients -o gradients.onnx"))
    ok(ibgraph(f"graft classifier.onnx cross-entropy --emit apply --optimizer {optimizer} -o apply.onnx"))
    ok(ibgraph("init gradients.onnx -o parameters.npz"))
    ok(ibgraph("init apply.onnx -o state.npz"))
    mpiexec = pathlib.Path(sys.executable).parent / "mpiexec"
    example = [sys.executable, ROOT / "examples/data_parallel.py", "--data", "train.npz", "--lr", "0.01"]
    for processes in (1, 2):
        run = [mpiexec, "-n", str(processes), *example, "-o", f"on_{processes}.npz"]
        text = ok(subprocess.run(run, cwd=place, capture_output=True, timeout=120))
        assert text.count("step") == 10, text
    one, two = arrays(place / "on_1.npz"), arrays(place / "on_2.npz")
    initial = arrays(place / "parameters.npz")
    assert one.keys() == two.keys() and initial.keys() <= one.keys()
    for name, value in one.items():
        assert np.abs(value - two[name]).max() <= SAME_PARAMETERS, name
    moved = [np.abs(one[name] - value).max() for name, value in initial.items()]
    assert min(moved) > 100 * SAME_PARAMETERS, "what did not move proves nothing"
