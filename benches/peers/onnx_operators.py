"""The operators that image classifiers are exported with, as PyTorch functions in training mode."""

import numpy as np
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper

CAST = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}


def attributes(node):
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def symmetric(pads, what):
    """PyTorch's padding, which is the same on both sides."""
    half = len(pads) // 2
    if list(pads[:half]) != list(pads[half:]):
        raise ValueError(f"{what}: padding that differs between the sides")
    return tuple(pads[:half])


def window(a, what):
    if a.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise ValueError(f"{what}: auto_pad")
    kernel = tuple(a["kernel_shape"])
    ones, zeros = [1] * len(kernel), [0] * 2 * len(kernel)
    return kernel, tuple(a.get("strides", ones)), symmetric(a.get("pads", zeros), what), tuple(a.get("dilations", ones))


def conv(a):
    _, strides, pads, dilations = window(a, "Conv")
    group = a.get("group", 1)
    run = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(strides)]
    return lambda x, w, b=None: run(x, w, b, strides, pads, dilations, group)


def batch_normalization(a):
    if a.get("training_mode", 0) != 1:
        return lambda x, w, b, mean, var: F.batch_norm(x, mean, var, w, b, eps=a.get("epsilon", 1e-5))
    # ONNX's momentum is the share of the old statistics, PyTorch's that of the new ones.
    momentum, epsilon = 1.0 - a.get("momentum", 0.9), a.get("epsilon", 1e-5)
    return lambda x, w, b, mean, var: F.batch_norm(x, mean, var, w, b, True, momentum, epsilon)


def max_pool(a):
    kernel, strides, pads, dilations = window(a, "MaxPool")
    return lambda x: F.max_pool2d(x, kernel, strides, pads, dilations, bool(a.get("ceil_mode", 0)))


def average_pool(a):
    kernel, strides, pads, _ = window(a, "AveragePool")
    ceil, counts = bool(a.get("ceil_mode", 0)), bool(a.get("count_include_pad", 0))
    return lambda x: F.avg_pool2d(x, kernel, strides, pads, ceil, counts)


def gemm(a):
    alpha, beta, trans_a, trans_b = a.get("alpha", 1.0), a.get("beta", 1.0), a.get("transA", 0), a.get("transB", 0)
    if (alpha, beta, trans_a, trans_b) == (1.0, 1.0, 0, 1):
        return F.linear
    turned = lambda m, turn: m.mT if turn else m
    return lambda x, w, c=0.0: alpha * (turned(x, trans_a) @ turned(w, trans_b)) + beta * c


def layer_normalization(a):
    epsilon = a.get("epsilon", 1e-5)
    return lambda x, w, b=None: F.layer_norm(x, x.shape[a.get("axis", -1) :], w, b, epsilon)


def hard_sigmoid(a):
    alpha, beta = a.get("alpha", 0.2), a.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return F.hardsigmoid
    return lambda x: torch.clamp(alpha * x + beta, 0.0, 1.0)


def dropout(a):
    def run(x, ratio=None, training=None):
        if ratio is not None and float(ratio) > 0 and bool(training):
            raise ValueError("Dropout that drops: two engines draw different masks, so their numbers cannot be compared")
        return x

    return run


def split(a):
    return lambda x, sizes: torch.split(x, [int(n) for n in sizes], a.get("axis", 0))


def squeeze(x, axes=None):
    return x.squeeze() if axes is None else x.squeeze(tuple(int(k) for k in axes))


def unsqueeze(x, axes):
    rank = x.dim() + len(axes)
    for axis in sorted(int(k) % rank for k in axes):
        x = x.unsqueeze(axis)
    return x


def flatten(a):
    axis = a.get("axis", 1)
    return lambda x: x.reshape(int(np.prod(x.shape[:axis])), -1)


def gather(a):
    axis = a.get("axis", 0)
    return lambda x, at: x.select(axis, int(at)) if at.dim() == 0 else x.index_select(axis, at.to(x.device))


def slice_(x, starts, ends, axes=None, steps=None):
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    at = [slice(None)] * x.dim()
    for axis, start, end, step in zip(axes, starts, ends, steps):
        at[int(axis)] = slice(int(start), int(end), int(step))
    return x[tuple(at)]


def reshape(x, shape):
    return x.reshape([x.shape[k] if n == 0 else n for k, n in enumerate(int(n) for n in shape)])


def expand(x, shape):
    return x.expand(torch.broadcast_shapes(x.shape, [int(n) for n in shape]))


def constant_of_shape(a):
    value = numpy_helper.to_array(a["value"]) if "value" in a else np.zeros(1, np.float32)
    fill = torch.from_numpy(value.copy())
    return lambda shape: fill.expand([int(n) for n in shape]).contiguous()


# A function of the attributes that gives a function of the inputs.
OPERATORS = {
    "Add": lambda a: torch.add,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Cast": lambda a: lambda x: x.to(CAST[a["to"]]),
    "Clip": lambda a: lambda x, low=None, high=None: torch.clamp(x, low, high),
    "Concat": lambda a: lambda *xs: torch.cat(xs, a["axis"]),
    "ConstantOfShape": constant_of_shape,
    "Conv": conv,
    "Div": lambda a: torch.div,
    "Dropout": dropout,
    "Equal": lambda a: torch.eq,
    "Erf": lambda a: torch.erf,
    "Exp": lambda a: torch.exp,
    "Expand": lambda a: expand,
    "Flatten": flatten,
    "Gather": gather,
    "Gemm": gemm,
    "GlobalAveragePool": lambda a: lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": lambda a: F.hardswish,
    "Identity": lambda a: lambda x: x,
    "LayerNormalization": layer_normalization,
    "MatMul": lambda a: torch.matmul,
    "MaxPool": max_pool,
    "Mul": lambda a: torch.mul,
    "Pow": lambda a: torch.pow,
    "Relu": lambda a: F.relu,
    "Reshape": lambda a: reshape,
    "Shape": lambda a: lambda x: torch.tensor(x.shape),
    "Sigmoid": lambda a: torch.sigmoid,
    "Slice": lambda a: slice_,
    "Softmax": lambda a: lambda x: F.softmax(x, a.get("axis", -1)),
    "Split": split,
    "Sqrt": lambda a: torch.sqrt,
    "Squeeze": lambda a: squeeze,
    "Sub": lambda a: torch.sub,
    "Tanh": lambda a: torch.tanh,
    "Transpose": lambda a: lambda x: x.permute(a["perm"]),
    "Unsqueeze": lambda a: unsqueeze,
    "Where": lambda a: torch.where,
}
