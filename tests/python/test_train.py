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
from conftest import arrays, ok, required
from onnx import numpy_helper

ROOT = pathlib.Path(__file__).parent.parent.parent
# Ten steps of float32 updates, whose sums the processes add in another order: 10 steps x a few roundings of values below
# 4, each 2**-24 of them, stays far below.
SAME_PARAMETERS = 1e-5


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
    (place / "counts.json").write_text("[120, 82, 56, 39, 26, 18, 12, 9, 6, 4]")
    np.savez(place / "wrong.npz", x=np.zeros((3, 1, 8, 8), np.float32), labels=np.zeros(4, np.int64))
    for line, words in [
        ("train classifier.onnx --data train.npz --lr 1 -o t.npz", "--emit train-step"),
        ("train gradients.onnx --data train.npz --lr 1 -o t.npz", "--emit train-step"),
        ("train step.onnx --data test.onnx --lr 1 -o t.npz", "cannot read test.onnx"),
        ("train step.onnx --data wrong.npz --lr 1 -o t.npz", "3 rows"),
        ("train step.onnx --data train.npz --lr 1 --resume train.npz -o t.npz", "--from"),
        ("train step.onnx --data train.npz --lr 1 -o step.onnx", "name another file"),
        ("train step.onnx --data train.npz --lr 1 -o none/t.npz", "there is no directory none"),
        ("train step.onnx --data train.npz --lr 1 --curve none/t.svg -o t.npz", "there is no directory none"),
        ("train step.onnx --data train.npz --lr 1 --json none/t.json -o t.npz", "there is no directory none"),
        ("train step.onnx --data train.npz --lr 1 --batch 100000 -o t.npz", "give --batch a number from 1 to"),
        ("train step.onnx --data train.npz --lr=-1 -o t.npz", "give --lr a finite number that is not negative"),
        ("train step.onnx --data train.npz --lr 1 --epochs 0 -o t.npz", "--epochs 0 leaves nothing to train"),
        ("init classifier.onnx -o t.npz", "--emit train-step"),
        ("export classifier.onnx train.npz -o t.onnx", "no array that is a parameter"),
        ("graft classifier.onnx --optimizer sgd -o t.onnx", "--optimizer has no use with --emit loss"),
        ("graft classifier.onnx --emit train-step --optimizer sgd --betas 0.9,0.99 -o t.onnx", "--betas"),
        ("graft classifier.onnx --emit train-step --clip-norm 0 -o t.onnx", "clip norm is 0"),
        ("graft classifier.onnx --emit train-step --freeze nothing* -o t.onnx", "--freeze nothing*"),
        ("graft step.onnx --emit train-step -o t.onnx", "already"),
        ("graft classifier.onnx --emit train-step -o counts.onnx", "counts.json, which is another file"),
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


CNN = ROOT / "tests/data/classifiers/cnn"


@pytest.fixture
def cnn(place):
    """A classifier with BatchNormalization, exported in training mode, and six samples for it."""
    (place / "cnn.onnx").write_bytes((CNN / "model.onnx").read_bytes())
    x, labels = (
        numpy_helper.to_array(onnx.load_tensor(CNN / f"test_data_set_0/input_{k}.pb")) for k in range(2)
    )
    np.savez(place / "six.npz", x=x, labels=labels)
    return onnx.load(place / "cnn.onnx"), x


def test_running_statistics_are_carried_like_parameters(ibgraph, place, cnn):
    model, x = cnn
    layers = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    successors = {node.input[k]: node.output[k - 2] for node in layers for k in (3, 4)}
    assert len(successors) >= 4
    # What ONNX Runtime itself makes of the classifier's statistics in one run.
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in successors.values())
    session = onnxruntime.InferenceSession(model.SerializeToString())
    expected = dict(zip(successors, session.run(list(successors.values()), {"x": x})))
    ok(ibgraph("graft cnn.onnx --emit train-step --optimizer sgd -o step.onnx"))
    ok(ibgraph("train step.onnx --data six.npz --epochs 1 --batch 6 --lr 1e-6 -o trained.npz"))
    trained, initial = arrays(place / "trained.npz"), {t.name: t for t in model.graph.initializer}
    for name, value in expected.items():
        assert np.allclose(trained[name], value, rtol=1e-5, atol=1e-7), name
        assert not np.allclose(trained[name], numpy_helper.to_array(initial[name])), name
    ok(ibgraph("export cnn.onnx trained.npz -o trained.onnx"))
    exported = {t.name: numpy_helper.to_array(t) for t in onnx.load(place / "trained.onnx").graph.initializer}
    assert all(np.array_equal(exported[name], trained[name]) for name in expected)


def test_a_classifier_in_training_mode_is_measured_in_another_mode_only(ibgraph, place, cnn):
    model, _ = cnn
    ok(ibgraph("graft cnn.onnx --emit train-step --optimizer sgd -o step.onnx"))
    run = "train step.onnx --data six.npz --epochs 1 --batch 6 --lr 1e-6 --validation six.npz -o trained.npz"
    failed = ibgraph(run)
    assert failed.returncode == 2 and b"--classifier" in failed.stderr, failed
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            del node.output[1:]
            kept = [attribute for attribute in node.attribute if attribute.name != "training_mode"]
            del node.attribute[:]
            node.attribute.extend(kept)
    onnx.save(model, place / "inference.onnx")
    text = ok(ibgraph(f"{run} --classifier inference.onnx"))
    ok(ibgraph("export inference.onnx trained.npz -o trained.onnx"))
    with np.load(place / "six.npz") as six:
        session = onnxruntime.InferenceSession(place / "trained.onnx")
        right = np.mean(session.run(["logits"], {"x": six["x"]})[0].argmax(1) == six["labels"])
    assert f"all samples {100 * right:8.2f} %" in text, (right, text)


def test_a_half_precision_classifier_trains_with_a_loss_scale(ibgraph, place):
    random = np.random.default_rng(0)
    halves = {
        "first": random.normal(0, 0.15, (64, 32)),
        "bias": np.zeros(32),
        "last": random.normal(0, 0.15, (32, 10)),
    }
    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "first", "bias"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["features"]),
            helper.make_node("MatMul", ["features", "last"], ["logits"]),
        ],
        "half",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, ["batch", 64])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT16, ["batch", 10])],
        [numpy_helper.from_array(value.astype(np.float16), name) for name, value in halves.items()],
    )
    onnx.save(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)]), place / "half.onnx"
    )
    with np.load(place / "train.npz") as train:
        np.savez(place / "flat.npz", x=train["x"].reshape(-1, 64), labels=train["labels"])
    ok(ibgraph("graft half.onnx cross-entropy --emit train-step --optimizer adamw --loss-scale -o step.onnx"))
    ok(
        ibgraph(
            "train step.onnx --data flat.npz --epochs 12 --batch 32 --lr 1e-2 --validation flat.npz --loss-scale 1e39 "
            "-o trained.npz --json run.json"
        )
    )
    run = json.loads((place / "run.json").read_text())
    epochs, position = run["epochs"], run["position"]
    # The first scales are infinite in float32, in which ONNX Runtime's CPU provider computes: no step is made from such
    # gradients, and each halves the scale.
    left_out = position["runs"] - position["updates"]
    assert 0 < left_out < 30 and position["loss_scale"] == 1e39 / 2**left_out, position
    assert epochs[-1]["loss"] < epochs[0]["loss"] / 4 and epochs[-1]["accuracy"] > 0.9, epochs
    trained = arrays(place / "trained.npz")
    for name in halves:
        assert trained[name].dtype == np.float16 and trained[f"{name}_master"].dtype == np.float32
        assert np.array_equal(trained[name], trained[f"{name}_master"].astype(np.float16)), name


def test_the_comparison_of_losses_on_the_digits_runs(tmp_path):
    script = ROOT / "examples/digits/compare.py"
    program = required("IBGRAPH_BIN", "the built ibgraph program")
    environment = {**os.environ, "ORT_DYLIB_PATH": required("IBGRAPH_TEST_ORT", "an ONNX Runtime library")}
    words = [sys.executable, script, "--seeds", "1", "--epochs", "8", "--ibgraph", program]
    ok(subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, timeout=300))
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results) == 4
    # The four largest classes are learnt within eight epochs by every loss.
    for name, runs in results.items():
        assert np.mean(runs[0][:4]) > 0.7, (name, runs)
