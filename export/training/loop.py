"""The loop: epochs, steps, early stopping; goes on where it was killed, at any step."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from edgeapl.errors import EngineError
from edgeapl.evaluation.ranking import roc_auc
from edgeapl.export.training.device import Device
from edgeapl.export.training.objective import Objective, Part, Predictions
from edgeapl.export.training.run_state import StateFile
from edgeapl.export.training.settings import Settings
from edgeapl.types import Float32, Int64

BATCHES, STEPS, WEIGHTS = 11, 12, 13
"""What random numbers are drawn for; each has a stream of its own."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch gave.

    loss, area : of what was trained on, as augmented; area under the ROC curve, None where only
        one class was seen. watched_loss, watched_area : of those who are not learned from.
    rate : at its end. seconds : it took.
    """

    loss: float
    area: float | None
    watched_loss: float | None
    watched_area: float | None
    rate: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A trained module, in evaluation, and how it came to be.

    best : number of its epoch, from 0.
    """

    module: nn.Module
    history: tuple[Epoch, ...]
    best: int


class Listener(Protocol):
    """Is told how the training goes on."""

    def stepped(self, epoch: int, step: int, steps: int) -> None:
        """Hear that `step` of `steps` in this epoch is done; both from 1."""

    def ended(self, number: int, epoch: Epoch) -> None:
        """Hear what an epoch gave; number from 1."""


@dataclass(slots=True)
class _Progress:
    """Where a training stands; plain values alone, so that it can be stored."""

    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    truth: list[int] = field(default_factory=list)
    probabilities: list[list[float]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: int = -1
    best_loss: float = math.inf
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class Fit:
    """One training.

    name : for messages. build : gives a new module; its weights are drawn with the seed.
    watched : int64 (K,), rows that are judged after each epoch; empty for none.
    chooses : what is watched decides when to stop; else it is only shown.
    """

    name: str
    build: Callable[[], nn.Module]
    objective: Objective
    settings: Settings
    device: Device
    state: StateFile
    listener: Listener
    watched: Int64
    chooses: bool

    def run(self) -> Fitted:
        """Train, from the stored state on if there is one.

        Raises EngineError when the loss is not a number, or memory runs out.
        """
        with self.device.used():
            torch.manual_seed(_seed(self.settings.seed, WEIGHTS))
            module = self.build().to(self.device.kind, memory_format=torch.channels_last)
            optimiser = self.settings.make_optimiser(module.parameters())
            progress, best = self._stored(module, optimiser)
            while not self._over(progress):
                best = self._epoch(module, optimiser, progress, best)
            if best is not None:
                module.load_state_dict(best)
            module.eval()
        history = tuple(Epoch(**each) for each in progress.history)
        return Fitted(module, history, progress.best if best is not None else len(history) - 1)

    def _stored(
        self, module: nn.Module, optimiser: torch.optim.Optimizer
    ) -> tuple[_Progress, dict[str, Any] | None]:
        stored = self.state.read()
        if stored is None:
            return _Progress(), None
        module.load_state_dict(stored["module"])
        optimiser.load_state_dict(stored["optimiser"])
        return _Progress(**stored["progress"]), stored["best"]

    def _save(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        progress: _Progress,
        best: dict[str, Any] | None,
    ) -> None:
        self.state.write(
            {
                "module": module.state_dict(),
                "optimiser": optimiser.state_dict(),
                "progress": asdict(progress),
                "best": best,
            }
        )

    def _over(self, progress: _Progress) -> bool:
        patience = self.settings.patience
        waited = progress.epoch - 1 - progress.best
        stalled = self.chooses and patience is not None and waited >= patience
        return progress.epoch >= self.settings.epochs or (progress.best >= 0 and stalled)

    def _epoch(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        progress: _Progress,
        best: dict[str, Any] | None,
    ) -> dict[str, Any] | None:
        settings = self.settings
        begun = time.monotonic() - progress.seconds
        batches = self.objective.batches(
            np.random.default_rng([settings.seed, BATCHES, progress.epoch])
        )
        module.train()
        while progress.step < len(batches):
            self._step(module, optimiser, progress, batches)
            progress.seconds = time.monotonic() - begun
            done = progress.epoch * len(batches) + progress.step
            if done % settings.save_every == 0 and progress.step < len(batches):
                self._save(module, optimiser, progress, best)
            self.listener.stepped(progress.epoch + 1, progress.step, len(batches))
        watched = self._watch(module)
        epoch = Epoch(
            loss=float(np.mean(progress.losses)),
            area=area(progress.truth, np.array(progress.probabilities, dtype=np.float32)),
            watched_loss=None if watched is None else watched.loss,
            watched_area=None if watched is None else area_of(watched),
            rate=float(optimiser.param_groups[0]["lr"]),
            seconds=time.monotonic() - begun,
        )
        if self.chooses and watched is not None and watched.loss < progress.best_loss:
            progress.best, progress.best_loss = progress.epoch, watched.loss
            best = copy.deepcopy(module.state_dict())
        progress.history.append(asdict(epoch))
        progress.epoch, progress.step, progress.seconds = progress.epoch + 1, 0, 0.0
        progress.losses, progress.truth, progress.probabilities = [], [], []
        self._save(module, optimiser, progress, best)
        self.listener.ended(progress.epoch, epoch)
        return best

    def _step(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        progress: _Progress,
        batches: Sequence[Any],
    ) -> None:
        settings = self.settings
        done = progress.epoch * len(batches) + progress.step
        rate = settings.rate.at(progress.epoch, done / (settings.epochs * len(batches)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        # Each step draws from a stream of its own, dropout too: going on needs no stored state.
        seed = _seed(settings.seed, STEPS, done)
        torch.manual_seed(seed)
        random = torch.Generator().manual_seed(seed)
        for part in self.objective.parts(module, batches[progress.step], random):
            self._move(module, optimiser, part, progress)
        progress.step += 1

    def _move(
        self, module: nn.Module, optimiser: torch.optim.Optimizer, part: Part, progress: _Progress
    ) -> None:
        loss = float(part.loss.detach())
        if not math.isfinite(loss):
            where = f"{self.name}, epoch {progress.epoch + 1}, step {progress.step + 1}"
            mend = "give a lower --rate or --precision float32; check --init"
            raise EngineError("loss is not a number", where, mend)
        optimiser.zero_grad(set_to_none=True)
        part.loss.backward()
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(module.parameters(), self.settings.clip)
        optimiser.step()
        progress.losses.append(loss)
        progress.truth += part.truth
        progress.probabilities += part.probabilities.tolist()

    def _watch(self, module: nn.Module) -> Predictions | None:
        if not len(self.watched):
            return None
        module.eval()
        return self.objective.predict(module, self.watched)


def _seed(*words: int) -> int:
    """Return the seed of a stream of random numbers."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


def area_of(said: Predictions) -> float | None:
    """Return the area under the ROC curve; see `area`."""
    return area(said.truth.tolist(), said.probabilities)


def area(truth: Sequence[int], probabilities: Float32) -> float | None:
    """Return the area under the ROC curve of the last of two classes.

    Of more classes, the mean of each against the others; None where only one class is there.
    """
    if not len(truth):
        return None
    wanted = np.array(truth)
    columns = range(probabilities.shape[1])
    if len(columns) == 2:
        columns = range(1, 2)
    areas = [
        roc_auc(wanted == column, probabilities[:, column].astype(np.float64))
        for column in columns
        if 0 < int((wanted == column).sum()) < len(wanted)
    ]
    return float(np.mean(areas)) if areas else None
