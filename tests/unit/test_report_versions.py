"""A report says what people said of its verdict, and every earlier version is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeapl.errors import StorageError
from edgeapl.journal import AMENDMENT, Journal, Opinion, SignOff, append_sign_off, find_record
from edgeapl.report.results import REPORT, VERDICT, record_line, slide_folder
from edgeapl.report.sign_off import BEGIN, people_section
from edgeapl.report.versions import add_version, amended_report
from edgeapl.types import Origin
from tests.faults.journal_worker import make_verdict

HOSTILE = "<script>x</script><!--/people-->"


def recorded(journal: Journal, out: Path, page: str, slide: str = "A", number: int = 1) -> str:
    """Commit a verdict and put a page in the place of its report."""
    verdict = replace(make_verdict(1), slide=slide, origin=Origin("b", "1", results=str(out)))
    row = journal.commit(verdict)
    home = slide_folder(out, slide, number)
    home.mkdir(parents=True)
    (home / REPORT).write_text(page, encoding="utf-8")
    (home / VERDICT).write_bytes(record_line({"slide": slide, "journal_record": row}))
    return row


@pytest.mark.parametrize("part", [people_section(None), ""], ids=["ours", "of an older version"])
def test_the_newest_version_says_it_and_the_one_before_is_kept(tmp_path: Path, part: str) -> None:
    page = f"<main><h1>A</h1>{part}<h2>rest</h2></main>"
    with Journal.open(tmp_path / "j.sqlite3", reserve_bytes=0) as journal:
        row = recorded(journal, tmp_path / "out", page)
        signed = SignOff(Opinion.OVERRULE, "AB", HOSTILE, "AML")
        append_sign_off(journal, find_record(journal.path, row), signed)
        report = amended_report(journal.path, row)
        assert report is not None
        assert report.with_name("report.v1.html").read_text() == page
        assert "overruled: AML" in report.read_text()
        assert "Not signed" not in report.read_text()
        assert amended_report(journal.path, row) == report  # says the same: no version more
        assert not report.with_name("report.v2.html").exists()
        said = {"slide": "A", "record": row, "cell": 7, "label": "other_cell", "person": HOSTILE}
        journal.append_event(AMENDMENT, {**said, "scores": {"blast": 0.25}})
        amended_report(journal.path, row)
    text = report.read_text()
    assert "Version 3 of this report" in text
    assert "blast 0.25" in text
    assert "<script>" not in text
    assert text.count(BEGIN) == 1
    assert "overruled: AML" in report.with_name("report.v2.html").read_text()
    assert "<h2>rest</h2>" in text


def test_a_report_that_is_gone_or_of_another_record_is_left_alone(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j.sqlite3", reserve_bytes=0) as journal:
        first = recorded(journal, tmp_path / "out", "<main></main>")
        second = recorded(journal, tmp_path / "out", "<main></main>", number=2)
        for row, person in ((first, "AB"), (second, "CD")):
            append_sign_off(
                journal, find_record(journal.path, row), SignOff(Opinion.CONFIRM, person)
            )
        reports = [amended_report(journal.path, row) for row in (first, second)]
        pages = [report.read_text() for report in reports if report is not None]
        assert ["AB" in page for page in pages] == [True, False]
        assert ["CD" in page for page in pages] == [False, True]
        assert reports[0] is not None
        reports[0].unlink()
        assert amended_report(journal.path, first) is None
        moved = (tmp_path / "out").rename(tmp_path / "moved")
        assert amended_report(journal.path, second) is None
        assert amended_report(journal.path, second, moved) is not None
        record = find_record(journal.path, second)
        (tmp_path / "x.html").write_text("?")
        with pytest.raises(StorageError, match="not one of EdgeAPL"):
            add_version(tmp_path / "x.html", record)
