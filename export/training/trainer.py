"""From labelled slides to a trained network: folds, seeds, and the model that is made for use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from edgeapl.export.checkpoints import read_checkpoint
from edgeapl.export.training.bag_objective import slides_of
from edgeapl.export.training.cell_pool import CellPool, Cutting, load_pool
from edgeapl.export.training.device import Device
from edgeapl.export.training.duplicates import check_patients_apart, grouped_alike
from edgeapl.export.training.initial_weights import start_from
from edgeapl.export.training.labelled_set import LabelledSet
from edgeapl.export.training.loop import Epoch, Fit, Fitted, Listener
from edgeapl.export.training.metrics import TestedFold
from edgeapl.export.training.objective import Objective, Predictions, packed, unpacked
from edgeapl.export.training.plan import (
    TrainingRequest,
    classes_of,
    data_of,
    digest_of,
    labels_of,
    rounds_of,
)
from edgeapl.export.training.recipe import Classes, TrainingRecipe
from edgeapl.export.training.run_state import StateFile
from edgeapl.export.training.split import Split
from edgeapl.export.training.training_data import UNKNOWN, TrainingData
from edgeapl.types import Int64
from edgeapl.wording.printable import printable

STATE = "state"

MOST_WATCHED = 32
"""Cells of a slide that draw its curve while others are learned from; a test takes all."""

MOST_SHOWN = 1500
"""Cells of which the model's features are kept, for the picture of them."""


class Watcher(Listener, Protocol):
    """Is told how all of a training goes on."""

    def said(self, text: str) -> None:
        """Hear what begins."""

    def read(self, done: int, images: int) -> None:
        """Hear how many of all images are read."""

    def begins(self, split: Split, seed: int, number: int, rounds: int) -> None:
        """Hear that round `number` of `rounds` begins, from 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """One training and what it said. tested : None where nobody was kept for a test."""

    split: Split
    seed: int
    history: tuple[Epoch, ...]
    best: int
    tested: Predictions | None


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """All that was trained.

    module : the network for use, in evaluation. own : what it says of the cells it learned from.
    rounds : the folds, then the model's own.
    """

    recipe: TrainingRecipe
    labelled: LabelledSet
    pool: CellPool
    classes: Classes
    device: Device
    module: nn.Module
    own: Predictions
    rounds: tuple[Round, ...]

    @property
    def named(self) -> dict[str, list[str]]:
        """The cohort's classes of cells behind each class that was learned; empty for slides."""
        if self.recipe.judges != "cells":
            return {}
        found: dict[str, set[str]] = {one: set() for one in self.classes.slides}
        for image in self.pool.images:
            name = self.recipe.class_of(image)
            if name in found:
                found[name].add(image.cell_class)
        return {one: sorted(names) for one, names in found.items()}

    @property
    def folds(self) -> list[TestedFold]:
        """What the cross-validation said; empty without one."""
        return [_tested(one) for one in self.rounds[:-1]]

    @property
    def test(self) -> list[TestedFold]:
        """What the model says of the patients who were kept for it; empty without any."""
        return [_tested(self.rounds[-1])] if self.rounds[-1].tested is not None else []


def train(
    recipe: TrainingRecipe,
    labelled: LabelledSet,
    device: Device,
    request: TrainingRequest,
    watcher: Watcher,
    pool: CellPool | None = None,
) -> Trained:
    """Train a recipe's network; a run that was killed goes on when it is called again.

    pool : the cells, where they were read for another network of the same system.

    Raises InputError for a cohort that cannot be trained on, UsageError when `request.out` holds
    another training, EngineError when the loss is not a number or memory runs out.
    """
    init = None if request.init is None else read_checkpoint(request.init).digest
    if pool is None:
        pool = read_cells(recipe, labelled, request, watcher)
    labels = labels_of(recipe, pool)
    whole, classes = data_for(recipe, pool, device, request.positive)
    run = digest_of(recipe, pool, device, request, init)
    rounds = rounds_of(recipe, labels, pool, request)
    done: list[Round] = []
    made: tuple[nn.Module, Predictions] | None = None
    for number, (split, seed) in enumerate(rounds, start=1):
        watcher.begins(split, seed, number, len(rounds))
        teaching = _Teaching(whole, recipe, classes, request, run, watcher)
        result, made = teaching.round(split, seed)
        done.append(result)
    assert made is not None
    return Trained(recipe, labelled, pool, classes, device, *made, tuple(done))


def data_for(
    recipe: TrainingRecipe, pool: CellPool, device: Device, positive: str
) -> tuple[TrainingData, Classes]:
    """Return what objectives work with, and the classes. Raises InputError for unknown labels."""
    classes = classes_of(recipe, pool, labels_of(recipe, pool), positive)
    return data_of(recipe, pool, classes, device), classes


def build_of(
    recipe: TrainingRecipe, classes: Classes, init: Path | None, watcher: Watcher
) -> Callable[[], nn.Module]:
    """Return what builds the network, with weights of the file `init` where it has some."""

    def build() -> nn.Module:
        module = recipe.build(classes)
        if init is not None:
            filled = start_from(module, init)
            total = sum(each.numel() for each in module.parameters())
            share = f"{filled / total:.0%} of the weights"
            watcher.said(f"{share} are from {printable(init.name)}")
        return module

    return build


def read_cells(
    recipe: TrainingRecipe, labelled: LabelledSet, request: TrainingRequest, watcher: Watcher
) -> CellPool:
    """Read the cells of a cohort, and see to it that patients are apart. Raises InputError."""
    watcher.said("reading cells")
    cutting = Cutting(
        recipe.crop, recipe.segmenter, request.crops, request.um_per_px, recipe.um_per_px
    )
    pool = load_pool(labelled, cutting, watcher.read)
    if labelled.by_image:
        watcher.said("no patients are known: images are split, so figures are too good")
        return grouped_alike(pool)
    watcher.said("comparing patients")
    check_patients_apart(pool)
    return pool


@dataclass(frozen=True, slots=True, eq=False)
class _Teaching:
    """What all rounds share."""

    data: TrainingData
    recipe: TrainingRecipe
    classes: Classes
    request: TrainingRequest
    run: str
    watcher: Watcher

    def round(self, split: Split, seed: int) -> tuple[Round, tuple[nn.Module, Predictions] | None]:
        """Train one round, or read what it gave; the last one gives the model too."""
        settings = replace(self.data.settings, seed=seed)
        pool = self.data.pool
        rows = pool.rows_of(split.train)
        known = rows[self.data.truth[rows] != UNKNOWN]
        data = replace(self.data, train=known, settings=settings)
        objective = self.recipe.objective(data)
        model = split.name == "model"
        name = "model" if model else f"seed-{seed}-{split.name.replace(' ', '-')}"
        folder = self.request.out / STATE
        finished = StateFile(folder / f"{name}.done.pt", self.run)
        state = StateFile(folder / f"{name}.pt", self.run)
        stored = finished.read()
        if stored is None:
            fitted = Fit(
                name=split.name if model else f"seed {seed}, {split.name}",
                build=build_of(self.recipe, self.classes, self.request.init, self.watcher),
                objective=objective,
                settings=settings,
                device=data.device,
                state=state,
                listener=self.watcher,
                watched=self._watched(split),
                chooses=bool(split.stopping),
            ).run()
            stored = self._content(fitted, objective, split, keep=model)
            finished.write(stored)
            state.path.unlink(missing_ok=True)
        history = tuple(Epoch(**each) for each in stored["history"])
        tested = unpacked(stored["tested"]) if stored["tested"] else None
        result = Round(split, seed, history, stored["best"], tested)
        return result, self._model(objective, stored["module"], known) if model else None

    def _content(
        self, fitted: Fitted, objective: Objective, split: Split, *, keep: bool
    ) -> dict[str, Any]:
        """Return what is kept of a round: its weights only where it made the model."""
        rows = self._known(split.tested)
        with self.data.device.used():
            tested = objective.predict(fitted.module, rows) if len(rows) else None
        return {
            "module": fitted.module.state_dict() if keep else None,
            "history": [asdict(each) for each in fitted.history],
            "best": fitted.best,
            "tested": packed(tested) if tested else None,
        }

    def _model(
        self, objective: Objective, weights: Mapping[str, Any], known: Int64
    ) -> tuple[nn.Module, Predictions]:
        """Return the network for use, and what it says of some cells that it learned from."""
        device = self.data.device
        module = self.recipe.build(self.classes)
        module.load_state_dict(weights)
        module.to(device.kind, memory_format=torch.channels_last).eval()
        some = known[:: -(-len(known) // MOST_SHOWN)]
        with device.used():
            return module, objective.predict(module, some)

    def _watched(self, split: Split) -> Int64:
        """Return what is judged after each epoch: all of those who decide when to stop, or some."""
        if split.stopping:
            return self._known(split.stopping)
        slides = slides_of(self.data, self._known(split.tested))
        thinned = [slide[:: -(-len(slide) // MOST_WATCHED)] for slide in slides]
        return np.concatenate([*thinned, np.empty(0, dtype=np.int64)])

    def _known(self, patients: Sequence[str]) -> Int64:
        rows = self.data.pool.rows_of(patients)
        known: Int64 = rows[self.data.truth[rows] != UNKNOWN]
        return known


def _tested(one: Round) -> TestedFold:
    assert one.tested is not None
    return TestedFold(one.seed, one.split.name, one.tested)
