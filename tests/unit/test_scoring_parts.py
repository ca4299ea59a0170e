"""Parts of a folder: every slide in one of them, one result folder for all, nobody in the way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import edgeapl
from edgeapl.errors import StorageError, UsageError
from edgeapl.journal import read_rows, verify
from edgeapl.model import Model, open_model
from edgeapl.report.writer import SlideWriter
from edgeapl.scoring import JointTables, Part, ScoreListener
from tests.scored_parts import NAMES, draw_slides, everything, held_by_another, score_part
from tests.small_bundle import small_bundle


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with open_model(small_bundle(tmp_path_factory.mktemp("bundle") / "small").folder) as opened:
        yield opened


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    return draw_slides(tmp_path / "slides")


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_every_slide_is_in_one_part_alone_and_parts_are_about_alike(of: int) -> None:
    names = [f"slide {number}" for number in range(700)]
    parts = [Part(number, of) for number in range(1, of + 1)]
    held = [[name for name in names if part.holds(name)] for part in parts]
    assert sorted(name for one in held for name in one) == sorted(names)
    assert all(0.6 < len(one) * of / len(names) < 1.4 for one in held)


def test_a_slide_stays_in_its_part_whoever_asks() -> None:
    """These are kept: machines with two versions must not both leave a slide out."""
    assert [Part(1, 2).holds(name) for name in NAMES] == [False, True, True, False]
    decomposed = "Mu\u0308ller"
    assert Part(1, 2).holds(decomposed) == Part(1, 2).holds("M\u00fcller")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0", "1", "a/b", "1/2/3", "-1/2", "1/20000", ""])
def test_what_is_no_part_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^(part is not understood|there is no such part)"):
        Part.parse(text)


def test_two_parts_into_one_folder_give_what_one_run_gives(
    model: Model, slides: Path, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    score_part(model, slides, once, tmp_path / "once.sqlite3")
    parts, journal = tmp_path / "parts", tmp_path / "parts.sqlite3"
    told: list[JointTables] = []
    listener = ScoreListener(on_tables=told.append)
    first = score_part(model, slides, parts, journal, "1/2", listener)
    second = score_part(model, slides, parts, journal, "2/2", listener)
    assert 0 < len(first.records) < len(NAMES)
    assert len(first.records) + len(second.records) == len(NAMES)
    assert list(told[0].missing) == [str(record["slide"]) for record in second.records]
    assert told[1].missing == ()
    assert everything(parts, journal) == everything(once, tmp_path / "once.sqlite3")


def test_a_part_of_another_bundle_is_not_mixed_into_the_tables(
    model: Model, slides: Path, tmp_path: Path
) -> None:
    out, journal = tmp_path / "out", tmp_path / "journal.sqlite3"
    score_part(model, slides, out, journal, "1/2")
    other = small_bundle(tmp_path / "other", version="2.0")
    with open_model(other.folder) as newer:
        done = score_part(newer, slides, out, journal, "2/2")
    assert [record["bundle_digest"] for record in done.tables.records] == [other.digest] * 2
    assert len(done.tables.missing) == len(NAMES) - 2


@pytest.mark.parametrize(
    ("holds", "asks", "free"),
    [
        ("all", None, False),
        ("all", "1/2", False),
        ("1/2", None, False),
        ("1/2", "1/2", False),
        ("1/2", "2/3", False),
        ("1/2", "1/3", False),
        ("1/2", "2/2", True),
        ("1/2", "3/3", True),
    ],
)
def test_the_same_slides_are_worked_on_by_one_program_at_a_time(
    holds: str, asks: str | None, free: bool, model: Model, slides: Path, tmp_path: Path
) -> None:
    out, journal = tmp_path / "out", tmp_path / "journal.sqlite3"
    with held_by_another(out, holds) as other:
        if free:
            score_part(model, slides, out, journal, asks)
            return
        with pytest.raises(StorageError, match="another program uses the result folder") as error:
            score_part(model, slides, out, journal, asks)
        assert f"process {other.pid}" in str(error.value)
        assert not (out / "slides").exists()
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    score_part(model, slides, out, journal, asks)


def test_tables_are_written_in_turn(model: Model, slides: Path, tmp_path: Path) -> None:
    out, journal = tmp_path / "out", tmp_path / "journal.sqlite3"
    score_part(model, slides, out, journal, "1/2")
    waits = threading.Event()
    listener = ScoreListener(on_wait=waits.set)
    with held_by_another(out, "tables") as other:

        def end() -> None:
            waits.wait(60)
            other.kill()

        ending = threading.Thread(target=end)
        ending.start()
        done = score_part(model, slides, out, journal, "2/2", listener)
        ending.join()
    assert waits.is_set()
    assert len(done.tables.records) == len(NAMES)


def test_two_lists_into_one_folder_give_tables_of_both(
    model: Model, slides: Path, tmp_path: Path
) -> None:
    out, journal = tmp_path / "out", tmp_path / "journal.sqlite3"
    for number, names in enumerate((NAMES[:2], NAMES[2:])):
        rows = [f"{name},{name}/field.png" for name in names]
        (tmp_path / f"{number}.csv").write_text("\n".join(["slide,file", *rows]) + "\n")
    score_part(model, slides, out, journal, slide_list=tmp_path / "0.csv")
    both = score_part(model, slides, out, journal, slide_list=tmp_path / "1.csv")
    assert sorted(str(record["slide"]) for record in both.tables.records) == list(NAMES)
    assert both.tables.kept == NAMES[:2]
    assert (out / "verdicts.jsonl").read_text().count('"verdict"') == len(NAMES)


def test_slides_that_have_gone_or_lie_in_others_now_leave_the_tables_and_are_told(
    model: Model, slides: Path, tmp_path: Path
) -> None:
    out, journal = tmp_path / "out", tmp_path / "journal.sqlite3"
    score_part(model, slides, out, journal)
    whole = tmp_path / "whole.csv"
    rows = [f"all,{name}/field.png" for name in NAMES[:3]]
    whole.write_text("\n".join(["slide,file", *rows]) + "\n")
    done = score_part(model, slides, out, journal, slide_list=whole)
    assert [record["slide"] for record in done.tables.records] == ["all", NAMES[3]]
    assert done.tables.left_out == NAMES[:3]


def test_a_slide_that_was_committed_before_the_kill_is_not_committed_twice(
    model: Model, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, journal = tmp_path / "out", tmp_path / "journal.sqlite3"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SlideWriter, "finish", killed)
        patch.setattr(SlideWriter, "abandon", lambda self: None)  # a kill leaves all as it is
        with pytest.raises(KeyboardInterrupt):
            score_part(model, slides, out, journal)
    (left,) = read_rows(journal)
    score_part(model, slides, out, journal)
    rows = read_rows(journal)
    assert rows[0] == left
    assert sorted(str(row.content["slide"]) for row in rows) == list(NAMES)
    again = score_part(model, slides, out, journal)
    assert len(read_rows(journal)) == len(NAMES)
    assert left.hash in {record["journal_record"] for record in again.records}
    assert verify(journal).problems == ()


def test_a_verdict_that_is_another_one_now_is_committed(
    model: Model, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, journal = tmp_path / "out", tmp_path / "journal.sqlite3"
    score_part(model, slides, out, journal, "1/2")
    (row, *_) = read_rows(journal)
    slide = str(row.content["slide"])
    home = out / "slides" / slide
    home.rename(home.with_name(f"{slide}.partial"))
    changed = replace(row, payload=row.payload.replace('"seen":2', '"seen":3'))
    monkeypatch.setattr("edgeapl.recorder.rows_with", lambda *_: (changed,))
    score_part(model, slides, out, journal, "1/2")
    assert [str(one.content["slide"]) for one in read_rows(journal)].count(slide) == 2


def test_a_program_scores_a_part_as_the_command_does(
    slides: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = small_bundle(tmp_path_factory.mktemp("own") / "small").folder
    out, journal = tmp_path / "out", tmp_path / "journal.sqlite3"
    done = edgeapl.score(slides, bundle, out=out, journal=journal, um_per_px=0.2, part="1/2")
    assert [one["slide"] for one in done.slides] == [n for n in NAMES if Part(1, 2).holds(n)]
    assert done.document["part"] == "1/2"
    with pytest.raises(UsageError, match="part is not understood"):
        edgeapl.score(slides, bundle, out=out, journal=journal, part="first")
