"""PyTorch as a peer of `ibgraph bench`: published losses forward and backward, and training steps of classifiers."""

import torch
from losses import LOSSES, loss
from protocol import Batches, serve, step_batches

DTYPES = {"f32": torch.float32, "f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16}


def compiled(function, request):
    if request["arm"] != "pytorch-compile":
        return function
    torch._dynamo.reset()
    return torch.compile(function, dynamic=False)


class Loss:
    """A loss by itself with its sets of inputs, ready to run."""

    def __init__(self, request):
        self.device = torch.device(request["device"])
        dtype = DTYPES[request["dtype"]]
        n, c, d = request["rows"], request["classes"], request["features"]
        self.uses_features = request["uses_features"]
        batches = Batches(request["file"])

        def take(shape, dtype):
            part = batches.take(shape, None, dtype.itemsize)
            return torch.from_numpy(part).view(dtype).view(shape).to(self.device)

        self.sets = []
        for _ in range(request["sets"]):
            logits, labels = take([n, c], dtype).requires_grad_(), take([n], torch.int64)
            features = take([n, d], dtype).requires_grad_() if self.uses_features else None
            self.sets.append((logits, labels, features))
        self.loss = compiled(loss(request, dtype, self.device), request)

    def step(self, index):
        logits, labels, features = self.sets[index]
        wanted = [logits, features] if self.uses_features else [logits]
        loss = self.loss(logits, labels, features)
        return loss, torch.autograd.grad(loss, wanted)

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def compute(self):
        loss, grads = self.step(0)
        values = dict(zip(["loss", "logits_grad", "features_grad"], [loss, *grads]))
        return {name: value.detach().double().cpu().numpy() for name, value in values.items()}


class Step:
    """A training step of an exported classifier: forward, loss, backward, optimizer."""

    def __init__(self, request):
        from onnx_classifier import Classifier, optimizer

        step = request["step"]
        self.device = torch.device(request["device"])
        outputs = [step["logits"], step["features"]]
        self.model = Classifier(step["model"], outputs, step["parameters"]).to(self.device)
        reference, sets = step_batches(request)
        place = lambda pair: tuple(torch.from_numpy(array).to(self.device) for array in pair)
        self.reference, self.sets = place(reference), [place(pair) for pair in sets]
        self.loss = loss(request, torch.float32, self.device)
        self.optimizer = lambda: optimizer(step["recipe"], self.model.parameters())
        self.request = request

    def ready(self, x):
        """Readies the model for batches of this shape, with an optimizer that remembers nothing."""
        self.model.prepare(x)
        self.run = compiled(lambda x, labels: self.loss(*heads(self.model(x), labels)), self.request)
        self.update = self.optimizer()

    def train(self, x, labels):
        loss = self.run(x, labels)
        loss.backward()
        self.update.step()
        self.update.zero_grad()
        return loss

    def losses(self, rate, steps):
        initial = [parameter.detach().clone() for parameter in self.model.parameters()]
        self.ready(self.reference[0])
        for group in self.update.param_groups:
            group["lr"] = rate
        losses = [self.train(*self.reference).item() for _ in range(steps)]
        with torch.no_grad():
            for parameter, value in zip(self.model.parameters(), initial):
                parameter.copy_(value)
        # What is timed has a learning rate of 0.
        self.ready(self.sets[0][0])
        return losses

    def step(self, index):
        self.train(*self.sets[index])

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def heads(outputs, labels):
    logits, features = outputs
    return logits, labels, features


def load(request):
    torch.set_num_threads(request["threads"])
    return Step(request) if request.get("step") else Loss(request)


if __name__ == "__main__":
    name = f"PyTorch {torch.__version__}"
    providers = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    serve({"name": name, "losses": sorted(LOSSES), "providers": providers}, load)
