"""Cells are cut when a network is about to see them: once for all networks, and none in vain."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest

from edgeapl.bundle.specs import CropSpec
from edgeapl.inference import scheduler_for
from edgeapl.inference.cell_image import CellImage, cut_out, images_of
from edgeapl.stages.crop import UncutCells, cut_cells, uncut_cells
from edgeapl.types import Detections, Frame
from tests.unit.test_scheduler import ALL, APL, BENIGN, Hierarchy, cells, ids, manifest

COLOURS = (BENIGN, APL, ALL, APL)
SPEC = CropSpec(window_um=6.4, size_px=32)
SIDE = 40


def field() -> Detections:
    """One row of cells, each in a square of its own colour."""
    images = cells(*COLOURS)
    pixels = np.concatenate(
        [np.full((SIDE, SIDE, 3), image[0, 0], np.uint8) for image in images], axis=1
    )
    left = np.arange(len(COLOURS), dtype=np.float32) * SIDE
    boxes = np.stack([left, 0 * left, left + SIDE, 0 * left + SIDE], axis=1)
    labels = np.repeat(np.arange(1, len(COLOURS) + 1, dtype=np.uint16), SIDE)[None]
    frame = Frame(pixels, 0, 0, 0.2, "field.png", "0" * 64)
    scores = np.ones(len(COLOURS), dtype=np.float32)
    return Detections(frame, boxes, np.tile(labels, (SIDE, 1)), scores)


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Row of a cell to how often it was cut."""
    counted: Counter[int] = Counter()
    cut_one = UncutCells.cut_one
    lock = threading.Lock()

    def count(uncut: UncutCells, row: int) -> object:
        with lock:
            counted[int(uncut.rows[row])] += 1
        return cut_one(uncut, row)

    monkeypatch.setattr(UncutCells, "cut_one", count)
    return counted


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cell_is_cut_once_for_all_its_networks_and_answered_as_if_cut_before(
    workers: int, cut: Counter[int]
) -> None:
    found = field()
    answers = []
    for crops in (uncut_cells(found, SPEC), cut_cells(found, SPEC)):
        scheduler = scheduler_for(manifest(), Hierarchy().engines, 4, workers)
        scheduler.enter(ids(cells(*COLOURS)), crops)
        answers.append(scheduler.run(flush=True))
        scheduler.close()
    assert cut == {0: 1, 1: 1, 2: 1, 3: 1}
    for name, values in answers[1].scores.roles.items():
        np.testing.assert_array_equal(answers[0].scores.roles[name], values)
    assert answers[0].cut_s > 0


def test_a_cell_that_is_given_up_is_never_cut(cut: Counter[int]) -> None:
    scheduler = scheduler_for(manifest(), Hierarchy().engines, 4)
    scheduler.enter(ids(cells(*COLOURS)), uncut_cells(field(), SPEC))
    assert scheduler.held_bytes == 0
    scheduler.give_up(np.array([1, 2]))
    assert len(scheduler.run(flush=True).scores) == 2
    assert cut == {0: 1, 3: 1}


def test_images_that_wait_for_their_next_network_are_counted_as_held() -> None:
    scheduler = scheduler_for(manifest(), Hierarchy().engines, 4)
    scheduler.enter(ids(cells(*COLOURS)), uncut_cells(field(), SPEC))
    scheduler.run_network("first")
    assert scheduler.held_bytes == len(COLOURS) * 32 * 32 * 3
    scheduler.run(flush=True)
    assert scheduler.held_bytes == 0


def test_seconds_are_those_of_cutting_alone() -> None:
    uncut = uncut_cells(field(), SPEC)
    batch = [CellImage(uncut, row) for row in (2, 0)]
    seconds = cut_out(batch)
    images = images_of(batch)
    np.testing.assert_array_equal(images, cut_cells(field(), SPEC)[[2, 0]])
    assert seconds > 0
    one = images_of(batch[:1])
    assert np.shares_memory(one, batch[0].pixels)  # no copy of a single cell
