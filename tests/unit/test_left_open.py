"""One slide, one patient, one final verdict, whatever the last run of the station left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from edgeapl.errors import UsageError
from edgeapl.journal import PROVISIONAL, VERDICT, Journal, read_rows
from edgeapl.report.writer import SlideWriter
from edgeapl.station.frame_store import (
    METADATA,
    FrameStore,
    left_folders,
    read_metadata,
    write_metadata,
)
from edgeapl.station.hosted_model import HostedModel, open_hosted
from edgeapl.station.interruption import Interruption
from edgeapl.station.sources import ResumedSource
from edgeapl.types import Decision, Remark, Verdict
from tests.faults.journal_worker import make_verdict
from tests.small_bundle import small_bundle
from tests.unit.test_station import Bench, opened, shot

pytestmark = pytest.mark.slow

JOURNAL = "journal.sqlite3"


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostedModel]:
    folder = tmp_path_factory.mktemp("bundle") / "b"
    small_bundle(folder)
    with open_hosted(folder) as made:
        yield made


class PowerCut(BaseException):
    """Ends everything at one place, as a kill does."""


def cut(*_: object, **__: object) -> NoReturn:
    raise PowerCut


def half_removed(folder: Path) -> NoReturn:
    (folder / METADATA).unlink()
    raise PowerCut


def no_final(commit: Callable[..., str]) -> Callable[..., str]:
    def patched(journal: Journal, verdict: Verdict, *, provisional: bool = False) -> str:
        return commit(journal, verdict, provisional=True) if provisional else cut()

    return patched


CUTS: dict[str, tuple[object, str, object]] = {
    "before the final verdict": (Journal, "commit", no_final(Journal.commit)),
    "before the report": (SlideWriter, "finish", cut),
    "before the kept frames go": (None, "edgeapl.station.session.discard", cut),
    "while the kept frames go": (None, "edgeapl.station.recovery.shutil.rmtree", half_removed),
}


def patched(patch: pytest.MonkeyPatch, where: str) -> None:
    target, name, act = CUTS[where]
    if target is None:
        patch.setattr(name, act)
    else:
        patch.setattr(target, name, act)


def examine_and_cut(hosted: HostedModel, folder: Path, slide: str, arm: Callable[[], None]) -> None:
    with opened(hosted, folder, attended=False) as bench:
        bench.start(slide)
        bench.show(0)
        bench.show(3)
        arm()
        bench.station.close_slide()
        bench.until(lambda view: not bench.station.alive)


def leave(hosted: HostedModel, folder: Path, where: str, *slides: str) -> None:
    """Examine two fields of each slide, and cut the power at one place while it is closed."""
    for slide in slides:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCut):
            examine_and_cut(hosted, folder, slide, lambda: patched(patch, where))


def cut_again(hosted: HostedModel, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "commit", no_final(Journal.commit))
        with pytest.raises(PowerCut), opened(hosted, folder, attended=False) as bench:
            bench.until(lambda view: not bench.station.alive)


def restart(hosted: HostedModel, folder: Path, then: str | None = "B", **more: Any) -> Bench:
    """Start the station again with nobody there, and examine another patient's slide."""
    with opened(hosted, folder, **{"attended": False, **more}) as bench:
        expected = len(bench.station.interrupted)
        bench.until(lambda view: len(bench.closed) == expected)
        if then is not None:
            bench.start(then)
            bench.show(1)
            bench.close_slide()
    return bench


def finals(folder: Path, journal: str = JOURNAL) -> list[dict[str, Any]]:
    return [row.content for row in read_rows(folder / journal) if row.kind == VERDICT]


def codes(record: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in record["reasons"]]


@pytest.mark.parametrize("where", CUTS)
def test_wherever_the_power_goes_a_slide_has_one_final_verdict_of_its_own_frames(
    hosted: HostedModel,
    tmp_path: Path,
    where: str,
) -> None:
    leave(hosted, tmp_path, where, "A")
    before = len(finals(tmp_path))
    assert before == (0 if where == "before the final verdict" else 1)
    bench = restart(hosted, tmp_path)
    found = finals(tmp_path)
    assert [record["slide"] for record in found] == ["A", "B"]
    assert [len(record["frames"]) for record in found] == [2, 1]
    assert ("cut_short" in codes(found[0])) is (before == 0)
    assert "cut_short" not in codes(found[1])
    assert not left_folders(bench.out)
    assert not list((tmp_path / "out/discarded").glob("*"))
    # Frames of a verdict without a report are not lost, and a person is told.
    aside = list((tmp_path / "out").glob("set-aside/A/*.png"))
    assert len(aside) == (2 if where == "before the report" else 0)
    told = [text for text in bench.station.trouble if "set-aside" in text]
    assert bool(told) is bool(aside)
    restart(hosted, tmp_path, None)
    assert len(finals(tmp_path)) == 2  # and never again


def test_what_was_cut_short_is_never_clear_and_a_flag_stays() -> None:
    source = ResumedSource([], None)
    clear = replace(make_verdict(1), decision=Decision.CLEAR)
    told = Interruption(source).annotate(clear)
    assert (told.decision, told.reasons[0].code) == (Decision.REVIEW, "cut_short")
    flag = Interruption(source).annotate(replace(clear, decision=Decision.FLAG))
    assert (flag.decision, flag.reasons[-1].code) == (Decision.FLAG, "cut_short")
    camera = ResumedSource([], ResumedSource([], None), waits=True)
    camera.resume()
    assert (
        Interruption(camera).annotate(clear).decision is Decision.CLEAR
    )  # a person called it whole


def test_kept_frames_that_there_was_no_time_for_are_said() -> None:
    kept = ResumedSource([lambda: shot(0, "a"), lambda: shot(1, "b")], None)
    kept.read(1)
    told = Interruption(kept).annotate(
        replace(make_verdict(1), decision=Decision.CLEAR), final=True
    )
    assert "1 of 2 kept frames were not examined again" in told.reasons[1].text


def test_a_flagged_slide_that_was_left_open_is_flagged_and_finished(
    hosted: HostedModel,
    tmp_path: Path,
) -> None:
    leave(hosted, tmp_path, "before the final verdict", "A")
    (kept,) = left_folders(tmp_path / "out")
    write_metadata(kept, replace(read_metadata(kept), flagged=True))
    restart(hosted, tmp_path)
    assert finals(tmp_path)[0]["verdict"] == "FLAG"


def test_all_slides_that_were_left_open_are_finished_and_the_newest_waits(
    hosted: HostedModel,
    tmp_path: Path,
) -> None:
    for number, name in enumerate(("old", "new")):
        kept = FrameStore.start(tmp_path / "out", name, f"2026-01-0{number + 1}")
        kept.add(shot(number, name))
        kept.flush()
    with opened(hosted, tmp_path) as bench:
        view = bench.until(lambda view: view.slide is not None and view.slide.waits)
        assert view.slide is not None
        assert view.slide.slide == "new"
        assert [one.verdict.slide for one in bench.closed] == ["old"]
        bench.close_slide()
    assert [record["frames"][0]["source"] for record in finals(tmp_path)] == ["old", "new"]


@pytest.mark.parametrize("damage", ["{", '{"slide": "S"}', "[]", "", None, "another's"])
def test_what_is_known_of_a_slide_comes_from_the_journal_when_it_can_not_be_read(
    hosted: HostedModel,
    tmp_path: Path,
    damage: str | None,
) -> None:
    leave(hosted, tmp_path, "before the final verdict", "A")
    (kept,) = left_folders(tmp_path / "out")
    about = read_metadata(kept)
    if damage is None:
        (kept / METADATA).unlink()
    elif damage == "another's":
        write_metadata(kept, replace(about, slide="C"))
    else:
        (kept / METADATA).write_text(damage)
    restart(hosted, tmp_path)
    found = finals(tmp_path)
    assert [(record["slide"], len(record["frames"])) for record in found] == [("A", 2), ("B", 1)]
    assert found[0]["sitting"] == about.sitting


def test_frames_of_which_nobody_knows_whose_they_are_are_set_aside_unjudged(
    hosted: HostedModel,
    tmp_path: Path,
) -> None:
    kept = FrameStore.start(tmp_path / "out", "A", "2026-01-01")
    kept.add(shot(0, "a"))
    kept.flush()
    (tmp_path / "out/open/A" / METADATA).write_text("{")
    (tmp_path / "out/open/empty").mkdir()
    (tmp_path / "out/open/a-file").write_text("?")
    bench = restart(hosted, tmp_path)
    assert [record["slide"] for record in finals(tmp_path)] == ["B"]
    assert (tmp_path / "out/set-aside/A/000000.png").is_file()
    assert any("set-aside" in text for text in bench.station.trouble)
    assert not left_folders(tmp_path / "out")


def test_under_another_journal_a_slide_is_finished_once_and_it_is_said(
    hosted: HostedModel,
    tmp_path: Path,
) -> None:
    leave(hosted, tmp_path, "before the final verdict", "A")
    restart(hosted, tmp_path, journal="other.sqlite3")
    found = finals(tmp_path, "other.sqlite3")
    assert [(record["slide"], len(record["frames"])) for record in found] == [("A", 2), ("B", 1)]
    assert "other_journal" in codes(found[0])
    restart(hosted, tmp_path, None)
    assert finals(tmp_path) == []  # nothing was left open any more


def test_under_another_journal_a_slide_with_its_report_is_done(
    hosted: HostedModel,
    tmp_path: Path,
) -> None:
    leave(hosted, tmp_path, "before the kept frames go", "A")
    restart(hosted, tmp_path, journal="other.sqlite3")
    assert [record["slide"] for record in finals(tmp_path, "other.sqlite3")] == ["B"]


@pytest.mark.parametrize(
    ("started", "judged"), [("2020-01-01T00:00:00+00:00", 0), ("2099-01-01", 1)]
)
def test_of_a_slide_that_an_older_version_kept_name_and_time_tell_whether_it_is_done(
    hosted: HostedModel,
    tmp_path: Path,
    started: str,
    judged: int,
) -> None:
    restart(hosted, tmp_path, "A")
    FrameStore.start(tmp_path / "out", "A", started)
    note = {"slide": "A", "started": started, "flagged": False}
    (tmp_path / "out/open/A" / METADATA).write_text(json.dumps(note))
    restart(hosted, tmp_path, None)
    assert len(finals(tmp_path)) == 1 + judged


def test_a_person_may_go_on_with_a_slide_from_the_start(
    hosted: HostedModel,
    tmp_path: Path,
) -> None:
    leave(hosted, tmp_path, "before the final verdict", "A", "C")
    with opened(hosted, tmp_path, attended=False, resume="C") as bench:
        bench.until(lambda view: view.slide is not None and view.slide.frames_used == 2)
        assert bench.show(1).slide is not None
        bench.close_slide()
    found = finals(tmp_path)
    assert [(record["slide"], len(record["frames"])) for record in found] == [("A", 2), ("C", 3)]
    assert "gone_on" in codes(found[1])
    with (
        pytest.raises(UsageError, match="was not left open: C: slides that were: none"),
        opened(hosted, tmp_path, resume="C"),
    ):
        pass


@pytest.mark.parametrize("waits", [False, True])
def test_the_identifier_of_a_slide_that_was_left_open_is_asked_about(
    hosted: HostedModel, tmp_path: Path, waits: bool
) -> None:
    leave(hosted, tmp_path, "before the final verdict", "A")
    with (
        pytest.raises(UsageError, match=r"was left open when the station stopped: A: continue it"),
        opened(hosted, tmp_path, attended=waits, first_slide=" A "),
    ):
        pass
    assert not finals(tmp_path)  # nothing was done to it
    (kept,) = left_folders(tmp_path / "out")
    assert len(list(kept.glob("*.png"))) == 2


def test_frames_are_kept_once_however_often_the_power_goes(
    hosted: HostedModel,
    tmp_path: Path,
) -> None:
    leave(hosted, tmp_path, "before the final verdict", "A")
    for _ in range(2):
        cut_again(hosted, tmp_path)
        (kept,) = left_folders(tmp_path / "out")
        assert len(list(kept.glob("*.png"))) == 2
    rows = [row for row in read_rows(tmp_path / JOURNAL) if row.kind == PROVISIONAL]
    assert {row.content["sitting"] for row in rows} == {read_metadata(kept).sitting}
    shutil.rmtree(kept)


def test_a_kept_frame_keeps_how_it_was_read(tmp_path: Path) -> None:
    remarks = (Remark("depth", "scaled"), Remark("colour", "cannot be told", doubtful=True))
    kept = FrameStore.start(tmp_path, "S", "2026-01-01")
    kept.add(replace(shot(1, "a.tif"), remarks=remarks))
    kept.flush()
    (read,) = kept.readers()
    assert read().remarks == remarks
