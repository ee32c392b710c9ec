"""A model in ONNX Runtime Training: its artifacts, one step at a time, and the gradients that it finds."""

import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnxruntime.training import artifacts, onnxblock
from onnxruntime.training.api import CheckpointState, Module, Optimizer

onnxruntime.set_default_logger_severity(4)


class Training:
    """A model whose first output is its loss, and the parameters that it is differentiated by."""

    def __init__(self, model: onnx.ModelProto, parameters, directory: pathlib.Path, adamw=None, evaluates=False):
        directory.mkdir()
        optimizer = onnxblock.optim.AdamW(**adamw) if adamw else None
        artifacts.generate_artifacts(
            model, requires_grad=list(parameters), loss=None, optimizer=optimizer, artifact_directory=str(directory)
        )
        self.state = CheckpointState.load_checkpoint(str(directory / "checkpoint"))
        evaluation = str(directory / "eval_model.onnx") if evaluates else None
        self.module = Module(str(directory / "training_model.onnx"), self.state, evaluation)
        self.parameters = list(parameters)
        self.optimizer = Optimizer(str(directory / "optimizer_model.onnx"), self.module) if adamw else None

    def forward_and_backward(self, *inputs) -> float:
        """The loss; the gradients stand in the state."""
        self.module.train()
        return first(self.module(*inputs))

    def evaluate(self, *inputs) -> float:
        self.module.eval()
        return first(self.module(*inputs))

    def gradient(self, name: str, shape) -> np.ndarray:
        return np.asarray(self.state.parameters[name].grad, np.float64).reshape(shape)

    def step(self, learning_rate: float):
        self.optimizer.set_learning_rate(learning_rate)
        self.optimizer.step()
        self.module.lazy_reset_grad()


def first(outputs) -> float:
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return float(np.asarray(outputs[0]).reshape(-1)[0])


def with_parameters(path, values) -> onnx.ModelProto:
    """The model, with some of its inputs made initializers that can be trained."""
    model = onnx.load(path)
    for name, value in values.items():
        taken = [port for port in model.graph.input if port.name == name]
        assert len(taken) == 1, name
        model.graph.input.remove(taken[0])
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model
