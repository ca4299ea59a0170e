"""Merging of parts: what one run would have given, once, or a refusal in words."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from edgeapl.errors import EdgeAplError, InputError, StorageError, UsageError
from edgeapl.journal import (
    Journal,
    Opinion,
    SignOff,
    append_sign_off,
    find_row,
    read_records,
    read_rows,
    verify,
)
from edgeapl.merging import Merged, MergeRequest, merge, slide_copy
from edgeapl.model import Model, open_model
from edgeapl.report.results import put_in_place, record_line
from tests.faults.journal_worker import make_verdict
from tests.scored_parts import NAMES, draw_slides, everything, held_by_another, score_part
from tests.small_bundle import small_bundle

merge_module = sys.modules["edgeapl.merging.merge"]
"""The package has a function of the same name."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with open_model(small_bundle(tmp_path_factory.mktemp("bundle") / "small").folder) as opened:
        yield opened


@dataclass(frozen=True)
class Lab:
    """Two parts with journals of their own, as two machines have them."""

    folder: Path
    slides: Path

    @property
    def parts(self) -> tuple[Path, Path]:
        return self.folder / "part1", self.folder / "part2"

    @property
    def journals(self) -> tuple[Path, Path]:
        return self.folder / "one.sqlite3", self.folder / "two.sqlite3"

    @property
    def out(self) -> Path:
        return self.folder / "all"

    @property
    def journal(self) -> Path:
        return self.folder / "all.sqlite3"

    def merge(self, **changes: Any) -> Merged:
        request = replace(MergeRequest(self.parts, self.out, self.journals), **changes)
        with Journal.open(self.journal, reserve_bytes=0) as journal:
            return merge(request, journal)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    slides = draw_slides(tmp_path_factory.mktemp("input") / "slides")
    made = Lab(folder, slides)
    for number in (0, 1):
        part = f"{number + 1}/2"
        score_part(model, made.slides, made.parts[number], made.journals[number], part)
    return made


@pytest.fixture
def lab(tmp_path: Path, scored: Lab) -> Lab:
    shutil.copytree(scored.folder, tmp_path / "lab")
    return Lab(tmp_path / "lab", scored.slides)


def test_parts_merged_give_what_one_run_gives_and_are_not_scored_again(
    lab: Lab, model: Model, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    score_part(model, lab.slides, once, tmp_path / "once.sqlite3")
    merged = lab.merge()
    assert everything(lab.out, lab.journal) == everything(once, tmp_path / "once.sqlite3")
    assert verify(lab.journal).problems == ()
    assert (merged.added, merged.known, merged.missing, merged.exit_code) == (len(NAMES), 0, (), 0)
    score_part(model, lab.slides, lab.out, lab.journal)
    assert len(read_rows(lab.journal)) == len(NAMES)


def test_reports_and_old_hashes_lead_to_the_merged_rows_which_keep_their_times(lab: Lab) -> None:
    olds = {row.hash: row for journal in lab.journals for row in read_rows(journal)}
    lab.merge()
    for line in (lab.out / "verdicts.jsonl").read_text().splitlines():
        record = json.loads(line)
        row = find_row(lab.journal, record["journal_record"])
        old = olds.pop(record["merged"]["record"])
        report = (lab.out / "slides" / record["slide"] / "report.html").read_text()
        assert row.hash in report
        assert old.hash not in report
        assert row.time == old.time
        assert row.content["results"] == str(lab.out)
        assert find_row(lab.journal, old.hash[:12]) == row
    assert not olds


def test_merging_again_adds_nothing_and_merges_of_merges_add_what_is_new(
    lab: Lab, tmp_path: Path
) -> None:
    first = lab.merge(parts=lab.parts[:1], journals=lab.journals[:1])
    assert first.missing
    assert first.exit_code == InputError.exit_code
    second = lab.merge()
    assert (second.known, second.missing) == (first.added, ())
    before = everything(lab.out, lab.journal)
    again = lab.merge()
    assert (again.added, again.known) == (0, len(NAMES))
    assert everything(lab.out, lab.journal) == before
    others = replace(lab, folder=tmp_path / "others")
    others.folder.mkdir()
    both = others.merge(parts=(lab.out, *lab.parts), journals=(lab.journal, *lab.journals))
    assert (both.added, both.known) == (len(NAMES), len(NAMES))
    assert everything(others.out, others.journal) == before


def test_one_part_may_be_what_the_others_are_merged_into(lab: Lab) -> None:
    with Journal.open(lab.journals[0], reserve_bytes=0) as journal:
        request = MergeRequest(lab.parts, lab.parts[0], lab.journals[1:])
        merged = merge(request, journal)
    assert len(merged.records) == len(NAMES)
    assert everything(lab.parts[0], lab.journals[0]).journal
    assert len(read_rows(lab.journals[0])) == len(NAMES)


def test_parts_that_share_a_journal_are_merged_by_their_results_alone(
    lab: Lab, model: Model
) -> None:
    for number in (0, 1):
        again = lab.folder / f"again{number}"
        score_part(model, lab.slides, again, lab.journal, f"{number + 1}/2")
    merged = lab.merge(parts=(lab.folder / "again0", lab.folder / "again1"), journals=())
    assert (merged.added, len(merged.records)) == (0, len(NAMES))


def test_a_slide_of_two_parts_counts_once_and_keeps_what_people_said_of_either(
    lab: Lab, model: Model
) -> None:
    whole, journal = lab.folder / "whole", lab.folder / "whole.sqlite3"
    score_part(model, lab.slides, whole, journal)
    for path in (lab.journals[0], journal):
        with Journal.open(path, reserve_bytes=0) as open_one:
            record = next(one for one in read_records(path) if one.slide == NAMES[1])
            append_sign_off(open_one, record, SignOff(Opinion.CONFIRM, path.stem[:3]))
    merged = lab.merge(parts=(*lab.parts, whole), journals=(*lab.journals, journal))
    assert merged.twice == merged.duplicates == len(NAMES)
    records = read_records(lab.journal)
    assert sorted(record.slide for record in records) == list(NAMES)
    signed = next(record for record in records if record.slide == NAMES[1])
    assert sorted(str(row.content["person"]) for row in signed.sign_offs) == ["one", "who"]


def _other_settings(lab: Lab, model: Model) -> None:
    score_part(model, lab.slides, lab.parts[0], lab.journals[0], "2/2", crops=True)


def _another_bundle(lab: Lab, model: Model) -> None:
    other = small_bundle(lab.folder / "other", version="2.0")
    with open_model(other.folder) as newer:
        score_part(newer, lab.slides, lab.parts[1], lab.journals[1], "2/2")


def _another_answer(lab: Lab, model: Model) -> None:
    score_part(model, lab.slides, lab.parts[0], lab.journals[0], "2/2")
    for home in (lab.parts[1] / "slides").iterdir():
        record = json.loads((home / "verdict.json").read_text())
        (home / "verdict.json").write_text(json.dumps({**record, "probability": 0.99}) + "\n")


def _edited_journal(lab: Lab, _: Model) -> None:
    connection = sqlite3.connect(lab.journals[1])
    connection.execute("DROP TRIGGER never_changed")
    connection.execute("UPDATE records SET payload = replace(payload, 'a', 'b') WHERE sequence = 1")
    connection.commit()
    connection.close()


def _damaged_slide(lab: Lab, _: Model) -> None:
    next((lab.parts[1] / "slides").iterdir()).joinpath("verdict.json").write_text("{")


def _nothing(lab: Lab, _: Model) -> None:
    del lab


@pytest.mark.parametrize(
    ("harm", "changes", "said"),
    [
        (_other_settings, {}, "a slide was scored twice, of other images or with other settings"),
        (_another_bundle, {}, "two bundles scored the parts"),
        (_another_answer, {}, "two parts answer otherwise for one slide"),
        (_edited_journal, {}, "journal is not as it was written"),
        (_damaged_slide, {}, "results of a slide are damaged"),
        (_nothing, {"journals": ()}, "verdict of a slide is in none of the journals"),
        (_nothing, {"parts": (Path("missing"),)}, "no results there"),
        (_nothing, {"parts": ()}, "nothing to merge"),
    ],
)
def test_a_contradiction_is_refused_in_words_before_anything_is_written(
    harm: Callable[[Lab, Model], None],
    changes: dict[str, Any],
    said: str,
    lab: Lab,
    model: Model,
) -> None:
    harm(lab, model)
    with pytest.raises(EdgeAplError, match=f"^{said}") as error:
        lab.merge(**changes)
    assert "\n" not in str(error.value)
    assert error.value.mend
    assert not (lab.out / "slides").exists()
    assert read_rows(lab.journal) == ()


def test_two_journals_that_answer_otherwise_for_one_slide_are_refused(lab: Lab) -> None:
    for path, probability in zip(lab.journals, (0.2, 0.3), strict=True):
        with Journal.open(path, reserve_bytes=0) as journal:
            verdict = make_verdict(1)
            origin = replace(verdict.origin, bundle="small", slide_key="5" * 64)
            journal.commit(replace(verdict, probability=probability, origin=origin))
    with pytest.raises(StorageError, match="two journals answer otherwise for slide slide 1"):
        lab.merge(parts=(), out=None)
    assert read_rows(lab.journal) == ()


def test_a_part_at_work_and_a_folder_of_something_else_are_refused(lab: Lab) -> None:
    with (
        held_by_another(lab.parts[1], "2/2"),
        pytest.raises(StorageError, match="a part is still being scored"),
    ):
        lab.merge()
    lab.out.mkdir()
    (lab.out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="folder holds something else than results"):
        lab.merge()
    assert [path.name for path in lab.out.iterdir()] == ["notes.txt"]


class _Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("where", "call"),
    [
        (Journal.append_copy, 1),
        (Journal.append_copy, 3),
        (put_in_place, 1),
        (put_in_place, 3),
        (record_line, 3),
        (merge_module.write_marker, 1),
        (merge_module.copy_slide, 3),
        (merge_module.assemble, 1),
        (merge_module.write_index, 1),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_merge_that_was_killed_is_run_again_and_nothing_is_lost_or_there_twice(
    where: Callable[..., Any],
    call: int,
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    whole = replace(lab, folder=tmp_path / "whole")
    whole.folder.mkdir()
    whole.merge(parts=lab.parts, journals=lab.journals)
    before = iter(range(1, call))

    def kill(*arguments: Any) -> Any:
        if next(before, None) is None:
            raise _Killed
        return where(*arguments)

    with monkeypatch.context() as patch:
        for owner in (Journal, slide_copy, merge_module):
            if getattr(owner, where.__name__, None) is where:
                patch.setattr(owner, where.__name__, kill)
        with pytest.raises(_Killed):
            lab.merge()
    lab.merge()
    assert everything(lab.out, lab.journal) == everything(whole.out, whole.journal)
    assert not list((lab.out / "slides").glob("*.partial"))
    assert verify(lab.journal).problems == ()


def test_a_journal_on_a_network_share_is_read_only_when_it_is_closed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = lab.journals[1]
    monkeypatch.setattr(
        "edgeapl.journal.reader.share_of", lambda path: "nfs4" if path == share else ""
    )
    assert lab.merge().added == len(NAMES)
    assert not share.with_name(f"{share.name}-shm").exists()
    share.with_name(f"{share.name}-wal").write_bytes(b"rows that no other machine sees")
    with pytest.raises(StorageError, match=r"journal on a network share is in use: .*\(nfs4\)"):
        lab.merge()


def test_a_slide_that_only_an_earlier_list_has_is_copied_once_however_often_it_is_merged(
    lab: Lab, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, journal = lab.folder / "both", lab.folder / "both.sqlite3"
    for number, name in enumerate(NAMES[:2]):
        path = lab.folder / f"{number}.csv"
        path.write_text(f"slide,file\n{name},{name}/field.png\n")
        score_part(model, lab.slides, both, journal, slide_list=path)

    def kill(*_: object) -> None:
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(merge_module, "assemble", kill)
        with pytest.raises(_Killed):
            lab.merge(parts=(both,), journals=(journal,))
    merged = lab.merge(parts=(both,), journals=(journal,))
    assert len(merged.records) == 2
    assert sorted(home.name for home in (lab.out / "slides").iterdir()) == list(NAMES[:2])
