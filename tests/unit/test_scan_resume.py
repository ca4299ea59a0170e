"""A scan ends at the same tile however fast its threads are, and goes on where it was killed."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.engines.wrapper import EngineWrapper
from edgeapl.errors import EngineError
from edgeapl.examination.looks import Looks
from edgeapl.journal import Journal
from edgeapl.model import EMBEDDED, Model, open_model
from edgeapl.pipeline import slide_pipeline
from edgeapl.protocols import Arrays, Engine
from edgeapl.scoring import ScoreListener, ScoreRequest, score_folder, slides
from edgeapl.scoring.examined_tiles import FOLDER
from edgeapl.types import Detections, Frame
from edgeapl.whole_slide import opening
from tests.scans import drawn_scan, program_for_small_scans
from tests.scored_parts import everything

pytest.importorskip("openslide")

FIRST_LOOK = 100
"""Scored cells; the scan has some 500."""


class Counting(EngineWrapper):
    """Counts the cells that it is shown, and takes a while for each batch."""

    def __init__(self, inner: Engine, seed: int | None) -> None:
        super().__init__(inner)
        self.cells = 0
        self._chance = None if seed is None else random.Random(seed)
        self._change = threading.Lock()

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        with self._change:
            self.cells += len(next(iter(inputs.values())))
            pause = 0.0 if self._chance is None else self._chance.choice((0, 0, 0.05))
        time.sleep(pause)
        return super().run(inputs)


@contextmanager
def counting(seed: int | None = None, workers: int = 1) -> Iterator[tuple[Model, list[Counting]]]:
    with open_model(EMBEDDED) as model:
        head = model.bundle.manifest.reducer.head
        wrapped = {n: Counting(e, seed) for n, e in model.engines.items() if n != head}
        engines = {**model.engines, **wrapped}
        yield replace(model, engines=engines, workers=workers), list(wrapped.values())


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of 24 million px; damaged in one of the first tiles, and in one behind its end."""
    path = tmp_path_factory.mktemp("scan") / "p7.tif"
    drawn_scan(path, "apl", damaged_at=((1700, 1700), (4070, 2880)))
    return path


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LARGEST_IMAGE_PX", 10_000_000)
    monkeypatch.setattr(slides, "FIRST_LOOK", FIRST_LOOK)


class StoppedError(Exception):
    """Stands for a kill between two tiles."""


def run(
    scan: Path, home: Path, model: Model, stop_at: int | None = None
) -> tuple[dict[str, Any], list[int], list[str]]:
    """Score; return the record, how many tiles were kept, and what was said about others."""
    kept: list[int] = []
    said: list[str] = []

    def on_tile(slide: object, done: int, of: int) -> None:
        if done == stop_at:
            raise StoppedError

    listener = ScoreListener(
        on_tile=on_tile,
        on_kept=lambda slide, tiles: kept.append(tiles),
        on_refused=lambda slide, text: said.append(text),
    )
    home.mkdir(exist_ok=True)
    with Journal.open(home / "j.db", reserve_bytes=0) as journal:
        result = score_folder(ScoreRequest(scan, home / "out"), model, journal, listener)
    return result.records[0], kept, said


@pytest.fixture(scope="module")
def whole(scan: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The scan, scored in one run."""
    home = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch, counting() as (model, _):
        patch.setattr(opening, "LARGEST_IMAGE_PX", 10_000_000)
        patch.setattr(slides, "FIRST_LOOK", FIRST_LOOK)
        record, _, _ = run(scan, home, model)
    return home, record


def same(home: Path, whole: Path) -> None:
    left, right = (everything(one / "out", one / "j.db") for one in (home, whole))
    assert left.verdicts == right.verdicts
    assert left.cells == right.cells
    assert left.reports == right.reports
    for name in ("overview.png", "slide.geojson", "frames.csv"):
        ours, theirs = (one / "out" / "slides" / "p7" / name for one in (home, whole))
        assert ours.read_bytes() == theirs.read_bytes()


def kept_in(home: Path) -> list[Path]:
    return sorted((home / "out" / FOLDER).glob("*/*.tile"))


@pytest.mark.parametrize(
    ("first", "tested_at"), [(400, [400, 801, 1900]), (100, [390, 400, 801, 1900])]
)
def test_the_rule_is_tested_at_ever_larger_numbers_of_cells(
    first: int, tested_at: list[int]
) -> None:
    looks = Looks(first)
    cells = (0, 99, 390, 399, 400, 600, 801, 810, 1599, 1900)
    assert [count for count in cells if looks.is_due(count)] == tested_at


def test_the_speed_of_threads_decides_nothing(
    scan: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, record = whole
    said = record["scan"]
    assert record["tally"]["scored"] >= FIRST_LOOK
    # Of the two damaged tiles the second lies behind the end, but is read ahead.
    assert said["tiles_not_usable"] == 1
    assert said["tiles_examined"] + 1 < said["tiles_of_monolayer"] - 3
    for seed, (workers, searchers) in enumerate([(3, 2), (2, 1)]):
        monkeypatch.setattr(slide_pipeline, "_searchers", lambda count=searchers: count)
        with counting(seed, workers) as (model, _):
            run(scan, tmp_path / str(seed), model)
        same(tmp_path / str(seed), home)


class Searching:
    """Finds cells as the model's own segmenter does, and notes in which tiles."""

    def __init__(self, model: Model) -> None:
        self._inner = model.segmenter
        self.found: dict[int, int] = {}

    def segment(self, frame: Frame) -> Detections:
        found = self._inner.segment(frame)
        self.found[frame.index] = len(found)
        return found


def test_a_scan_that_was_stopped_asks_nothing_again_but_what_is_damaged(
    scan: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with counting() as (model, _), pytest.raises(StoppedError):
        run(scan, tmp_path, model, 5)
    files = kept_in(tmp_path)
    cut, empty, changed, exchanged, sound = files[:5]
    content = changed.read_bytes()
    middle = len(content) // 2
    cut.write_bytes(cut.read_bytes()[:-9])
    empty.write_bytes(b"")
    changed.write_bytes(content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :])
    exchanged.write_bytes(sound.read_bytes())
    damaged = [cut, empty, changed, exchanged]
    with counting() as (model, engines):
        searching = Searching(model)
        _, kept, said = run(scan, tmp_path, replace(model, segmenter=searching))
    assert kept == [len(files)]
    assert sorted(said) == sorted(f"kept tile {file.name} is damaged" for file in damaged)
    names = {f"{index:06d}.tile" for index in searching.found}
    assert names.isdisjoint(file.name for file in files[4:])
    assert names >= {file.name for file in damaged}
    assert 0 < engines[0].cells <= sum(searching.found.values())
    same(tmp_path, whole[0])
    assert not (tmp_path / "out" / FOLDER).exists()


def test_tiles_of_other_settings_are_not_used(
    scan: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with counting() as (model, _), pytest.raises(StoppedError):
        run(scan, tmp_path, replace(model, engine_digest="other"), 4)
    kept_before = kept_in(tmp_path)
    with counting() as (model, _):
        _, kept, said = run(scan, tmp_path, model)
    assert kept == []
    (text,) = said
    assert text.startswith(f"{len(kept_before)} of {len(kept_before)} kept tiles not used: ")
    same(tmp_path, whole[0])


def test_a_tile_in_which_a_network_failed_is_not_kept(scan: Path, tmp_path: Path) -> None:
    class Failing(EngineWrapper):
        def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
            raise EngineError("network failed while running", "cells", "test")

    with open_model(EMBEDDED) as model:
        head = model.bundle.manifest.reducer.head
        engines = {n: e if n == head else Failing(e) for n, e in model.engines.items()}
        with pytest.raises(StoppedError):
            run(scan, tmp_path, replace(model, engines=engines), 4)
    assert not kept_in(tmp_path)


def test_what_a_kill_left_behind_a_verdict_is_removed(
    scan: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise StoppedError

    with counting() as (model, _), monkeypatch.context() as patch:
        patch.setattr(slides, "remove_tiles", killed)
        with pytest.raises(StoppedError):
            run(scan, tmp_path, model)
    assert kept_in(tmp_path)
    with counting() as (model, engines):
        run(scan, tmp_path, model)
    assert engines[0].cells == 0
    assert not (tmp_path / "out" / FOLDER).exists()
    same(tmp_path, whole[0])


def test_a_scan_killed_at_several_points_ends_with_the_same_verdict(
    scan: Path, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    where = ("--out", tmp_path / "out", "--journal", tmp_path / "j.db")
    command = program_for_small_scans(
        "score", scan, "--bundle", EMBEDDED, *where, first_look=FIRST_LOOK
    )
    for tiles in (1, 3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while len(kept_in(tmp_path)) < tiles and process.poll() is None:
                time.sleep(0.005)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == -9, "it ended before it was killed"
        assert len(kept_in(tmp_path)) >= tiles
    before = len(kept_in(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"note: {before} tiles of p7 examined before: answers kept" in done.stderr
    same(tmp_path, whole[0])
