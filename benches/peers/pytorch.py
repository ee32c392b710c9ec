"""The published losses in PyTorch, forward and backward, timed at the request of `ibgraph bench`.

Requests and answers are lines of JSON on standard input and output; tensors travel in files. docs/bench.md describes
the protocol. Each loss is written as its authors publish it: that is what a compiled graph is compared with.
"""

import json
import signal
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

DTYPES = {"f32": torch.float32, "f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16}
ALPHA, EPSILON, GAMMA = 1000.0, 0.001, 2.0


def influence(logits, labels, features):
    """alpha / (‖softmax - onehot‖₁ · ‖features‖₁ + epsilon), Park et al., ICCV 2021."""
    error = torch.sum(torch.abs(F.softmax(logits, dim=1) - F.one_hot(labels, logits.shape[1])), 1)
    return ALPHA / (error * torch.sum(torch.abs(features), 1) + EPSILON)


def ib(weights):
    def loss(logits, labels, features):
        ce = F.cross_entropy(logits, labels, reduction="none", weight=weights)
        return torch.mean(ce * influence(logits, labels, features))

    return loss


def ib_focal(weights):
    def loss(logits, labels, features):
        ce = F.cross_entropy(logits, labels, reduction="none", weight=weights)
        p = torch.exp(-ce)
        return torch.mean((1 - p) ** GAMMA * ce * influence(logits, labels, features))

    return loss


def cross_entropy(weights):
    return lambda logits, labels, features: F.cross_entropy(logits, labels, weight=weights)


LOSSES = {"ib": ib, "cross-entropy": cross_entropy}


class Problem:
    """A loss with its sets of inputs, ready to run."""

    def __init__(self, request):
        torch.set_num_threads(request["threads"])
        self.device = torch.device(request["device"])
        dtype, size = DTYPES[request["dtype"]], {"f64": 8, "f32": 4}.get(request["dtype"], 2)
        n, c, d = request["rows"], request["classes"], request["features"]
        self.uses_features = request["uses_features"]
        data = torch.from_numpy(np.fromfile(request["file"], np.uint8))
        at = 0

        def take(count, dtype, size):
            nonlocal at
            part = data[at : at + count * size].clone().view(dtype)
            at += count * size
            return part.to(self.device)

        self.sets = []
        for _ in range(request["sets"]):
            logits = take(n * c, dtype, size).view(n, c).requires_grad_()
            labels = take(n, torch.int64, 8)
            features = take(n * d, dtype, size).view(n, d).requires_grad_() if self.uses_features else None
            self.sets.append((logits, labels, features))
        weights = torch.linspace(0.5, 1.5, c, dtype=torch.float64).to(dtype).to(self.device)
        self.loss = LOSSES[request["loss"]](weights)
        if request["arm"] == "pytorch-compile":
            torch._dynamo.reset()
            self.loss = torch.compile(self.loss, dynamic=False)

    def step(self, index):
        logits, labels, features = self.sets[index]
        wanted = [logits, features] if self.uses_features else [logits]
        loss = self.loss(logits, labels, features)
        return loss, torch.autograd.grad(loss, wanted)

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def compute(self, file):
        loss, grads = self.step(0)
        names = ["loss", "logits_grad", "features_grad"]
        with open(file, "wb") as out:
            shapes = []
            for name, value in zip(names, [loss, *grads]):
                value = value.detach().double().cpu().numpy()
                out.write(value.tobytes())
                shapes.append([name, list(value.shape)])
        return {"outputs": shapes}

    def block(self, sets):
        seconds = []
        for index in sets:
            self.wait()
            start = time.perf_counter()
            self.step(index)
            self.wait()
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}


def main():
    # A Ctrl-C is the benchmark's to handle; without it, its end of the pipe closes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not get among the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    problems = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": True, **handle(request, problems)}
        except Exception as error:  # an answer is owed, whatever happened
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}".strip()[:2000]}
        print(json.dumps(answer), file=answers, flush=True)


def handle(request, problems):
    match request["op"]:
        case "hello":
            return {"name": f"PyTorch {torch.__version__}", "losses": sorted(LOSSES)}
        case "load":
            problems[request["arm"]] = Problem(request)
            return {}
        case "compute":
            return problems[request["arm"]].compute(request["file"])
        case "block":
            return problems[request["arm"]].block(request["sets"])
        case "unload":
            problems.pop(request["arm"], None)
            return {}
        case other:
            raise ValueError(f"no operation {other!r}")


if __name__ == "__main__":
    main()
