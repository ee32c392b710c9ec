"""The losses as their authors publish them: that is what a compiled graph is compared with."""

import torch
import torch.nn.functional as F

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
