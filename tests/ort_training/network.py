"""The classifiers mlp and cnn in float64, forward and backward, operator by operator from their ONNX files.

Batch normalization uses the statistics of the batch, as the files ask for. Convolutions are 3 by 3 with a border of 1,
max pools 2 by 2; anything else is refused.
"""

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import helper, numpy_helper


class Network:
    """A classifier of one input and one output."""

    def __init__(self, model: onnx.ModelProto):
        self.graph = model.graph
        self.weights = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}
        self.features = [node for node in model.graph.node if node.op_type == "Gemm"][-1].input[0]
        self.logits = model.graph.output[0].name

    def forward(self, x):
        """Logits and features."""
        values = dict(self.weights, **{self.graph.input[0].name: np.asarray(x, np.float64)})
        self.back = []
        for node in self.graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            inputs = [values[name] for name in node.input]
            output, pull = OPERATORS[node.op_type](*inputs, **attributes)
            values[node.output[0]] = output
            self.back.append((node, pull))
        return values[self.logits], values[self.features]

    def backward(self, logits_grad, features_grad) -> dict:
        """Gradients of the weights, from those of the loss with respect to logits and features by themselves."""
        grads = {self.logits: logits_grad, self.features: features_grad}
        for node, pull in reversed(self.back):
            for name, grad in zip(node.input, pull(grads[node.output[0]])):
                if grad is not None:
                    grads[name] = grads.get(name, 0) + grad
        return grads


def gemm(a, b, c, transB, alpha, beta):
    assert (transB, alpha, beta) == (1, 1, 1)
    return a @ b.T + c, lambda g: (g @ b, g.T @ a, g.sum(0))


def relu(a):
    return np.maximum(a, 0), lambda g: (g * (a > 0),)


def conv(x, w, bias=None, kernel_shape=(), pads=(), strides=(), dilations=(), group=1):
    assert [*kernel_shape, *pads, *strides, *dilations, group] == [3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1]

    def correlate(x, w):
        windows = sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), axis=(2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, w), windows

    y, windows = correlate(x, w)
    y = y if bias is None else y + bias[:, None, None]

    def pull(g):
        dx, _ = correlate(g, w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
        return dx, np.einsum("nchwij,nohw->ocij", windows, g), None if bias is None else g.sum((0, 2, 3))

    return y, pull


def batch_normalization(x, scale, bias, _mean, _variance, epsilon, momentum, training_mode):
    assert training_mode == 1
    axes, column = (0, 2, 3), (slice(None), None, None)
    deviation = np.sqrt(x.var(axes, keepdims=True) + epsilon)
    normal = (x - x.mean(axes, keepdims=True)) / deviation

    def pull(g):
        centred = g - g.mean(axes, keepdims=True) - normal * (g * normal).mean(axes, keepdims=True)
        return scale[column] * centred / deviation, (g * normal).sum(axes), g.sum(axes), None, None

    return scale[column] * normal + bias[column], pull


def max_pool(x, kernel_shape, pads, strides, dilations, ceil_mode):
    assert [*kernel_shape, *pads, *strides, *dilations, ceil_mode] == [2, 2, 0, 0, 0, 0, 2, 2, 1, 1, 0]
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)
    y = blocks.max((3, 5))
    largest = blocks == y[:, :, :, None, :, None]

    def pull(g):
        # After a Relu windows of zeros tie, and there the gradient is cut off before it matters.
        return ((largest * g[:, :, :, None, :, None]).reshape(x.shape),)

    return y, pull


def global_average_pool(x):
    size = x.shape[2] * x.shape[3]
    return x.mean((2, 3), keepdims=True), lambda g: (np.broadcast_to(g / size, x.shape),)


def flatten(x, axis):
    assert axis == 1
    return x.reshape(len(x), -1), lambda g: (g.reshape(x.shape),)


OPERATORS = {
    "Gemm": gemm,
    "Relu": relu,
    "Conv": conv,
    "BatchNormalization": batch_normalization,
    "MaxPool": max_pool,
    "GlobalAveragePool": global_average_pool,
    "Flatten": flatten,
}
