"""Makes cases.json with PyTorch: parameters after every step of its optimizers, in float64.

    python make.py > cases.json      # made with torch 1.13.1; any later one gives the same numbers

Two parameters, given gradients, a learning rate that changes from step to step. A case may clip the global norm of the
gradients, or average two micro-batches a step.
"""

import json

import torch

STEPS = 6
RATES = [0.1, 0.1, 0.05, 0.02, 0.02, 0.01]
CASES = {
    "sgd": dict(kind="sgd"),
    "sgd_decay": dict(kind="sgd", weight_decay=0.05),
    "momentum": dict(kind="sgd", momentum=0.9),
    "momentum_decay": dict(kind="sgd", momentum=0.8, weight_decay=2e-4),
    "nesterov": dict(kind="sgd", momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": dict(kind="adam"),
    "adam_decay": dict(kind="adam", betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1),
    "adamw": dict(kind="adamw"),
    "adamw_decay": dict(kind="adamw", betas=(0.9, 0.95), weight_decay=0.3),
    "momentum_clip": dict(kind="sgd", momentum=0.9, clip=1.0),
    "adamw_clip": dict(kind="adamw", clip=3.5),
    "adam_accumulate": dict(kind="adam", micro=2),
    "momentum_clip_accumulate": dict(kind="sgd", momentum=0.9, clip=1.0, micro=2),
}


def main():
    generator = torch.Generator().manual_seed(7)
    random = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator).float().double()
    start = {"weight": random(3, 4), "bias": random(4)}
    gradients = [{name: random(*value.shape) for name, value in start.items()} for _ in range(2 * STEPS)]
    flat = lambda values: {name: value.detach().flatten().tolist() for name, value in values.items()}
    cases = {}
    for name, options in CASES.items():
        options = dict(options)
        kind, clip, micro = options.pop("kind"), options.pop("clip", None), options.pop("micro", 1)
        optimizer_type = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind]
        parameters = {name: value.clone().requires_grad_() for name, value in start.items()}
        optimizer = optimizer_type(parameters.values(), lr=0.1, **options)
        after, norms = [], []
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = RATES[step]
            optimizer.zero_grad()
            for part in range(micro):
                for key, value in parameters.items():
                    gradient = gradients[step * micro + part][key] / micro
                    value.grad = gradient.clone() if value.grad is None else value.grad + gradient
            if clip:
                norms.append(float(torch.nn.utils.clip_grad_norm_(parameters.values(), clip)))
            optimizer.step()
            after.append(flat(parameters))
        cases[name] = dict(kind=kind, clip=clip, micro=micro, options=options, after=after, norms=norms)
    print(json.dumps(dict(torch=torch.__version__, rates=RATES, shapes={"weight": [3, 4], "bias": [4]}, start=flat(start),
                          gradients=[flat(g) for g in gradients], cases=cases), indent=None, separators=(",", ":")))


main()
