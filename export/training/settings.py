"""How long and how fast a network learns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True, slots=True)
class Rate:
    """The learning rate at each moment.

    peak : highest rate.
    kind : ``constant``; ``halved`` every `every` epochs; ``cosine``: up from a tenth in the first
        tenth of the time, then down to a hundredth along a half wave.
    """

    peak: float
    kind: Literal["constant", "halved", "cosine"] = "constant"
    every: int = 10

    def at(self, epoch: int, done: float) -> float:
        """Return the rate.

        Parameters
        ----------
        epoch : from 0. done : share of all steps that are done, 0 to 1.
        """
        if self.kind == "halved":
            return float(self.peak * 0.5 ** (epoch // self.every))
        if self.kind == "cosine":
            if done < 0.1:
                return self.peak * (0.1 + 9 * done)
            return self.peak * (0.01 + 0.99 * (1 + math.cos(math.pi * (done - 0.1) / 0.9)) / 2)
        return self.peak


@dataclass(frozen=True, slots=True)
class Settings:
    """All numbers of a training.

    epochs : at most. rate : see `Rate`. optimiser : and its momentum and weight decay.
    clip : largest norm of the gradient; None for none.
    patience : epochs without a better loss on the patients who decide when to stop, after which it
        ends with the best weights; None for all epochs.
    stopping : share of the patients who decide.
    bag : cells of one slide in a step, at most. batch : bags, or images, in a step.
    views : augmented passes that are averaged in a test; 1 for one pass of the cells as they are.
    balanced : labels weigh alike, however many patients have them.
    save_every : steps between two copies of the state on disk.
    """

    epochs: int
    rate: Rate
    optimiser: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip: float | None = None
    patience: int | None = None
    stopping: float = 0.0
    bag: int = 50
    batch: int = 1
    views: int = 1
    balanced: bool = True
    save_every: int = 50
    seed: int = 1

    def make_optimiser(self, parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        """Return the optimiser for a module's parameters."""
        if self.optimiser == "sgd":
            return torch.optim.SGD(
                parameters,
                self.rate.peak,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
            )
        made = torch.optim.Adam if self.optimiser == "adam" else torch.optim.AdamW
        return made(parameters, self.rate.peak, weight_decay=self.weight_decay)
