"""Writes layers.onnx, whose layers are model-local functions, and flat.onnx, the same model without functions, by hand.

Run with a Python that has onnx: python make.py. Weights are drawn from a fixed seed.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = [helper.make_opsetid("", 18)]
LOCAL = helper.make_opsetid("layers", 1)


def by_reference(node, name, attribute, kind):
    """Lets the attribute `name` of a node refer to the function's `attribute`."""
    made = onnx.AttributeProto()
    made.name, made.ref_attr_name, made.type = name, attribute, kind
    node.attribute.append(made)
    return node


def dense():
    """(x, w, bias?) -> (y, pre): an activation with its slope by reference; the bias may be left out."""
    linear = by_reference(helper.make_node("Gemm", ["x", "w", "bias"], ["pre"]), "transB", "transB", onnx.AttributeProto.INT)
    act = by_reference(helper.make_node("LeakyRelu", ["pre"], ["y"], name="act"), "alpha", "slope", onnx.AttributeProto.FLOAT)
    return helper.make_function(
        "layers", "Dense", ["x", "w", "bias"], ["y", "pre"], [linear, act], OPSET, ["transB"],
        [helper.make_attribute("slope", 0.25)],
    )


def scale():
    """(x) -> (y): a constant within the function, given by the call, without a default."""
    constant = by_reference(helper.make_node("Constant", [], ["h"]), "value_float", "by", onnx.AttributeProto.FLOAT)
    return helper.make_function(
        "layers", "Scale", ["x"], ["y"], [constant, helper.make_node("Mul", ["x", "h"], ["y"])], OPSET, ["by"]
    )


def branch():
    """(x, flag) -> (y): control flow that reads values around it; its inner names are those of the graph, too."""
    def side(operator):
        return helper.make_graph(
            [helper.make_node(operator, ["x"], ["h"]), helper.make_node("Identity", ["h"], ["features"])],
            operator, [], [helper.make_tensor_value_info("features", TensorProto.FLOAT, None)],
        )

    node = helper.make_node("If", ["flag"], ["y"], then_branch=side("Abs"), else_branch=side("Neg"))
    return helper.make_function("layers", "Branch", ["x", "flag"], ["y"], [node], OPSET, [])


def block():
    """(x, w1, b1, w2) -> (y, again, pre): calls others, with attributes handed on."""
    first = helper.make_node("Dense", ["x", "w1", "b1"], ["h", ""], domain="layers", name="first")
    by_reference(first, "slope", "slope", onnx.AttributeProto.FLOAT)
    first.attribute.append(helper.make_attribute("transB", 1))
    second = helper.make_node("Dense", ["h", "w2"], ["k", "pre"], domain="layers", transB=1)
    small = helper.make_node("Scale", ["k"], ["small"], domain="layers", by=0.5)
    again = helper.make_node("Identity", ["x"], ["again"])
    join = helper.make_node("Add", ["small", "x"], ["y"], name="join")
    return helper.make_function(
        "layers", "Block", ["x", "w1", "b1", "w2"], ["y", "again", "pre"], [first, second, small, again, join], OPSET + [LOCAL],
        ["slope"],
    )


def head():
    """(x, w, bias) -> (logits)"""
    linear = helper.make_node("Gemm", ["x", "w", "bias"], ["logits"], transB=1)
    return helper.make_function("layers", "Head", ["x", "w", "bias"], ["logits"], [linear], OPSET, [])


SHAPES = {"w1": [5, 5], "b1": [5], "w2": [5, 5], "w3": [5, 5], "head.weight": [3, 5], "head.bias": [3]}


def model(nodes, functions):
    rng = np.random.default_rng(0)
    stored = [numpy_helper.from_array(rng.normal(0, 0.5, s).astype(np.float32), n) for n, s in SHAPES.items()]
    stored.append(numpy_helper.from_array(np.array(True), "flag"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "layers", [value("x", TensorProto.FLOAT, ["N", 5])], [value("logits", TensorProto.FLOAT, ["N", 3])], stored
    )
    imports = OPSET + ([LOCAL] if functions else [])
    made = helper.make_model(graph, opset_imports=imports, ir_version=9, functions=functions)
    onnx.checker.check_model(made)
    return made


def layers():
    # "one/h" is taken, so that the function's inner value `h` cannot have it.
    nodes = [
        helper.make_node("Identity", ["x"], ["one/h"]),
        helper.make_node("Block", ["one/h", "w1", "b1", "w2"], ["h", "again", "pre"], domain="layers", name="one", slope=0.1),
        helper.make_node("Block", ["h", "w1", "b1", "w3"], ["deep", "", ""], domain="layers", name="two", slope=0.2),
        helper.make_node("Sum", ["deep", "again", "pre"], ["features"]),
        helper.make_node("Head", ["features", "head.weight", "head.bias"], ["logits"], domain="layers"),
        helper.make_node("Branch", ["h", "flag"], ["aside"], domain="layers", name="aside"),
    ]
    made = model(nodes, [dense(), scale(), branch(), block(), head()])
    made.graph.output.append(helper.make_tensor_value_info("aside", TensorProto.FLOAT, ["N", 5]))
    return made


def flat():
    nodes = []

    def add(operator, inputs, output, **attributes):
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def written(x, w1, b1, w2, slope, prefix):
        h = add("LeakyRelu", [add("Gemm", [x, w1, b1], prefix + "a", transB=1)], prefix + "b", alpha=slope)
        pre = add("Gemm", [h, w2], prefix + "c", transB=1)
        k = add("LeakyRelu", [pre], prefix + "d", alpha=0.25)
        half = add("Constant", [], prefix + "half", value_float=0.5)
        return add("Add", [add("Mul", [k, half], prefix + "e"), x], prefix + "f"), pre

    one, pre = written("x", "w1", "b1", "w2", 0.1, "one.")
    two, _ = written(one, "w1", "b1", "w3", 0.2, "two.")
    features = add("Sum", [two, "x", pre], "features")
    add("Gemm", [features, "head.weight", "head.bias"], "logits", transB=1)
    return model(nodes, [])


if __name__ == "__main__":
    onnx.save(layers(), "layers.onnx")
    onnx.save(flat(), "flat.onnx")
