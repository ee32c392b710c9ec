"""Every graph is valid ONNX with the documented interface, in every operator set, and loads in ONNX Runtime."""

import onnx
import pytest
from conftest import load
from onnx import checker, shape_inference

OPSETS = range(9, 29)
# bfloat16 is a type of few operators before.
OLDEST_OF_BF16 = 13


def ib(more="", matrix="f32", scalar="f32", features="[N,D]", loss="[]"):
    """Interface of a loss that uses the features; `more` are inputs after them."""
    inputs = f"logits {matrix}[N,10], labels i64[N], features {matrix}{features}{more}"
    outputs = f"loss {scalar}{loss}, logits_grad {matrix}[N,10], features_grad {matrix}{features}"
    return f"{inputs} -> {outputs}"


IB = "logits f32[N,10], labels i64[N], features f32[N,D]"
CE = "logits f32[N,10], labels i64[N]"

# Arguments besides `--classes 10`, and the interface that they give.
INTERFACES = {
    "": ib(),
    "ib-focal": ib(),
    "cross-entropy": f"{CE} -> loss f32[], logits_grad f32[N,10]",
    "--dtype f64": ib(matrix="f64", scalar="f64"),
    "--dtype f16": ib(matrix="f16"),
    "--dtype bf16": ib(matrix="bf16"),
    "--reduction mean": ib(),
    "--reduction sum": ib(),
    "--reduction weighted-mean": ib(),
    "--reduction none": ib(", loss_grad f32[N]", loss="[N]"),
    "--reduction none --dtype bf16": ib(", loss_grad f32[N]", matrix="bf16", loss="[N]"),
    "--reduction none --outputs loss": f"{IB} -> loss f32[N]",
    "--feature-input norm": ib(features="[N]"),
    "--feature-input norm-column": ib(features="[N,1]"),
    "--ignore-index=-100": ib(),
    "--check-labels": ib(),
    "--check-labels --ignore-index=3 --dtype f16": ib(matrix="f16"),
    "--class-counts 10,9,8,7,6,5,4,3,2,1 --class-weights inverse": ib(),
    "--class-counts 10,9,8,7,6,5,4,3,2,1 --class-weights effective": ib(),
    "--influence-gradient stopped": ib(),
    "--runtime-input alpha": ib(", alpha f32[]"),
    "--runtime-input enabled,class_weights,epsilon": ib(", class_weights f32[10], epsilon f32[], enabled bool[]"),
    "--runtime-input enabled,alpha --dtype f64": ib(", alpha f64[], enabled bool[]", matrix="f64", scalar="f64"),
    "--runtime-input enabled,alpha --dtype bf16": ib(", alpha f32[], enabled bool[]", matrix="bf16"),
    "cross-entropy --runtime-input enabled": f"{CE}, enabled bool[] -> loss f32[], logits_grad f32[N,10]",
    "--outputs loss": f"{IB} -> loss f32[]",
    "--outputs logits_grad": f"{IB} -> logits_grad f32[N,10]",
    "--outputs features_grad": f"{IB} -> features_grad f32[N,D]",
    "--outputs row_loss": f"{IB} -> row_loss f32[N]",
    "--outputs influence_weight": f"{IB} -> influence_weight f32[N]",
    # In the order of the documentation, not of the option.
    "--outputs influence_weight,row_loss,features_grad,loss": f"{IB} -> "
    "loss f32[], features_grad f32[N,D], row_loss f32[N], influence_weight f32[N]",
    "ib-focal --outputs focal_factor,weighted_nll": f"{IB} -> weighted_nll f32[N], focal_factor f32[N]",
}

TYPES = {"FLOAT": "f32", "DOUBLE": "f64", "FLOAT16": "f16", "BFLOAT16": "bf16", "INT64": "i64", "BOOL": "bool"}
OLDEST_IR = {opset: ir for _, ir, opset, *_ in reversed(onnx.helper.VERSION_TABLE)}


def interface(graph: onnx.GraphProto) -> str:
    def port(value: onnx.ValueInfoProto) -> str:
        tensor = value.type.tensor_type
        shape = ",".join(d.dim_param or str(d.dim_value) for d in tensor.shape.dim)
        return f"{value.name} {TYPES[onnx.TensorProto.DataType.Name(tensor.elem_type)]}[{shape}]"

    inputs, outputs = (", ".join(map(port, ports)) for ports in (graph.input, graph.output))
    return f"{inputs} -> {outputs}"


VERSIONS = [(a, opset) for a in INTERFACES for opset in OPSETS if "bf16" not in a or opset >= OLDEST_OF_BF16]


@pytest.mark.parametrize("arguments, opset", VERSIONS, ids=lambda a: a or "defaults")
def test_a_graph_is_valid_and_has_the_documented_interface(emit, arguments, opset):
    path = emit(*arguments.split(), "--classes", 10, "--opset", opset)
    model = onnx.load(path)
    checker.check_model(model, full_check=True)
    inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert interface(model.graph) == INTERFACES[arguments]
    assert interface(inferred.graph) == INTERFACES[arguments]

    assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
    assert model.ir_version == OLDEST_IR[opset]
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}
    assert not any(attribute.HasField("g") or attribute.graphs for n in model.graph.node for attribute in n.attribute)

    session = load(path)
    names = [value.name for value in (*session.get_inputs(), *session.get_outputs())]
    assert names == [value.name for value in (*model.graph.input, *model.graph.output)]


@pytest.mark.parametrize("opset, ir", [(9, 4), (13, 7), (13, 14), (18, 10), (21, 11), (28, 14)])
def test_the_ir_version_is_the_one_asked_for(emit, opset, ir):
    model = onnx.load(emit("--classes", 3, "--opset", opset, "--ir-version", ir))
    assert model.ir_version == ir
    checker.check_model(model, full_check=True)


@pytest.mark.parametrize("arguments", [["--opset", 8], ["--opset", 29], ["--opset", 18, "--ir-version", 7]])
def test_versions_that_no_graph_is_written_for_are_wrong_use(run_ibgraph, tmp_path, arguments):
    assert run_ibgraph("emit", "--classes", 3, "-o", tmp_path / "x.onnx", *arguments).returncode == 2
    assert not list(tmp_path.iterdir())


def test_what_an_old_operator_set_lacks_is_told(run_ibgraph, tmp_path):
    done = run_ibgraph("emit", "--classes", 3, "-o", tmp_path / "x.onnx", "--dtype=bf16", "--opset=12")
    assert done.returncode == 2
    assert "bfloat16 needs opset 13" in done.stderr.decode()
    assert "onnx.version_converter" in done.stderr.decode()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("loss", ["ib", "ib-focal", "cross-entropy"])
def test_a_graph_for_many_classes_is_small(emit, loss):
    # Nothing in it grows with the number of classes.
    assert emit(loss, "--classes", 100_000).stat().st_size < 10_000
