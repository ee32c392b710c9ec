"""Runs of training whose data, seeds and engines are unusual, on the digits."""

import json

import numpy as np
import onnx
from conftest import arrays, ok
from onnx import numpy_helper


def two_layers(path, dropout):
    """A classifier of the digits with 32 hidden values, in training mode half of which are dropped where asked for."""
    random = np.random.default_rng(5)
    stored = {"w1": random.normal(0, 0.2, (64, 32)), "w2": random.normal(0, 0.2, (32, 10)), "ratio": np.array(0.5)}
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in stored.items()]
    tensors.append(numpy_helper.from_array(np.array(True), "on"))
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 1, 8, 8])
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 10])
    drop = onnx.helper.make_node("Dropout", ["hidden", "ratio", "on"], ["kept", "mask"], seed=3)
    nodes = [
        onnx.helper.make_node("Flatten", ["x"], ["pixels"]),
        onnx.helper.make_node("MatMul", ["pixels", "w1"], ["hidden"]),
        drop if dropout else onnx.helper.make_node("Relu", ["hidden"], ["kept"]),
        onnx.helper.make_node("MatMul", ["kept", "w2"], ["logits"]),
    ]
    graph = onnx.helper.make_graph(nodes, "two_layers", [x], [logits], tensors if dropout else tensors[:2])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def test_the_seed_of_a_run_decides_what_dropout_drops(ibgraph, place):
    two_layers(place / "dropout.onnx", dropout=True)
    ok(ibgraph("graft dropout.onnx cross-entropy --emit train-step -o step.onnx"))
    # The learning rate 0 leaves the parameters, and one batch is all samples: only the masks tell the losses apart.
    samples = len(arrays(place / "train.npz")["labels"])
    line = f"train step.onnx --data train.npz --batch {samples} --lr 0"

    def losses(name):
        with np.load(place / name) as archive:
            return archive["ibgraph.losses"].tolist()

    for name, options in {
        "a.npz": "--seed 1 --epochs 4",
        "b.npz": "--seed 1 --epochs 4",
        "other.npz": "--seed 2 --epochs 4",
        "part.npz": "--seed 1 --epochs 1",
        "resumed.npz": "--seed 1 --epochs 4 --resume part.npz",
    }.items():
        ok(ibgraph(f"{line} {options} -o {name}"))
    assert losses("a.npz") == losses("b.npz") == losses("resumed.npz")
    drawn = losses("a.npz") + losses("other.npz")
    # Sums of float32 in another order differ by some 1e-7; masks change the loss by percents.
    assert min(abs(a - b) for k, a in enumerate(drawn) for b in drawn[:k]) > 1e-5, drawn


def test_labels_that_are_no_class_stop_a_run_before_it_starts(ibgraph, place):
    ok(ibgraph("graft classifier.onnx cross-entropy --emit train-step -o step.onnx"))
    data = arrays(place / "train.npz")
    for label in (-1, 10, 2**62):
        labels = np.where(np.arange(len(data["labels"])) == 7, label, data["labels"])
        np.savez(place / "wrong.npz", x=data["x"], labels=labels)
        done = ibgraph("train step.onnx --data wrong.npz --epochs 1 --lr 1e-3 -o trained.npz")
        assert done.returncode == 2 and f"row 7 has label {label}" in done.stderr.decode(), done.stderr
    done = ibgraph("train step.onnx --data train.npz --validation wrong.npz --epochs 1 --lr 1e-3 -o trained.npz")
    assert done.returncode == 2 and "row 7 has label" in done.stderr.decode(), done.stderr
    assert not (place / "trained.npz").exists()


def test_rows_that_do_not_count_are_neither_weighed_nor_measured(ibgraph, place):
    ok(
        ibgraph(
            "graft classifier.onnx cross-entropy --emit train-step --ignore-index 255"
            " --runtime-input class_weights -o step.onnx"
        )
    )
    data = arrays(place / "train.npz")
    labels = np.where(np.arange(len(data["labels"])) % 3 == 0, 255, data["labels"])
    np.savez(place / "some.npz", x=data["x"], labels=labels)
    run = "train step.onnx --data some.npz --validation some.npz --class-weights inverse --epochs 1 --lr 1e-3"
    ok(ibgraph(f"{run} -o trained.npz --json report.json"))
    classes = json.loads((place / "report.json").read_text())["epochs"][-1]["classes"]
    assert [of["samples"] for of in classes] == np.bincount(labels[labels != 255], minlength=10).tolist()


def test_few_samples_are_measured_in_a_graph_of_a_fixed_batch(ibgraph, place):
    model = onnx.load(place / "classifier.onnx")
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 32
    onnx.save(model, place / "fixed.onnx")
    ok(ibgraph("graft fixed.onnx cross-entropy --emit train-step -o step.onnx"))
    data = arrays(place / "train.npz")
    np.savez(place / "few.npz", x=data["x"][:5], labels=data["labels"][:5])
    text = ok(ibgraph("train step.onnx --data train.npz --validation few.npz --batch 32 --epochs 1 --lr 1e-3 -o t.npz"))
    assert "all samples" in text


def test_the_embedded_engine_trains_too(ibgraph, place):
    two_layers(place / "plain.onnx", dropout=False)
    ok(ibgraph("graft plain.onnx cross-entropy --emit train-step --optimizer sgd -o step.onnx"))
    final = {}
    for engine in ("ort", "embedded"):
        ok(ibgraph(f"train step.onnx --data train.npz --epochs 1 --lr 1e-2 --engine {engine} -o {engine}.npz"))
        final[engine] = arrays(place / f"{engine}.npz")
    ok(ibgraph("init step.onnx -o start.npz"))
    for name, start in arrays(place / "start.npz").items():
        moved = np.abs(final["ort"][name] - start).max()
        assert moved > 0 and np.abs(final["ort"][name] - final["embedded"][name]).max() < moved / 100, name


def test_nothing_is_written_over_what_a_command_reads(ibgraph, place):
    ok(ibgraph("graft classifier.onnx cross-entropy --emit train-step -o step.onnx"))
    ok(ibgraph("init step.onnx -o state.npz"))
    (place / "own.npz").write_bytes((place / "train.npz").read_bytes())
    train = "train step.onnx --data own.npz --epochs 1 --lr 1e-3"
    before = {name: (place / name).read_bytes() for name in ("own.npz", "step.onnx", "state.npz")}
    for line, words in {
        f"{train} -o own.npz": "own.npz, which this command reads",
        f"{train} -o out.npz --curve own.npz": "own.npz, which this command reads",
        f"{train} -o out.npz --json out.npz": "written twice",
        "export classifier.onnx state.npz -o state.npz": "state.npz, which this command reads",
        "graft classifier.onnx --emit train-step -o graph.json": "manifest would be written over",
    }.items():
        done = ibgraph(line)
        assert done.returncode == 2 and words in done.stderr.decode(), (line, done.stderr)
    assert before == {name: (place / name).read_bytes() for name in before}
    assert not (place / "graph.json").exists() and not (place / "out.npz").exists()


def test_both_betas_are_one_argument(ibgraph, place):
    ok(ibgraph("graft classifier.onnx --emit train-step --optimizer adam --betas 0.8,0.99 -o step.onnx"))
    optimizer = json.loads((place / "step.json").read_text())["recipe"]["optimizer"]
    assert (optimizer["beta1"], optimizer["beta2"]) == (0.8, 0.99)
    for wrong in ("0.9", "0.9,x", "0.9,0.99,0.999"):
        assert ibgraph(f"graft classifier.onnx --emit train-step --betas {wrong} -o t.onnx").returncode == 2


def test_a_classifier_of_the_time_when_every_initializer_was_an_input_trains(ibgraph, place):
    two_layers(place / "old.onnx", dropout=False)
    model = onnx.load(place / "old.onnx")
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.save(model, place / "old.onnx")
    ok(ibgraph("graft old.onnx cross-entropy --emit train-step --optimizer sgd -o step.onnx"))
    onnx.checker.check_model(onnx.load(place / "step.onnx"), full_check=True)
    ok(ibgraph("train step.onnx --data train.npz --epochs 2 --lr 1e-2 -o trained.npz --json report.json"))
    first, second = (epoch["loss"] for epoch in json.loads((place / "report.json").read_text())["epochs"])
    assert second < first
