"""Search for settings that a paper leaves to one: trials that Optuna proposes (Akiba et al. 2019).

Every trial is trained on two thirds of the patients, and judged by its lowest loss on the others.
A killed search goes on at the trial, and at the step, where it was: a proposal depends on the seed,
the trial's number and what earlier trials gave, and on nothing that lives in memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from edgeapl.errors import UsageError
from edgeapl.export.training.cell_pool import CellPool
from edgeapl.export.training.device import Device
from edgeapl.export.training.loop import Fit
from edgeapl.export.training.plan import TrainingRequest, digest_of, labels_of, rounds_of
from edgeapl.export.training.recipe import TrainingRecipe
from edgeapl.export.training.run_state import StateFile
from edgeapl.export.training.trainer import STATE, Watcher, build_of, data_for
from edgeapl.export.training.training_data import UNKNOWN
from edgeapl.optional_imports import require_library
from edgeapl.types import Int64

PARTS = 3
Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class Trial:
    """What was tried, by name, and the lowest loss on patients who were not learned from."""

    values: Values
    loss: float


def search(
    recipe: TrainingRecipe,
    pool: CellPool,
    device: Device,
    request: TrainingRequest,
    trials: int,
    watcher: Watcher,
) -> TrainingRecipe:
    """Return the recipe with the settings of the best trial, and all trials in its form.

    Patients whom `request` keeps for a test take no part. Raises UsageError when the recipe leaves
    nothing to search for, or Optuna is missing; and what `trainer.train` raises.
    """
    if recipe.variant is None:
        raise UsageError("nothing is searched for", recipe.name, "leave --search away")
    asked = replace(request, folds=PARTS, seeds=1)
    split, seed = rounds_of(recipe, labels_of(recipe, pool), pool, asked)[0]
    done: list[Trial] = []
    for number in range(trials):
        values = _proposed(recipe, done, seed)
        tried = recipe.variant(recipe, values)
        watcher.said(f"trial {number + 1} of {trials}: {text_of(values)}")
        watcher.begins(split, seed, number + 1, trials)
        run = digest_of(tried, pool, device, asked, str(request.init))
        finished = StateFile(request.out / STATE / f"trial-{number + 1}.done.pt", run)
        stored = finished.read()
        if stored is None:
            stored = {"loss": _tried(tried, pool, device, asked, number, watcher, run)}
            finished.write(stored)
        done.append(Trial(values, stored["loss"]))
    best = min(done, key=lambda one: one.loss)
    watcher.said(f"best: {text_of(best.values)}, loss {best.loss:.4f}")
    found = recipe.variant(recipe, best.values)
    return replace(found, form={**found.form, "trials": [asdict(one) for one in done]})


def text_of(values: Mapping[str, float]) -> str:
    """Return what is tried, in words."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _proposed(recipe: TrainingRecipe, done: list[Trial], seed: int) -> Values:
    optuna = require_library("optuna", "--search", "pip install 'edgeapl[train]'")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ranges: dict[str, Any] = {
        name: optuna.distributions.IntDistribution(int(one.low), int(one.high), log=one.log)
        if one.whole
        else optuna.distributions.FloatDistribution(one.low, one.high, log=one.log)
        for name, one in recipe.space.items()
    }
    own = int(np.random.SeedSequence([seed, len(done)]).generate_state(1)[0])
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=own))
    for one in done:
        made = optuna.trial.create_trial(
            params=dict(one.values), distributions=ranges, value=one.loss
        )
        study.add_trial(made)
    return dict(study.ask(ranges).params)


def _tried(
    recipe: TrainingRecipe,
    pool: CellPool,
    device: Device,
    request: TrainingRequest,
    number: int,
    watcher: Watcher,
    run: str,
) -> float:
    data, classes = data_for(recipe, pool, device, request.positive)
    split, _ = rounds_of(recipe, labels_of(recipe, pool), pool, request)[0]

    def known(patients: tuple[str, ...]) -> Int64:
        rows = pool.rows_of(patients)
        return np.asarray(rows[data.truth[rows] != UNKNOWN], dtype=np.int64)

    objective = recipe.objective(replace(data, train=known((*split.train, *split.stopping))))
    state = StateFile(request.out / STATE / f"trial-{number + 1}.pt", run)
    fitted = Fit(
        name=f"trial {number + 1}",
        build=build_of(recipe, classes, request.init, watcher),
        objective=objective,
        settings=recipe.settings,
        device=device,
        state=state,
        listener=watcher,
        watched=known(split.tested),
        chooses=False,
    ).run()
    state.path.unlink(missing_ok=True)
    losses = [one.watched_loss for one in fitted.history if one.watched_loss is not None]
    return min(losses, default=math.inf)
