"""Cells that lie where nobody can see are never negative, and take no flag away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeapl.examination import preparation
from edgeapl.model import open_model
from edgeapl.pipeline import Observer, SlideOptions, examine_slide
from edgeapl.types import (
    CellStatus,
    Decision,
    ExaminedFrame,
    Tiles,
    TileState,
    UInt8,
    Verdict,
)
from tests.small_bundle import cell_network, drawn_field, scripted, settings, small_bundle

FIELDS = [((60, 60), (150, 130)), ((50, 140), (140, 50)), ((60, 150), (150, 150), (150, 50))]
CELLS, HIDDEN = 7, 4
NEVER = cell_network(bias=np.full(3, -60))
ALWAYS = cell_network(bias=np.array([60, -60, -60]))


def half_hidden(
    pixels: UInt8, um_per_px: float, min_focus: float, outside: object, *, shown: object = None
) -> Tiles:
    """Say that nobody can see the right half."""
    states = np.zeros((2, 2), np.uint8)
    states[:, 1] = TileState.DARK.value
    return Tiles(states)


@pytest.fixture(autouse=True)
def _half_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "judge_tiles", half_hidden)


def run(
    folder: Path, cells: bytes, fields: list[UInt8] | None = None, live: bool = False, **rule: Any
) -> tuple[Verdict, list[ExaminedFrame]]:
    small_bundle(folder, cells=cells, rule={**settings()["rule"], **rule})
    frames: list[ExaminedFrame] = []
    drawn = fields or [drawn_field(cells) for cells in FIELDS]
    with open_model(folder) as model:
        outcome = examine_slide(
            model, "s", scripted(drawn, live=live), SlideOptions(), Observer(frames.append)
        )
    return outcome.verdict, frames


def statuses(frames: list[ExaminedFrame]) -> list[CellStatus]:
    return [status for frame in frames for status in frame.status]


def codes(verdict: Verdict) -> set[str]:
    return {reason.code for reason in verdict.reasons}


@pytest.mark.parametrize("live", [False, True])
def test_a_cell_that_can_not_be_seen_is_not_examined_and_never_negative(
    tmp_path: Path, live: bool
) -> None:
    verdict, frames = run(tmp_path / "b", NEVER, live=live)
    found = statuses(frames)
    assert (verdict.tally.seen, verdict.tally.scored) == (CELLS, CELLS - HIDDEN)
    assert verdict.tally.not_examined == verdict.hidden_cells == HIDDEN
    assert found.count(CellStatus.NOT_EXAMINED) == HIDDEN
    assert all(count.scored == CELLS - HIDDEN for count in verdict.counts)
    assert verdict.decision is Decision.REVIEW
    assert verdict.examined_share == pytest.approx(0.5)
    assert verdict.frame_shares == (0.5, 0.5, 0.5)
    assert "area_not_examined" in codes(verdict)
    assert ("frame_area_not_examined" in codes(verdict)) is not live


def test_a_flag_of_what_can_be_seen_is_not_taken_away_by_what_can_not(tmp_path: Path) -> None:
    verdict, frames = run(tmp_path / "b", ALWAYS)
    assert verdict.decision is Decision.FLAG
    assert (verdict.tally.scored, verdict.hidden_cells) == (CELLS - HIDDEN, HIDDEN)
    assert statuses(frames).count(CellStatus.NOT_EXAMINED) == HIDDEN
    assert "flag_in_hidden_part" not in codes(verdict)
    assert "area_not_examined" in codes(verdict)


def test_hidden_cells_do_not_make_the_others_look_more_suspicious(tmp_path: Path) -> None:
    plain, _ = run(tmp_path / "b", cell_network())
    first, *others = [drawn_field(cells) for cells in FIELDS]
    tinted = first.astype(int)
    tinted[:, 120:, 0] += 75  # its hidden cell looks like a promyelocyte
    fields = [np.clip(tinted, 0, 255).astype(np.uint8), *others]
    verdict, _ = run(tmp_path / "c", cell_network(), fields)
    assert verdict.hidden_cells == HIDDEN
    assert verdict.counts == plain.counts
    assert verdict.probability == pytest.approx(plain.probability)


def test_a_flag_that_needs_hidden_cells_is_not_taken_away(tmp_path: Path) -> None:
    fields = []
    for cells in FIELDS:
        pixels = drawn_field(cells).astype(int)
        pixels[:, :100, 0] += 75  # what can be seen looks like promyelocytes
        fields.append(np.clip(pixels, 0, 255).astype(np.uint8))
    verdict, frames = run(tmp_path / "b", cell_network(), fields, min_scored=CELLS)
    assert verdict.decision is Decision.FLAG
    assert verdict.reasons[1].code == "flag_in_hidden_part"
    assert verdict.tally.not_examined == verdict.hidden_cells == HIDDEN
    assert statuses(frames).count(CellStatus.NOT_EXAMINED) == HIDDEN


def test_a_rule_may_clear_with_less(tmp_path: Path) -> None:
    verdict, _ = run(tmp_path / "b", NEVER, min_examined_share=0.5)
    assert not codes(verdict) & {"area_not_examined", "frame_area_not_examined"}
    assert "area_partly_examined" in codes(verdict)
