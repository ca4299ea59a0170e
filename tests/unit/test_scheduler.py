"""A cell is shown to the networks on its way and to no other, in full batches, and never lost."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from edgeapl.bundle.manifest import Manifest
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.inference import classify, scheduler_for
from edgeapl.inference.routing import steps
from edgeapl.inference.scheduler import FEWEST_RETURNED
from edgeapl.protocols import Arrays
from edgeapl.testing import FakeEngine
from edgeapl.types import UInt8
from tests.small_bundle import settings

Answers = dict[str, NDArray[np.generic]]


def network(input_name: str = "cells", **changes: Any) -> dict[str, Any]:
    return {"file": "cells.onnx", "input": input_name, **changes}


NETWORKS = {
    "first": network(classes=["benign", "malignant"]),
    "benign": network(classes=["round", "lobed"], when="first.benign"),
    "malignant": network(classes=["aml", "all"], when="first.malignant"),
    "apl": network(classes=["other", "apl"], when="malignant.aml"),
}


def manifest(**changes: Any) -> Manifest:
    """A hierarchy of four networks, of which a cell runs two or three."""
    roles = [("round", "benign"), ("all", "malignant"), ("apl", "apl")]
    given = {
        **settings(),
        "networks": NETWORKS,
        "roles": [
            {"name": r, "network": n, "output": r, "threshold": 0.5, "suspicious": r == "apl"}
            for r, n in roles
        ],
        "reducer": {"kind": "vote"},
        "features": None,
        **changes,
    }
    files = dict.fromkeys(["cells.onnx", "MODEL_CARD.md", "golden.png", "golden.npz"], "0" * 64)
    return Manifest.model_validate({"schema_version": 1, **given, "files": files})


def engine(classes: tuple[str, str], channel: int, log: list[list[int]]) -> FakeEngine:
    """Answers by one colour of the first pixel: the brighter, the more it is the second class."""

    def answer(inputs: Arrays) -> Answers:
        colour = np.asarray(inputs["cells"], np.float32)[:, 0, 0]
        log.append(colour[:, 2].astype(int).tolist())
        second = colour[:, channel] / 255
        second = np.where(second > 0.99, np.nan, second)
        return {classes[0]: (1 - second).astype(np.float32), classes[1]: second.astype(np.float32)}

    return FakeEngine(answer, {"cells": ("uint8", (None, 32, 32, 3))}, classes)


class Hierarchy:
    """Engines for `manifest`, and which cells each of them saw (by their blue value)."""

    def __init__(self) -> None:
        self.seen: dict[str, list[list[int]]] = {name: [] for name in NETWORKS}
        self.engines: Mapping[str, FakeEngine] = {
            "first": engine(("benign", "malignant"), 0, self.seen["first"]),
            "benign": engine(("round", "lobed"), 1, self.seen["benign"]),
            "malignant": engine(("aml", "all"), 1, self.seen["malignant"]),
            "apl": engine(("other", "apl"), 0, self.seen["apl"]),
        }


def cells(*colours: tuple[int, int]) -> UInt8:
    """Cells of one colour each; red and green as given, blue is the cell's number."""
    images = np.zeros((len(colours), 32, 32, 3), np.uint8)
    for number, (red, green) in enumerate(colours):
        images[number] = (red, green, number)
    return images


BENIGN, APL, ALL = (50, 60), (200, 30), (200, 220)


def ids(images: UInt8) -> NDArray[np.int64]:
    return np.arange(len(images), dtype=np.int64)


def test_a_cell_runs_only_the_networks_on_its_way() -> None:
    hierarchy = Hierarchy()
    images = cells(BENIGN, APL, ALL, APL)
    result = classify(manifest(), hierarchy.engines, images)
    assert hierarchy.seen == {
        "first": [[0, 1, 2, 3]],
        "benign": [[0]],
        "malignant": [[1, 2, 3]],
        "apl": [[1, 3]],
    }
    roles = result.scores.roles
    assert roles["round"] == pytest.approx([195 / 255, 0, 0, 0])
    assert roles["all"] == pytest.approx([0, 30 / 255, 220 / 255, 30 / 255])
    assert roles["apl"] == pytest.approx([0, 200 / 255, 0, 200 / 255])


def test_every_network_runs_in_full_batches_across_frames() -> None:
    hierarchy = Hierarchy()
    scheduler = scheduler_for(manifest(), hierarchy.engines, batch_size=4)
    images = cells(*[(BENIGN, APL)[number % 2] for number in range(32)])
    done = []
    for frame in range(8):
        rows = slice(4 * frame, 4 * frame + 4)
        scheduler.enter(ids(images)[rows], images[rows])
        done += scheduler.run(flush=False).scores.ids.tolist()
    assert {name: {len(b) for b in seen} for name, seen in hierarchy.seen.items()} == {
        name: {4} for name in NETWORKS
    }
    done += scheduler.run(flush=True).scores.ids.tolist()
    assert sorted(done) == list(range(32))


def test_neither_batch_size_nor_company_changes_an_answer() -> None:
    random = np.random.default_rng(0)
    colours = [tuple(random.integers(1, 250, 2).tolist()) for _ in range(40)]
    images = cells(*colours)
    alone = [classify(manifest(), Hierarchy().engines, images[n : n + 1]).scores for n in range(40)]
    for batch_size, workers in itertools.product((1, 3, 16, 64), (1, 2, 5)):
        scheduler = scheduler_for(manifest(), Hierarchy().engines, batch_size, workers)
        scheduler.enter(ids(images), images)
        together = scheduler.run(flush=True).scores
        scheduler.close()
        for role, values in together.roles.items():
            assert values.tolist() == [float(one.roles[role][0]) for one in alone]


def test_a_cell_without_a_number_is_failed_and_asked_no_further() -> None:
    hierarchy = Hierarchy()
    images = cells(APL, (254, 30), APL)  # 254 gives NaN
    result = classify(manifest(), hierarchy.engines, images)
    assert result.failed.tolist() == [1]
    assert result.scores.ids.tolist() == [0, 2]
    assert hierarchy.seen["malignant"] == [[0, 2]]


def test_as_many_runs_are_under_way_as_there_are_workers() -> None:
    """Each run waits for another to be under way; alone it would fail."""
    hierarchy = Hierarchy()
    meeting = threading.Barrier(2, timeout=10)
    inner = hierarchy.engines["first"]

    def meet(inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        meeting.wait()
        return inner.run(inputs)

    engines = {**hierarchy.engines, "first": FakeEngine(meet, inner.inputs, inner.outputs)}
    scheduler = scheduler_for(manifest(), engines, batch_size=2, workers=2)
    images = cells(*[BENIGN] * 8)
    scheduler.enter(ids(images), images)
    done = scheduler.run(flush=True)
    scheduler.close()
    assert done.scores.ids.tolist() == list(range(8))
    assert not done.errors


def counted(sizes: list[int], reached: threading.Event, enough: int) -> dict[str, FakeEngine]:
    """Note the size of every run of the first network; the event is set when they are enough."""
    engines = Hierarchy().engines
    inner = engines["first"]

    def count(inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        sizes.append(len(next(iter(inputs.values()))))
        if len(sizes) == enough:
            reached.set()
        return inner.run(inputs)

    return {**engines, "first": FakeEngine(count, inner.inputs, inner.outputs)}


def test_a_worker_has_its_next_batch_in_front_of_it() -> None:
    reached = threading.Event()
    engines = counted([], reached, enough=4)
    scheduler = scheduler_for(manifest(), engines, batch_size=1, workers=2)
    images = cells(*[BENIGN] * 8)
    scheduler.enter(ids(images), images)
    scheduler.step(flush=False)
    # Nobody asks for a step, and yet the two workers go on.
    assert reached.wait(10)
    scheduler.close()


def test_what_is_not_full_is_not_put_in_line_ahead() -> None:
    sizes: list[int] = []
    engines = counted(sizes, threading.Event(), enough=0)
    scheduler = scheduler_for(manifest(), engines, batch_size=4, workers=2)
    images = cells(*[BENIGN] * 12)
    scheduler.enter(ids(images)[:9], images[:9])
    scheduler.step(flush=True)
    scheduler.enter(ids(images)[9:], images[9:])
    assert len(scheduler.run(flush=True).scores.ids) > 0
    scheduler.close()
    assert sizes == [4, 4, 4]


def test_cells_come_back_together_where_nobody_waits_for_the_first() -> None:
    scheduler = scheduler_for(
        manifest(), Hierarchy().engines, batch_size=1, workers=2, keep_pace=False
    )
    images = cells(*[BENIGN] * (2 * FEWEST_RETURNED + 3))
    scheduler.enter(ids(images), images)
    given: list[int] = []
    while sum(given) < len(images):
        given.append(len(scheduler.step(flush=True).scores))
    scheduler.close()
    *together, last = [count for count in given if count]
    assert min(together) >= FEWEST_RETURNED
    assert sum(together) + last == len(images)


@pytest.mark.parametrize("keep_pace", [False, True])
def test_networks_keep_pace_or_take_turns_as_seldom_as_they_can(keep_pace: bool) -> None:
    ran: list[str] = []
    hierarchy = Hierarchy()

    def noted(name: str, inner: FakeEngine) -> FakeEngine:
        def note(inputs: Arrays) -> dict[str, NDArray[np.generic]]:
            ran.append(name)
            return inner.run(inputs)

        return FakeEngine(note, inner.inputs, inner.outputs)

    engines = {name: noted(name, inner) for name, inner in hierarchy.engines.items()}
    scheduler = scheduler_for(manifest(), engines, batch_size=1, keep_pace=keep_pace)
    images = cells(*[APL] * 8)
    scheduler.enter(ids(images), images)
    done = 0
    runs_before_the_first = 0
    while scheduler.ready(flush=True):
        done += len(scheduler.step(flush=True).scores)
        runs_before_the_first += not done
    assert done == 8
    assert (len(list(itertools.groupby(ran))) == 3) is not keep_pace
    assert (runs_before_the_first < 16) is keep_pace


@pytest.mark.parametrize("workers", [1, 2])
def test_cells_of_a_cancelled_run_wait_again_and_can_be_given_up(workers: int) -> None:
    hierarchy = Hierarchy()
    inner = hierarchy.engines["first"]
    late = [True]

    def cancelled(inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        if late[0]:
            raise DeadlineError("too late")
        return inner.run(inputs)

    engines = {**hierarchy.engines, "first": FakeEngine(cancelled, inner.inputs, inner.outputs)}
    scheduler = scheduler_for(manifest(), engines, batch_size=2, workers=workers)
    images = cells(*[BENIGN] * 6)
    scheduler.enter(ids(images), images)
    with pytest.raises(DeadlineError):
        scheduler.step(flush=True)
    assert scheduler.give_up(np.array([0, 3], dtype=np.int64)).tolist() == [0, 3]
    late[0] = False
    done: list[int] = []
    for _ in range(99):
        try:
            done += scheduler.step(flush=True).scores.ids.tolist()
        except DeadlineError:
            continue  # of the other worker's run
    scheduler.close()
    assert sorted(done) == [1, 2, 4, 5]


@pytest.mark.parametrize("error", [DeadlineError, EngineError])
def test_a_run_of_which_every_cell_was_given_up_may_end_as_it_likes(
    error: type[DeadlineError | EngineError],
) -> None:
    """A run that was cancelled late must not cost the cells of the next frame their time."""
    hierarchy, ends = Hierarchy(), threading.Event()
    inner = hierarchy.engines["first"]

    def late(inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        if 1 in np.asarray(inputs["cells"])[:, 0, 0, 2]:
            ends.wait(20)
            raise error("too late")
        return inner.run(inputs)

    engines = {**hierarchy.engines, "first": FakeEngine(late, inner.inputs, inner.outputs)}
    scheduler = scheduler_for(manifest(), engines, batch_size=2, workers=2)
    images = cells(*[BENIGN] * 6)
    scheduler.enter(ids(images)[:4], images[:4])
    done = scheduler.step(flush=False).scores.ids.tolist()  # of cells 2 and 3, at most
    assert scheduler.give_up(np.array([0, 1])).tolist() == [0, 1]
    ends.set()
    scheduler.enter(ids(images)[4:], images[4:])
    while len(done) < 4:
        result = scheduler.step(flush=True)
        assert not result.errors
        done += result.scores.ids.tolist()
    assert not scheduler.run(flush=True).errors
    scheduler.close()
    assert sorted(done) == [2, 3, 4, 5]


def test_a_run_that_fails_costs_its_batch_alone() -> None:
    hierarchy = Hierarchy()
    broken = {**hierarchy.engines}
    inner = broken["malignant"]
    broken["malignant"] = FakeEngine(inner._function, inner.inputs, inner.outputs, fail_on=[0])
    scheduler = scheduler_for(manifest(), broken, batch_size=2)
    images = cells(APL, BENIGN, ALL, APL, APL)
    scheduler.enter(ids(images), images)
    result = scheduler.run(flush=True)
    assert len(result.errors) == 1
    assert result.failed.tolist() == [0, 2]
    assert result.scores.ids.tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"benign": network(when="first.purple")}, "no class"),
        ({"benign": network(when="nobody.benign")}, "not listed"),
        ({"benign": network(classes=["round"], when="benign.round")}, "own answer"),
        (
            {
                "benign": network(classes=["round"], when="apl.apl"),
                "apl": network(classes=["apl"], when="benign.round"),
            },
            "own answer",
        ),
    ],
)
def test_a_way_that_leads_nowhere_is_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        manifest(networks={**NETWORKS, **changes})


def test_networks_come_after_those_they_wait_for() -> None:
    order = [step.network for step in steps(manifest())]
    assert order == ["first", "benign", "malignant", "apl"]


def test_a_network_may_take_another_networks_features() -> None:
    """As in MILLIE: the head asked about every cell alone."""
    given = manifest(
        networks={
            "encoder": network(),
            "head": network("features", after="encoder.features"),
        },
        roles=[{"name": "apl", "network": "head", "output": "p", "threshold": 0.5}],
        features="encoder.features",
        reducer={"kind": "max", "head": "head", "head_outputs": ["p"]},
    )

    def encode(inputs: Arrays) -> Answers:
        return {"features": np.asarray(inputs["cells"][:, 0, 0], np.float32) / 255}

    def judge(inputs: Arrays) -> Answers:
        return {"p": np.asarray(inputs["features"], np.float32)[:, 0]}

    engines = {
        "encoder": FakeEngine(encode, {"cells": ("uint8", (None, 32, 32, 3))}, ("features",)),
        "head": FakeEngine(judge, {"features": ("float32", (None, 3))}, ("p",)),
    }
    images = cells((51, 0), (204, 0))
    scores = classify(given, engines, images).scores
    assert scores.roles["apl"] == pytest.approx([0.2, 0.8])
    assert scores.features.shape == (2, 3)


@pytest.mark.parametrize("shape", [(3,), (2, 2)])
def test_an_output_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    hierarchy = Hierarchy()

    def wrong(inputs: Arrays) -> Answers:
        return {"benign": np.zeros(shape, np.float32), "malignant": np.zeros(2, np.float32)}

    first = hierarchy.engines["first"]
    engines = {**hierarchy.engines, "first": FakeEngine(wrong, first.inputs, first.outputs)}
    with pytest.raises(EngineError, match=r"wrong shape: first\.benign"):
        classify(manifest(), engines, cells(APL, ALL)).checked()
