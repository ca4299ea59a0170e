"""Values refuse what they cannot hold, and say what they wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgeapl.types import (
    CellScores,
    CellStatus,
    Decision,
    Detections,
    ExaminedFrame,
    Frame,
    Interval,
    Tally,
    Tiles,
    TileState,
    Verdict,
)


def frame(height: int = 20, width: int = 30) -> Frame:
    return Frame(np.zeros((height, width, 3), np.uint8), 0, 0, 0.1, "a.png", "0" * 64)


def detections(boxes: list[list[float]], labels: int = 0) -> Detections:
    image = np.full((20, 30), labels, np.uint16)
    rows = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(frame(), rows, image, np.ones(len(rows), np.float32))


def scores(value: float) -> CellScores:
    one = np.array([value], np.float32)
    return CellScores(np.array([0]), {"promyelocyte": one}, np.zeros((1, 2), np.float32))


def verdict(decision: Decision, probability: float | None) -> Verdict:
    return Verdict(
        "s", decision, probability, None, Tally(), (), (), (), (), {}, "0" * 64, "0" * 64, "r"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Frame(np.zeros((2, 2), np.uint8), 0, 0, 0.1, "a", "d"), r"\('any', 'any', 3\)"),
        (lambda: Frame(np.zeros((0, 2, 3), np.uint8), 0, 0, 0.1, "a", "d"), "empty image"),
        (lambda: Frame(np.zeros((2, 2, 3), np.uint8), 0, 0, float("nan"), "a", "d"), "above 0"),
        (lambda: Frame(np.zeros((2, 2, 3), np.uint8), -1, 0, 0.1, "a", "d"), "0 or more"),
        (lambda: detections([[0, 0, 31, 5]]), "inside the frame"),
        (lambda: detections([[5, 0, 5, 5]]), "area inside"),
        (lambda: detections([[0, 0, 5, float("nan")]]), "inside the frame"),
        (lambda: detections([[0, 0, 5, 5]], labels=2), "labels up to 1"),
        (lambda: scores(float("nan")), "finite probabilities"),
        (lambda: scores(1.5), "finite probabilities"),
        (lambda: Tally(3, 1, 1, 0), "must equal"),
        (lambda: Tally(0, 1, -1, 0), "none below 0"),
        (lambda: Tiles(np.zeros((0, 2), np.uint8)), "at least one tile"),
        (lambda: Tiles(np.full((1, 2), 99, np.uint8)), "each a TileState"),
        (lambda: replace(verdict(Decision.FLAG, 0.5), examined_share=1.01), "0 to 1"),
        (lambda: replace(verdict(Decision.FLAG, 0.5), frame_shares=(0.5,)), "one share per frame"),
        (lambda: replace(verdict(Decision.FLAG, 0.5), hidden_cells=1), "some of the cells"),
        (lambda: Interval(0.6, 0.5), "low <= high"),
        (lambda: Interval(0.1, float("nan")), "low <= high"),
        (lambda: verdict(Decision.REVIEW, 0.5), "at least one reason"),
        (lambda: verdict(Decision.CLEAR, None), "needs a probability"),
        (lambda: verdict(Decision.FLAG, float("nan")), "0 to 1"),
        (lambda: verdict(Decision.FLAG, None), "FLAG without a probability needs a reason"),
        (lambda: replace(verdict(Decision.CLEAR, 0), flagged_since="2026"), "stays flagged"),
    ],
)
def test_a_value_that_breaks_its_promise_is_refused_with_what_was_expected(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_dtypes_are_named() -> None:
    with pytest.raises(TypeError, match="expected dtype uint8, got float32"):
        Frame(np.zeros((2, 2, 3), np.float32), 0, 0, 0.1, "a", "d")


def test_arrays_of_values_can_not_be_written() -> None:
    cells = detections([[0, 0, 5, 5]])
    for array in (cells.frame.pixels, cells.boxes, cells.labels, cells.scores):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_a_cell_without_score_has_no_suspicion() -> None:
    with pytest.raises(ValueError, match="scored cells only"):
        ExaminedFrame(
            frame(),
            detections([[0, 0, 5, 5]]),
            np.array([0]),
            (CellStatus.FAILED,),
            {},
            np.array([0.3], np.float32),
        )


def test_tallies_add_up() -> None:
    total = Tally(5, 3, 1, 1) + Tally(2, 2, 0, 0)
    assert (total.seen, total.scored, total.lost) == (7, 5, 2)


def test_the_examined_share_is_that_of_the_tiles_without_a_fault() -> None:
    states = np.zeros((4, 5), np.uint8)
    states[0] = TileState.DARK.value
    tiles = Tiles(states)
    assert tiles.examined_share == pytest.approx(0.75)
    assert tiles.shares() == {TileState.EXAMINED: 0.75, TileState.DARK: 0.25}
    assert len({state.text for state in TileState}) == len(TileState)
