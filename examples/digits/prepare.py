"""Long-tailed handwritten digits, and a small convolutional classifier for them, with numpy and onnx alone.

    python prepare.py DIRECTORY [--seed SEED] [--ratio RATIO]

Writes train.npz (long-tailed), test.npz (40 samples of each class) and classifier.onnx (random weights) to DIRECTORY.
Class k has 120 * RATIO**(-k/9) training samples: from 120 zeros to 120/RATIO nines. The split and the weights depend on
SEED. What this makes is an exported classifier like any other; nothing in it knows of ibgraph.
"""

import argparse
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES, HEAD, TEST = 10, 120, 40
CHANNELS, HIDDEN = (16, 32), 64


def long_tailed(seed, ratio):
    digits = np.load(pathlib.Path(__file__).with_name("digits.npz"))
    images = digits["images"].astype(np.float32)[:, None] / 16.0
    labels = digits["labels"].astype(np.int64)
    random = np.random.default_rng(seed)
    train, test = [], []
    for k in range(CLASSES):
        rows = random.permutation(np.flatnonzero(labels == k))
        test.extend(rows[:TEST])
        train.extend(rows[TEST : TEST + round(HEAD * ratio ** (-k / (CLASSES - 1)))])
    return [dict(x=images[rows], labels=labels[rows]) for rows in (train, test)]


def classifier(seed):
    random = np.random.default_rng(seed)
    weights, nodes = [], []

    def layer(operator, value, name, shape, **attributes):
        """He et al., ICCV 2015: weights of variance 2 / inputs, biases of 0."""
        scale = np.sqrt(2.0 / np.prod(shape[1:]))
        for part, content in (("weight", random.normal(0, scale, shape)), ("bias", np.zeros(shape[0]))):
            weights.append(numpy_helper.from_array(content.astype(np.float32), f"{name}.{part}"))
        output = "logits" if name == "head" else f"{name}.out"
        inputs = [value, f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def plain(operator, value, **attributes):
        output = f"{value}.{operator.lower()}"
        nodes.append(helper.make_node(operator, [value], [output], name=output, **attributes))
        return output

    value, inputs = "x", 1
    for number, channels in enumerate(CHANNELS):
        shape = (channels, inputs, 3, 3)
        value = layer("Conv", value, f"conv{number}", shape, pads=[1, 1, 1, 1], kernel_shape=[3, 3])
        value = plain("MaxPool", plain("Relu", value), kernel_shape=[2, 2], strides=[2, 2])
        inputs = channels
    value = plain("Flatten", value)
    value = plain("Relu", layer("Gemm", value, "hidden", (HIDDEN, inputs * 4), transB=1))
    layer("Gemm", value, "head", (CLASSES, HIDDEN), transB=1)
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        weights,
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ratio", type=float, default=30.0)
    args = parser.parse_args()
    args.directory.mkdir(parents=True, exist_ok=True)
    train, test = long_tailed(args.seed, args.ratio)
    np.savez(args.directory / "train.npz", **train)
    np.savez(args.directory / "test.npz", **test)
    onnx.save(classifier(args.seed), args.directory / "classifier.onnx")
    print("training samples of each class:", *np.bincount(train["labels"]))


if __name__ == "__main__":
    main()
