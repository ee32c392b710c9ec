"""An exported classifier in PyTorch, from its ONNX file: the same operators on the same parameters, in training mode.

`Classifier` runs the operators that image classifiers are exported with. What an exporter takes apart is put together
again (linear layers, GELU, attention), and whatever depends on shapes alone is computed once for a batch size, so that
what is timed is what a person would have written in PyTorch. By itself the file times a step:

    python benches/peers/onnx_classifier.py tests/data/classifiers/resnet/model.onnx --rows 32 --optimizer adamw
"""

import argparse
import time

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper

from onnx_operators import OPERATORS, attributes


class Step:
    """One call: a function, the names of its inputs and of its outputs."""

    def __init__(self, run, inputs, outputs):
        self.run, self.inputs, self.outputs = run, inputs, outputs


class Classifier(torch.nn.Module):
    """The graph of a file, as a module whose parameters are its float initializers."""

    def __init__(self, path, outputs, trained=None):
        super().__init__()
        graph = onnx.load(path).graph
        initializers = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
        self.input = next(port.name for port in graph.input if port.name not in initializers)
        self.outputs = list(outputs)
        nodes = list(graph.node)
        statistics = {name for n in nodes if n.op_type == "BatchNormalization" for name in n.input[3:5]}
        if trained is None:
            trained = [n for n, t in initializers.items() if t.is_floating_point() and n not in statistics]
        self.trained = list(trained)
        # A module's names may not have dots.
        self.held = torch.nn.ParameterList([torch.nn.Parameter(initializers[n]) for n in self.trained])
        self.fixed = {n: t for n, t in initializers.items() if n not in set(self.trained)}
        port = next(port for port in graph.input if port.name == self.input)
        self.shape = [d.dim_value or None for d in port.type.tensor_type.shape.dim]
        self.steps = needed(rewritten(nodes), self.outputs)

    def to(self, device):
        super().to(device)
        self.fixed = {n: t.to(device) if t.is_floating_point() else t for n, t in self.fixed.items()}
        return self

    def prepare(self, x):
        """Computes once what depends on the shape of x alone; returns the steps that are left, and what they read."""
        values = {self.input: x, **self.fixed, **dict(zip(self.trained, self.held))}
        known = {n: t for n, t in self.fixed.items() if not t.is_floating_point()}
        rest = []
        with torch.no_grad():
            for step in self.steps:
                host = all(name == "" or name in known for name in step.inputs)
                results = as_tuple(step.run(*(values[n] if n else None for n in step.inputs)))
                if host or step.run is SHAPE:
                    known.update({n: r.cpu() for n, r in zip(step.outputs, results)})
                else:
                    rest.append(step)
                values.update(zip(step.outputs, results))
        self.known, self.rest = {**self.fixed, **{n: at_hand(t, x.device) for n, t in known.items()}}, rest
        return self

    def forward(self, x):
        values = dict(self.known)
        values[self.input] = x
        values.update(zip(self.trained, self.held))
        for step in self.rest:
            result = step.run(*[values[n] if n else None for n in step.inputs])
            if len(step.outputs) == 1:
                values[step.outputs[0]] = result
            else:
                values.update(zip(step.outputs, as_tuple(result)))
        return [values[name] for name in self.outputs]


def at_hand(tensor, device):
    """A computed constant where it can be used: PyTorch takes a number of the host on any device, but no vector."""
    if not tensor.is_floating_point():
        return tensor
    return tensor.reshape(()) if tensor.numel() == 1 else tensor.to(device)


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


SHAPE = OPERATORS["Shape"](None)


def step_of(node):
    if node.op_type == "Constant":
        [(kind, value)] = attributes(node).items()
        tensor = torch.from_numpy(numpy_helper.to_array(value).copy()) if kind == "value" else torch.tensor(value)
        return Step(lambda: tensor, [], [node.output[0]])
    if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
        raise ValueError(f"the operator {node.op_type} (node {node.name!r}) is not in this peer")
    run = SHAPE if node.op_type == "Shape" else OPERATORS[node.op_type](attributes(node))
    outputs = list(node.output) if node.op_type == "Split" else [node.output[0]]
    return Step(run, list(node.input), outputs)


def rewritten(nodes):
    """The steps of the nodes, with what exporters take apart put together again."""
    made_by = {name: node for node in nodes for name in node.output}
    whole = {}
    for node in nodes:
        for pattern in (linear, gelu, attention):
            step = pattern(node, made_by)
            if step is not None:
                whole[node.output[0]] = step
                break
    return [whole.get(node.output[0]) or step_of(node) for node in nodes]


def source(name, made_by, op):
    node = made_by.get(name)
    return node if node is not None and node.op_type == op else None


def linear(node, made_by):
    """x · Wᵀ + b."""
    if node.op_type != "Add":
        return None
    for bias, product in (node.input, reversed(node.input)):
        product = source(product, made_by, "MatMul")
        if product is None:
            continue
        turned = source(product.input[1], made_by, "Transpose")
        if turned is not None and attributes(turned).get("perm") == [1, 0] and bias not in made_by:
            return Step(F.linear, [product.input[0], turned.input[0], bias], [node.output[0]])
    return None


def gelu(node, made_by):
    """(x · (1 + erf(x / √2))) · ½."""
    if node.op_type != "Mul" or not near(node.input[1], made_by, 0.5):
        return None
    product = source(node.input[0], made_by, "Mul")
    plus = source(product.input[1], made_by, "Add") if product else None
    erf = source(plus.input[0], made_by, "Erf") if plus and near(plus.input[1], made_by, 1.0) else None
    division = source(erf.input[0], made_by, "Div") if erf else None
    if division is None or not near(division.input[1], made_by, 2**0.5) or division.input[0] != product.input[0]:
        return None
    return Step(F.gelu, [product.input[0]], [node.output[0]])


def attention(node, made_by):
    """softmax((q · s) (kᵀ · t)) v."""
    soft = source(node.input[0], made_by, "Softmax") if node.op_type == "MatMul" else None
    scores = source(soft.input[0], made_by, "MatMul") if soft and attributes(soft).get("axis", -1) == -1 else None
    q, k = [source(name, made_by, "Mul") for name in scores.input] if scores else (None, None)
    turned = source(k.input[0], made_by, "Transpose") if k else None
    if q is None or turned is None or attributes(turned).get("perm") != [0, 1, 3, 2]:
        return None
    run = lambda q, s, k, t, v: F.scaled_dot_product_attention(q, k, v, scale=float(s * t))
    return Step(run, [q.input[0], q.input[1], turned.input[0], k.input[1], node.input[1]], [node.output[0]])


def near(name, made_by, value):
    node = source(name, made_by, "Constant")
    array = numpy_helper.to_array(attributes(node)["value"]) if node is not None else np.zeros(0)
    return array.size == 1 and abs(float(array.reshape(())) - value) < 1e-6


def needed(steps, outputs):
    """The steps that these outputs come from."""
    wanted, kept = set(outputs), []
    for step in reversed(steps):
        if wanted.intersection(step.outputs):
            wanted.update(step.inputs)
            kept.append(step)
    return kept[::-1]


def optimizer(recipe, parameters):
    """`torch.optim` by a recipe as `ibgraph` writes it."""
    rule, decay = recipe["optimizer"], recipe["weight_decay"]
    if rule["name"] in ("sgd", "momentum"):
        momentum, nesterov = rule.get("momentum", 0.0), rule.get("nesterov", False)
        return torch.optim.SGD(parameters, lr=0.0, momentum=momentum, nesterov=nesterov, weight_decay=decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[rule["name"]]
    betas = (rule["beta1"], rule["beta2"])
    return kind(parameters, lr=0.0, betas=betas, eps=rule["epsilon"], weight_decay=decay)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--rows", type=int, default=32)
    p.add_argument("--steps", type=int, default=30)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--optimizer", choices=["sgd", "momentum", "adamw"], default="adamw")
    p.add_argument("--compile", action="store_true")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    nodes = onnx.load(args.model).graph.node
    logits = [node for node in nodes if node.op_type in ("Gemm", "MatMul")][-1]
    model = Classifier(args.model, [logits.output[0], logits.input[0]])
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.uniform(-1, 1, [args.rows, *model.shape[1:]]).astype(np.float32))
    model.prepare(x)
    classes = model(x)[0].shape[1]
    labels = torch.from_numpy(random.integers(0, classes, args.rows))
    rule = {"name": args.optimizer, "momentum": 0.9 if args.optimizer == "momentum" else 0.0}
    rule |= {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    step = optimizer({"optimizer": rule, "weight_decay": 0.01}, model.parameters())
    run = torch.compile(model) if args.compile else model
    seconds = []
    for _ in range(args.steps):
        start = time.perf_counter()
        z, h = run(x)
        error = torch.sum(torch.abs(F.softmax(z, 1) - F.one_hot(labels, classes)), 1)
        ib = 1000.0 / (error * torch.sum(torch.abs(h), 1) + 0.001)
        torch.mean(F.cross_entropy(z, labels, reduction="none") * ib).backward()
        step.step()
        step.zero_grad()
        seconds.append(time.perf_counter() - start)
    seconds = np.sort(seconds[len(seconds) // 3 :])
    about = f"PyTorch {torch.__version__}, {args.threads} threads"
    print(f"{np.median(seconds) * 1e3:.2f} ms a step of {args.rows} rows ({about})")


if __name__ == "__main__":
    main()
