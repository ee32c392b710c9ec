"""ONNX Runtime Training as a peer of `ibgraph bench`: a loss as a graph, which it differentiates, and training steps of
classifiers that carry one."""

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
from onnxruntime.capi._pybind_state import GradientGraphBuilder
from protocol import Batches, serve, step_batches

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


class Loss:
    """A loss by itself: the gradient graph that the training builds of it, and its sets of inputs and outputs."""

    def __init__(self, request):
        if request["dtype"] != "f32":
            raise ValueError(f"losses for it are float32, not {request['dtype']}")
        model = onnx.load(request["model"])
        wanted = [port.name for port in model.graph.input if port.name != "labels"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = request["threads"]
        builder = GradientGraphBuilder(model.SerializeToString(), {"loss"}, set(wanted), "loss", options)
        builder.build()
        self.session = onnxruntime.InferenceSession(builder.get_model(), options, providers=["CPUExecutionProvider"])
        self.outputs = ["loss", *(f"{name}_grad" for name in wanted)]
        batches, self.sets = Batches(request["file"]), []
        n, c, d = request["rows"], request["classes"], request["features"]
        for _ in range(request["sets"]):
            inputs = {"logits": batches.take([n, c], np.float32), "labels": batches.take([n], np.int64)}
            if request["uses_features"]:
                inputs["features"] = batches.take([n, d], np.float32)
            self.sets.append(self.bound(inputs))

    def bound(self, inputs):
        """A binding, and the values that it reads and writes."""
        values = {name: OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
        shapes = {"loss": (), **{f"{name}_grad": array.shape for name, array in inputs.items()}}
        places = {name: OrtValue.ortvalue_from_shape_and_type(shapes[name], np.float32) for name in self.outputs}
        binding = self.session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for name, place in places.items():
            binding.bind_ortvalue_output(name, place)
        return binding, values, places

    def step(self, index):
        self.session.run_with_iobinding(self.sets[index][0])

    def compute(self):
        self.step(0)
        return {name: place.numpy() for name, place in self.sets[0][2].items()}

    def wait(self):
        pass


def load(request):
    return Step(request) if request.get("step") else Loss(request)


if __name__ == "__main__":
    name = f"ONNX Runtime Training {onnxruntime.__version__}"
    # Whatever the loss is, it comes as a graph.
    serve({"name": name, "losses": None, "providers": ["cpu"]}, load)
