"""Gradients of classifiers in half precision, and of those that cast to it: against the same weights in float32."""

import pathlib

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, checker, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

CLASSIFIERS = pathlib.Path(__file__).parent.parent / "data" / "classifiers"
TYPES = {TensorProto.FLOAT16: np.dtype(np.float16), TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16)}
# Half of the last digit of float16 and bfloat16, relative.
ROUNDING = {TensorProto.FLOAT16: 2.0**-11, TensorProto.BFLOAT16: 2.0**-8}
# A gradient passes some layers, each of which rounds it, and what it is multiplied with, a few times: independent errors,
# so that they add up as their square root, for the 24 layers of the vision transformer to about 5 roundings.
ROUNDINGS = 8
# Where an activation is rounded across a kink (a Relu at 0, a tie in a pool), its whole gradient is another: a share of one
# rounding a layer of all elements, whose error is the square root of that. The residual net has 8 such layers.
KINKS = (8 * 2.0**-11) ** 0.5


def tensor(name, file):
    made = TensorProto()
    made.ParseFromString((CLASSIFIERS / name / "test_data_set_0" / f"{file}.pb").read_bytes())
    return numpy_helper.to_array(made)


def narrowed(stored, code):
    values = numpy_helper.to_array(stored).astype(TYPES[code])
    return helper.make_tensor(stored.name, code, stored.dims, values.tobytes(), raw=True)


def widened(stored, code):
    return numpy_helper.from_array(numpy_helper.to_array(narrowed(stored, code)).astype(np.float32), stored.name)


def is_float(stored):
    return stored.data_type == TensorProto.FLOAT


def each_float(model, of):
    """The model with `of` every float tensor that it stores."""
    made = onnx.ModelProto.FromString(model.SerializeToString())
    constants = [a.t for node in made.graph.node for a in node.attribute if node.op_type == "Constant"]
    for stored in [*made.graph.initializer, *constants]:
        if is_float(stored):
            stored.CopyFrom(of(stored))
    return made


def all_of(model, code):
    """The model with `code` for every float32."""
    made = each_float(model, lambda stored: narrowed(stored, code))
    for value in [*made.graph.input, *made.graph.output, *made.graph.value_info]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = code
    for node in made.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = code
    return made


def by_casts(model):
    """The model with float32 weights, input and logits, and float16 between them, as automatic mixed precision exports it."""
    made = all_of(each_float(model, lambda stored: widened(stored, TensorProto.FLOAT16)), TensorProto.FLOAT16)
    wide = {stored.name: stored for stored in model.graph.initializer if is_float(stored)}
    casts = []
    for stored in made.graph.initializer:
        if stored.name in wide:
            stored.CopyFrom(widened(wide[stored.name], TensorProto.FLOAT16))
    (source,) = made.graph.input
    source.type.tensor_type.elem_type = TensorProto.FLOAT
    names = {name: f"{name}/half" for name in [source.name, *wide]}
    for name, half in names.items():
        casts.append(helper.make_node("Cast", [name], [half], to=TensorProto.FLOAT16))
    for node in made.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    (logits,) = made.graph.output
    for node in made.graph.node:
        node.output[:] = [f"{name}/half" if name == logits.name else name for name in node.output]
    logits.type.tensor_type.elem_type = TensorProto.FLOAT
    nodes = [*casts, *made.graph.node, helper.make_node("Cast", [f"{logits.name}/half"], [logits.name], to=TensorProto.FLOAT)]
    del made.graph.node[:], made.graph.value_info[:]
    made.graph.node.extend(nodes)
    return made


@pytest.fixture
def gradients(run_ibgraph, tmp_path):
    """Names and values of the loss and all gradients of a model, by ONNX Runtime or the evaluator of the onnx package."""

    def run(model, name, dtype, evaluate=False):
        source, target = tmp_path / "model.onnx", tmp_path / "gradients.onnx"
        onnx.save(model, source)
        done = run_ibgraph("graft", source, "cross-entropy", "--emit", "gradients", "-o", target)
        assert done.returncode == 0, done.stderr.decode()
        checker.check_model(target, full_check=True)
        inputs = {"x": tensor(name, "input_0").astype(np.float16).astype(dtype), "labels": tensor(name, "input_1")}
        session = ReferenceEvaluator(str(target)) if evaluate else onnxruntime.InferenceSession(target)
        names = [output.name for output in onnx.load(target).graph.output]
        return dict(zip(names, session.run(None, inputs), strict=True))

    return run


def assert_close(got, expected, relative, rounding):
    wanted = {name for name in expected if name.endswith("_grad")}
    assert len(wanted) >= 4 and wanted == {name for name in got if name.endswith("_grad")}
    total = np.sqrt(sum((expected[name].astype(np.float64) ** 2).sum() for name in wanted))
    for name in wanted:
        error = np.linalg.norm(got[name].astype(np.float64) - expected[name])
        # Gradients that other layers cancel are rounding alone.
        assert error <= relative * np.linalg.norm(expected[name]) + rounding * total, (name, error, total)
    assert abs(got["loss"] / expected["loss"] - 1) <= ROUNDINGS * rounding


@pytest.mark.parametrize("name, relative", [("mlp", 0), ("cnn", 0), ("vit", 0), ("resnet", KINKS)])
def test_gradients_in_float16_are_those_in_float32_but_for_rounding(name, relative, gradients):
    model = onnx.load(CLASSIFIERS / name / "model.onnx")
    got = gradients(all_of(model, TensorProto.FLOAT16), name, np.float16)
    expected = gradients(each_float(model, lambda stored: widened(stored, TensorProto.FLOAT16)), name, np.float32)
    assert {value.dtype for name, value in got.items() if name.endswith("_grad")} == {np.dtype(np.float16)}
    rounding = ROUNDING[TensorProto.FLOAT16]
    assert_close(got, expected, max(relative, ROUNDINGS * rounding), rounding)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_model_that_casts_to_float16_has_gradients_in_float32(name, gradients):
    model = onnx.load(CLASSIFIERS / name / "model.onnx")
    got = gradients(by_casts(model), name, np.float32)
    expected = gradients(each_float(model, lambda stored: widened(stored, TensorProto.FLOAT16)), name, np.float32)
    assert {value.dtype for name, value in got.items() if name.endswith("_grad")} == {np.dtype(np.float32)}
    rounding = ROUNDING[TensorProto.FLOAT16]
    assert_close(got, expected, ROUNDINGS * rounding, rounding)


def test_gradients_in_bfloat16_are_those_in_float32_but_for_rounding(gradients):
    """ONNX Runtime's CPU provider has no kernels for bfloat16; the evaluator of the onnx package has."""
    model = onnx.load(CLASSIFIERS / "mlp" / "model.onnx")
    code = TensorProto.BFLOAT16
    got = gradients(all_of(model, code), "mlp", ml_dtypes.bfloat16, evaluate=True)
    expected = gradients(each_float(model, lambda stored: widened(stored, code)), "mlp", np.float32)
    assert_close(got, expected, ROUNDINGS * ROUNDING[code], ROUNDING[code])
