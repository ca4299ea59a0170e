"""Heads that turn a slide's counts into its probability."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

ALTERNATIVES = ("aml", "healthy")
"""What APL is told from, in the order of the outputs."""


class RatioEnsemble(nn.Module):
    """The ensemble network of Eckardt 2022: one fully connected layer per question, no dropout.

    Eckardt 2022, "Image-level classification via ensemble learning": the ratios of myeloblasts,
    promyelocytes and cells with Auer rods "combined via a fully connected layer without dropout to
    form binary ensemble neural nets". The activation is not stated: the logistic function, as for
    any binary output.

    float32 (N, 3) ratios in [0, 1] to the probabilities of APL against AML and against healthy,
    (N,) each, or of one of them where nothing else was learned. Each is a logistic function, so it
    is monotonic in every ratio, which the interval of the verdict relies on. Keys: aml, healthy.

    Parameters
    ----------
    alternatives : which of `ALTERNATIVES`.
    """

    def __init__(self, alternatives: Sequence[str] = ALTERNATIVES) -> None:
        super().__init__()
        self.alternatives = tuple(alternatives)
        for name in self.alternatives:
            self.add_module(name, nn.Linear(3, 1))

    def forward(self, ratios: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the probability for each alternative, (N,) each."""
        each = (self.get_submodule(name)(ratios) for name in self.alternatives)
        return tuple(torch.sigmoid(logit)[:, 0] for logit in each)
