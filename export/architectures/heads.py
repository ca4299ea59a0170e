"""Heads that turn a slide's counts into its probability."""

from __future__ import annotations

import torch
from torch import nn


class RatioEnsemble(nn.Module):
    """The ensemble network of Eckardt 2022: one fully connected layer per question, no dropout.

    Eckardt 2022, "Image-level classification via ensemble learning": the ratios of myeloblasts,
    promyelocytes and cells with Auer rods "combined via a fully connected layer without dropout to
    form binary ensemble neural nets". The activation is not stated: the logistic function, as for
    any binary output.

    float32 (N, 3) ratios in [0, 1] to the probabilities of APL against AML and against healthy,
    (N,) each. Each is a logistic function, so it is monotonic in every ratio, which the
    interval of the verdict relies on. Keys: aml, healthy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.aml = nn.Linear(3, 1)
        self.healthy = nn.Linear(3, 1)

    def forward(self, ratios: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both probabilities, (N,) each."""
        return torch.sigmoid(self.aml(ratios))[:, 0], torch.sigmoid(self.healthy(ratios))[:, 0]
