"""Proves that exported networks answer like the modules they were made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.engines.exclusive import ExclusiveEngines
from edgeapl.export.probabilities import check_answers, indistinct_outputs, shares_already
from edgeapl.export.proof_images import ProofCells
from edgeapl.export.proof_runs import BATCHES, RecordedRuns, Rows, ShownRows
from edgeapl.export.recipes.recipe import NetworkRecipe, Recipe
from edgeapl.export.single_cells import NOT_ALONE, differing
from edgeapl.inference import classify
from edgeapl.inference.slide_answer import SlideAnswer, answer_slide
from edgeapl.model.assembled import segmenter_of
from edgeapl.protocols import Arrays, Engine
from edgeapl.slide_findings import of_model
from edgeapl.types import UInt8

SLIDE_FACTOR = 10
"""The slide's probability may differ by this many tolerances: a head adds many features up."""

Opener = Callable[[str], Engine]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two runs of one network differ in one output.

    rows : batch size. absolute, relative : largest differences; the relative one is divided by the
    largest absolute value of the output. allowed : limit of the absolute one.
    """

    network: str
    output: str
    rows: int
    absolute: float
    relative: float
    allowed: float

    @property
    def ok(self) -> bool:
        """Whether the difference is within its limit; NaN is not."""
        return self.absolute <= self.allowed


@dataclass(frozen=True, slots=True)
class Agreement:
    """Rows for which both gave the same class, of all, and how many differ beyond a tie."""

    network: str
    rows: int
    same: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Proof:
    """The whole comparison; `problems` is empty if the export may be used.

    warnings : what is not certainly wrong.
    """

    differences: tuple[Difference, ...]
    agreements: tuple[Agreement, ...]
    exported: SlideAnswer
    reference: SlideAnswer
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def prove(
    recipe: Recipe,
    manifest: Manifest,
    exported: Opener,
    reference: Opener,
    cells: ProofCells,
    say: Say,
) -> Proof:
    """Run every network both ways on the inputs it gets in the pipeline, then the whole slide.

    Parameters
    ----------
    recipe : names the networks and the tolerance. manifest : of the bundle.
    exported, reference : open the networks in the runtime and in torch.
    cells : what to run on. say : called with each step.

    One network is in memory at a time, and on either way runs on each batch once: what the slide
    has answered is not asked again. Raises ConfigError when the recipe makes no probabilities of a
    network's answers.
    """
    names = tuple(network.name for network in recipe.networks)
    shown, ours, theirs = ShownRows(recipe), RecordedRuns(), RecordedRuns()

    def record(name: str, given: Arrays, answer: Arrays) -> None:
        shown.note(name, given)
        ours.note(name, given, answer)

    say("whole slide with the exported networks")
    with ExclusiveEngines(names, exported, record) as engines:
        answer = slide_answer(manifest, engines, cells.crops)
        for frame in cells.frames if manifest.detector_networks else ():
            # So that the inputs of the networks that find cells are on record.
            segmenter_of(manifest, engines).segment(frame)
            if all(shown.has(name) for name in manifest.detector_networks):
                break
    batches = {name: shown.batches(name, cells.crops) for name in names}
    say("whole slide with the torch modules")
    references: dict[str, Mapping[int, Mapping[str, Rows]]] = {}

    def complete(name: str, given: Arrays, answer: Arrays) -> None:
        """Run the batches to compare while the module is in memory: it takes long to make."""
        theirs.note(name, given, answer)
        if name not in references:
            references[name] = {}  # its own runs come here too
            references[name] = theirs.complete(name, engines[name], batches[name])

    with ExclusiveEngines(names, reference, complete) as engines:
        wanted = slide_answer(manifest, engines, cells.crops)
    differences: list[Difference] = []
    agreements: list[Agreement] = []
    warnings: list[str] = []
    mixed: list[str] = []
    for network in recipe.networks:
        name = network.name
        say(f"compare {name}")
        if not batches[name]:
            continue
        if name not in references:
            references[name] = _answers(name, reference, theirs, batches[name])
        answers = list(references[name].values())
        given = _answers(name, exported, ours, batches[name])
        compared = _compare(network, given, references[name], recipe.tolerance)
        differences += compared[0]
        agreements += compared[1]
        check_answers(network, manifest, answers[-1])
        mixed += _mixed(name, answers, recipe.tolerance)
        if manifest.trained:
            rows = shown.rows(name, cells.crops)
            warnings += indistinct_outputs(network, answers[-1], 0 if rows is None else len(rows))
            warnings += shares_already(network, answers[-1])
    problems = *mixed, *_problems(differences, agreements, answer, wanted, recipe.tolerance)
    return Proof(tuple(differences), tuple(agreements), answer, wanted, problems, tuple(warnings))


def _answers(
    name: str, opener: Opener, runs: RecordedRuns, batches: Mapping[int, Arrays]
) -> dict[int, Mapping[str, Rows]]:
    """Open a network for the batches that it has not run yet."""
    engine = opener(name)
    answers = runs.complete(name, engine, batches)
    engine.close()
    return answers


def slide_answer(manifest: Manifest, engines: Mapping[str, Engine], crops: UInt8) -> SlideAnswer:
    """Judge all crops as one slide, network after network."""
    result = classify(manifest, engines, crops, max(BATCHES))
    return answer_slide(manifest, engines, result, of_model(manifest))


def _compare(
    network: NetworkRecipe,
    given: Mapping[int, Mapping[str, Rows]],
    wanted: Mapping[int, Mapping[str, Rows]],
    tolerance: float,
) -> tuple[list[Difference], list[Agreement]]:
    """Compare the answers to every batch, by its rows."""
    differences = []
    agreements = []
    for size, answers in wanted.items():
        differences += [
            _difference(network.name, name, size, given[size][name], values, tolerance)
            for name, values in answers.items()
        ]
        if network.classes:
            agreements.append(_agreement(network, given[size], answers, tolerance))
    return differences, agreements


def _mixed(network: str, answers: Sequence[Mapping[str, Rows]], tolerance: float) -> list[str]:
    """Find outputs that differ for the same cells in a smaller batch.

    What drawn cells do not show, because their answers are saturated, or in a batch of few, may
    show here.
    """
    *smaller, largest = answers
    for one in smaller:
        same = {name: largest[name][: len(values)] for name, values in one.items()}
        name = differing(one, same, tolerance)
        if name:
            rows = [len(batch[name]) for batch in (one, largest)]
            return [f"{NOT_ALONE}: {network}.{name} in batches of {rows[0]} and {rows[1]}"]
    return []


def _difference(
    network: str, output: str, size: int, have: Rows, want: Rows, tolerance: float
) -> Difference:
    if have.shape != want.shape:
        return Difference(network, output, size, np.inf, np.inf, tolerance)
    wanted = np.asarray(want, dtype=np.float64)
    largest = float(np.abs(wanted).max(initial=0.0))
    # NaN anywhere makes the difference NaN, which is never within a limit.
    absolute = float(np.abs(np.asarray(have, dtype=np.float64) - wanted).max(initial=0.0))
    relative = absolute / largest if largest else 0.0
    return Difference(network, output, size, absolute, relative, tolerance * max(1.0, largest))


def _agreement(
    network: NetworkRecipe, have: Mapping[str, Rows], want: Mapping[str, Rows], tolerance: float
) -> Agreement:
    given = _columns(network, have)
    wanted = _columns(network, want)
    same = given.argmax(axis=1) == wanted.argmax(axis=1)
    best = np.sort(wanted, axis=1)
    tied = best[:, -1] - best[:, -2] <= 2 * tolerance
    return Agreement(network.name, len(same), int(same.sum()), int((~same & ~tied).sum()))


def _columns(network: NetworkRecipe, answers: Mapping[str, Rows]) -> NDArray[np.float64]:
    return np.stack([answers[name] for name in network.classes], axis=1).astype(np.float64)


def _problems(
    differences: list[Difference],
    agreements: list[Agreement],
    have: SlideAnswer,
    want: SlideAnswer,
    tolerance: float,
) -> tuple[str, ...]:
    found = [
        f"{d.network}.{d.output} differs by {d.absolute:.3g} at batch {d.rows}, "
        f"allowed {d.allowed:.3g}"
        for d in differences
        if not d.ok
    ]
    found += [
        f"{a.network} assigns {a.wrong} of {a.rows} cells to another class"
        for a in agreements
        if a.wrong
    ]
    if have.decision != want.decision:
        found.append(f"the slide's verdict is {have.decision}, with torch {want.decision}")
    if not _close(have.probability, want.probability, SLIDE_FACTOR * tolerance):
        found.append(
            f"the slide's probability is {have.probability}, with torch {want.probability}"
        )
    return tuple(found)


def _close(have: float | None, want: float | None, limit: float) -> bool:
    if have is None or want is None:
        return have is want
    return abs(have - want) <= limit


def proof_document(proof: Proof) -> dict[str, Any]:
    """Return the proof as plain JSON values; differences that are not numbers are null."""
    networks: dict[str, Any] = {}
    for difference in proof.differences:
        outputs = networks.setdefault(difference.network, {"outputs": {}})["outputs"]
        outputs.setdefault(difference.output, []).append(
            {
                "batch": difference.rows,
                "largest_absolute": _number(difference.absolute),
                "largest_relative": _number(difference.relative),
                "allowed": difference.allowed,
                "ok": difference.ok,
            }
        )
    for agreement in proof.agreements:
        networks[agreement.network].setdefault("class_agreement", []).append(
            {"batch": agreement.rows, "same": agreement.same, "beyond_ties": agreement.wrong}
        )
    return {
        "passed": not proof.problems,
        "problems": list(proof.problems),
        "networks": networks,
        "slide": {"exported": _answer(proof.exported), "reference": _answer(proof.reference)},
    }


def _answer(answer: SlideAnswer) -> dict[str, Any]:
    return {
        "verdict": answer.decision,
        "probability": answer.probability,
        "cells": answer.cells,
        "positive": dict(answer.positive),
    }


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
