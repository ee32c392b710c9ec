"""The losses as their authors publish them: that is what a compiled graph is compared with.

Each takes the class weights [C] or None, the class counts [C], and the loss's parameters by name.
"""

import torch
import torch.nn.functional as F


def influence(logits, labels, features, alpha, epsilon):
    """alpha / (‖softmax - onehot‖₁ · ‖features‖₁ + epsilon), Park et al., ICCV 2021."""
    error = torch.sum(torch.abs(F.softmax(logits, dim=1) - F.one_hot(labels, logits.shape[1])), 1)
    return alpha / (error * torch.sum(torch.abs(features), 1) + epsilon)


def ib(weights, counts, alpha, epsilon):
    def loss(logits, labels, features):
        ce = F.cross_entropy(logits, labels, reduction="none", weight=weights)
        return torch.mean(ce * influence(logits, labels, features, alpha, epsilon))

    return loss


def ib_focal(weights, counts, alpha, epsilon, gamma):
    def loss(logits, labels, features):
        ce = F.cross_entropy(logits, labels, reduction="none", weight=weights)
        p = torch.exp(-ce)
        return torch.mean((1 - p) ** gamma * ce * influence(logits, labels, features, alpha, epsilon))

    return loss


def cross_entropy(weights, counts, label_smoothing=0.0):
    return lambda logits, labels, features: F.cross_entropy(
        logits, labels, weight=weights, label_smoothing=label_smoothing
    )


def focal(weights, counts, gamma):
    """Lin et al., ICCV 2017, eq. 5."""

    def loss(logits, labels, features):
        ce = F.cross_entropy(logits, labels, reduction="none")
        row = (1 - torch.exp(-ce)) ** gamma * ce
        return torch.mean(row if weights is None else weights[labels] * row)

    return loss


def ldam(weights, counts, max_margin, scale):
    """Cao et al., NeurIPS 2019: margins n^(-1/4), the largest of them max_margin."""
    margins = counts ** -0.25
    margins = margins * (max_margin / margins.max())

    def loss(logits, labels, features):
        margin = F.one_hot(labels, logits.shape[1]) * margins[labels][:, None]
        return F.cross_entropy(scale * (logits - margin), labels, weight=weights)

    return loss


def logit_adjusted(weights, counts, tau=1.0):
    """Menon et al., ICLR 2021, eq. 10; with tau = 1 the balanced softmax of Ren et al., NeurIPS 2020."""
    bias = tau * torch.log(counts / counts.sum())
    return lambda logits, labels, features: F.cross_entropy(logits + bias, labels, weight=weights)


LOSSES = {
    "balanced-softmax": logit_adjusted,
    "class-balanced": cross_entropy,
    "cross-entropy": cross_entropy,
    "focal": focal,
    "ib": ib,
    "ib-cb": ib,
    "ib-focal": ib_focal,
    "ldam": ldam,
    "ldam-drw": ldam,
    "logit-adjusted": logit_adjusted,
}


def loss(request, dtype, device):
    """The loss of a request, with its tables in this type on this device."""
    table = lambda values: None if values is None else torch.tensor(values, dtype=torch.float64).to(dtype).to(device)
    return LOSSES[request["loss"]](table(request["weights"]), table(request["counts"]), **request["parameters"])
