"""ONNX Runtime Training as a peer of `ibgraph bench`: training steps of classifiers that carry a loss."""

import os
import sys
import tempfile
import types

# The package imports PyTorch for optimizers that are not used here.
optim = types.ModuleType("onnxruntime.training.optim")
optim.__path__ = []
sys.modules["onnxruntime.training.optim"] = optim

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnxruntime import OrtValue
from onnxruntime.training import artifacts, onnxblock
from onnxruntime.training.api import CheckpointState, Module, Optimizer
from protocol import serve, step_batches

onnxruntime.set_default_logger_severity(4)


def differentiable(model):
    """Puts equal operators in the place of those that this release cannot differentiate; says which those are."""
    graph, told, nodes = model.graph, [], []
    shapes = {v.name: v.type.tensor_type.shape for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    for node in graph.node:
        a = {x.name: helper.get_attribute_value(x) for x in node.attribute}
        if node.op_type == "LayerNormalization" and len(node.output) == 1:
            node.output.extend([f"{node.output[0]}/mean", f"{node.output[0]}/inv_std"])
            told.append("LayerNormalization without its two optional outputs")
        elif node.op_type in ("HardSwish", "HardSigmoid"):
            told.append(f"{node.op_type}, which has no gradient there")
            swish = node.op_type == "HardSwish"
            nodes.extend(clipped(graph, node, a.get("alpha", 1 / 6 if swish else 0.2), a.get("beta", 0.5), swish))
            continue
        elif node.op_type == "AveragePool" and tiles(a) and node.input[0] in shapes:
            told.append("AveragePool, whose gradient comes out empty there (a depthwise Conv with a fixed weight instead)")
            nodes.append(as_conv(graph, node, a, shapes[node.input[0]].dim[1].dim_value))
            continue
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return sorted(set(told))


def constant(graph, name, value):
    graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
    return name


def clipped(graph, node, alpha, beta, swish):
    """clip(alpha x + beta, 0, 1), and for HardSwish that times x."""
    out = node.output[0]
    numbers = {"alpha": alpha, "beta": beta, "low": 0.0, "high": 1.0}
    a, b, low, high = (constant(graph, f"{out}/{name}", value) for name, value in numbers.items())
    gate = f"{out}/gate" if swish else out
    yield helper.make_node("Mul", [node.input[0], a], [f"{out}/scaled"])
    yield helper.make_node("Add", [f"{out}/scaled", b], [f"{out}/moved"])
    yield helper.make_node("Clip", [f"{out}/moved", low, high], [gate])
    if swish:
        yield helper.make_node("Mul", [node.input[0], gate], [out])


def tiles(a):
    """Whether the windows of a pool lie side by side; with ceil_mode the caller's extents must be multiples of them."""
    return a.get("strides") == a["kernel_shape"] and not any(a.get("pads", [0])) and "auto_pad" not in a


def as_conv(graph, node, a, channels):
    kernel = a["kernel_shape"]
    weight = constant(graph, f"{node.output[0]}/weight", np.full([channels, 1, *kernel], 1 / np.prod(kernel)))
    return helper.make_node(
        "Conv", [node.input[0], weight], list(node.output), kernel_shape=kernel, strides=kernel, group=channels
    )


class Step:
    """A training step: its artifacts, and its batches as values of the runtime."""

    def __init__(self, request):
        step, self.threads = request["step"], request["threads"]
        rule = step["recipe"]["optimizer"]
        if rule["name"] != "adamw":
            raise ValueError(f"it has no {rule['name']}; its optimizers are AdamW, and SGD without momentum")
        # The working directory is where artifacts may leave files beside those that are asked for.
        self.directory = tempfile.TemporaryDirectory(prefix="ibgraph-ort-training-")
        optimizer = onnxblock.optim.AdamW(
            betas=(rule["beta1"], rule["beta2"]), eps=rule["epsilon"], weight_decay=step["recipe"]["weight_decay"]
        )
        model = onnx.load(step["model"])
        told = differentiable(model)
        self.note = f"as exported it does not train there; equal operators stand for: {'; '.join(told)}" if told else None
        artifacts.generate_artifacts(
            model,
            requires_grad=step["parameters"],
            loss=None,
            optimizer=optimizer,
            artifact_directory=self.directory.name,
        )
        reference, sets = step_batches(request)
        place = lambda pair: tuple(OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)) for array in pair)
        self.reference, self.sets = place(reference), [place(pair) for pair in sets]

    def ready(self, rate):
        """Starts from the parameters of the file."""
        path = lambda name: os.path.join(self.directory.name, name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        self.state = CheckpointState.load_checkpoint(path("checkpoint"))
        self.module = Module(path("training_model.onnx"), self.state, session_options=options)
        self.optimizer = Optimizer(path("optimizer_model.onnx"), self.module)
        self.optimizer.set_learning_rate(rate)
        self.module.train()

    def train(self, x, labels):
        outputs = self.module(x, labels)
        self.optimizer.step()
        self.module.lazy_reset_grad()
        return outputs[0] if isinstance(outputs, (list, tuple)) else outputs

    def losses(self, rate, steps):
        self.ready(rate)
        value = lambda loss: float(np.asarray(loss.numpy() if isinstance(loss, OrtValue) else loss).reshape(-1)[0])
        losses = [value(self.train(*self.reference)) for _ in range(steps)]
        # What is timed has a learning rate of 0.
        self.ready(0.0)
        return losses

    def step(self, index):
        self.train(*self.sets[index])

    def wait(self):
        pass


def load(request):
    if not request.get("step"):
        raise ValueError("only training steps")
    return Step(request)


if __name__ == "__main__":
    name = f"ONNX Runtime Training {onnxruntime.__version__}"
    serve({"name": name, "losses": ["ib"], "providers": ["cpu"]}, load)
