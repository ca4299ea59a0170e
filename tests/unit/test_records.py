"""What people said of a verdict belongs to its very record, and changes nothing of it."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from edgeapl.errors import UsageError
from edgeapl.journal import (
    AMENDMENT,
    Journal,
    Opinion,
    SignOff,
    append_sign_off,
    find_record,
    read_records,
    records_of_slide,
    sign_off_of,
    verify,
)
from edgeapl.types import Origin, Verdict
from tests.faults.journal_worker import make_verdict

CONFIRMED = SignOff(Opinion.CONFIRM, "AB")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal.sqlite3", reserve_bytes=0) as made:
        yield made


def verdict_of(slide: str, sitting: str = "", *, demonstration: bool = False) -> Verdict:
    origin = Origin("b", "1", demonstration, sitting) if sitting or demonstration else Origin()
    return replace(make_verdict(1), slide=slide, origin=origin)


def call_cell(journal: Journal, record: str, **more: str) -> str:
    said = {"slide": "A", "record": record, "cell": 3, "label": "other cell", "person": "AB"}
    return journal.append_event(AMENDMENT, {**said, **more})


def test_two_slides_of_one_name_have_two_records_with_amendments_of_their_own(
    journal: Journal,
) -> None:
    first = journal.commit(verdict_of("A", "one"))
    journal.commit(verdict_of("B", "other"))
    second = journal.commit(verdict_of("A", "two"))
    said = [
        call_cell(journal, first),
        append_sign_off(journal, find_record(journal.path, second), CONFIRMED),
    ]
    one, two = records_of_slide(journal.path, "A")
    assert [row.hash for row in one.cells] == said[:1]
    assert (one.sign_offs, two.cells) == ((), ())
    assert [row.hash for row in two.sign_offs] == said[1:]
    assert [record.slide for record in read_records(journal.path)] == ["A", "B", "A"]
    assert find_record(journal.path, first) == one


@pytest.mark.parametrize("sitting", ["", "s"])
def test_what_was_said_while_the_slide_was_open_belongs_to_the_verdict_it_got(
    journal: Journal, sitting: str
) -> None:
    """Rows of an older version do not say which examination they are of."""
    journal.commit(verdict_of("A", "before" if sitting else ""))
    so_far = journal.commit(verdict_of("A", sitting), provisional=True)
    said = call_cell(journal, so_far, **({"sitting": sitting} if sitting else {}))
    journal.commit(verdict_of("A", sitting))
    journal.commit(verdict_of("A", "after" if sitting else ""))
    cells = [[row.hash for row in record.cells] for record in records_of_slide(journal.path, "A")]
    assert cells == [[], [said], []]


def test_a_signature_is_a_row_that_verify_covers_and_the_verdict_stays(journal: Journal) -> None:
    row = journal.commit(verdict_of("A", "s"))
    before = find_record(journal.path, row).row
    for said in (CONFIRMED, SignOff(Opinion.OVERRULE, "CD", "blasts", "AML")):
        append_sign_off(journal, find_record(journal.path, row), said)
    record = find_record(journal.path, row)
    assert record.row == before
    assert [sign_off_of(one).words for one in record.sign_offs] == ["confirmed", "overruled: AML"]
    assert sign_off_of(record.sign_offs[1]).comment == "blasts"
    assert not verify(journal.path).problems
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER never_changed")
        connection.execute("UPDATE records SET payload = replace(payload, 'AML', 'APL')")
    assert "edited" in {problem.kind for problem in verify(journal.path).problems}
    assert len(find_record(journal.path, row).sign_offs) == 1  # the edited one counts no more


@pytest.mark.parametrize(
    ("opinion", "texts", "words"),
    [
        (Opinion.CONFIRM, {"person": ""}, "initials missing"),
        (Opinion.CONFIRM, {"person": "A" * 13}, "initials not usable"),
        (Opinion.CONFIRM, {"person": "A\x1b[2J"}, "initials not usable"),
        (Opinion.CONFIRM, {"person": "AB", "label": "AML"}, "only an overruled verdict takes"),
        (Opinion.OVERRULE, {"person": "AB", "comment": "c"}, "label missing"),
        (Opinion.OVERRULE, {"person": "AB", "label": "AML"}, "comment missing"),
        (Opinion.REPEAT, {"person": "AB"}, "comment missing"),
        (Opinion.REPEAT, {"person": "AB", "comment": "a\nb"}, "comment not usable"),
    ],
)
def test_a_signature_needs_who_and_why(opinion: Opinion, texts: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SignOff(opinion, **texts)


def test_only_final_verdicts_are_signed_and_none_is_overruled_by_itself(journal: Journal) -> None:
    so_far = journal.commit(verdict_of("A", "s"), provisional=True)
    row = journal.commit(verdict_of("A", "s"))
    with pytest.raises(UsageError, match="row 1 is not a final verdict"):
        find_record(journal.path, so_far)
    itself = SignOff(Opinion.OVERRULE, "AB", "c", "review")
    with pytest.raises(UsageError, match="overruled by itself"):
        append_sign_off(journal, find_record(journal.path, row), itself)


def test_old_rows_say_nothing_of_bundle_or_demonstration_and_still_open(journal: Journal) -> None:
    journal.commit(verdict_of("A"))
    journal.commit(verdict_of("B", demonstration=True))
    assert [record.demonstration for record in read_records(journal.path)] == [False, True]
    assert "bundle" not in read_records(journal.path)[0].content


@pytest.mark.parametrize("kept", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_a_slide_is_found_in_either_form_of_its_umlauts(
    kept: Literal["NFC", "NFD"], asked: Literal["NFC", "NFD"], journal: Journal
) -> None:
    journal.commit(verdict_of(unicodedata.normalize(kept, "Müller Ä"), "s"))
    journal.commit(verdict_of("Muller A", "t"))
    name = unicodedata.normalize(asked, "Müller Ä")
    assert len(records_of_slide(journal.path, name)) == 1
