"""Writes new versions of a report when people amend its verdict, and keeps the old ones."""

from __future__ import annotations

import re
from pathlib import Path

from edgeapl.errors import StorageError
from edgeapl.journal import Record, find_record
from edgeapl.report.results import report_of
from edgeapl.report.sign_off import BEGIN, END, people_section
from edgeapl.report.storage import replacing, storing, write_new_synced
from edgeapl.wording.printable import printable

_SECTION = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
_VERSION = re.compile(r"Version [0-9]+ of this report")


def amended_report(journal: Path, key: str, results: Path | None = None) -> Path | None:
    """Bring the report of a record up to date with its amendments.

    Parameters
    ----------
    key : row number or hash of the final verdict.
    results : result folder; None uses the one that the record names.

    Returns the report, or None when there is none (any more). Raises StorageError, and UsageError
    when there is no such record.
    """
    record = find_record(journal, key)
    report = located_report(record, results)
    if report is not None:
        add_version(report, record)
    return report


def located_report(record: Record, results: Path | None = None) -> Path | None:
    """Find the report of a record in this result folder, or in the one that the record names."""
    named = str(record.content.get("results", ""))
    folders = [folder for folder in (results, Path(named) if named else None) if folder is not None]
    found = (report_of(folder, record.slide, record.row.hash) for folder in folders)
    return next((report for report in found if report is not None), None)


def add_version(report: Path, record: Record) -> None:
    """Write a new version of a report and keep the old one as ``report.vN.html``.

    Does nothing when the report would not change. Raises StorageError.
    """
    with storing(report):
        before = report.read_text(encoding="utf-8")
    number = 1 + len(list(report.parent.glob("report.v*.html")))
    after = _with_section(before, people_section(record, number + 1), report)
    if _VERSION.sub("", before) == _VERSION.sub("", after):
        return
    kept = report.with_name(f"report.v{number}.html")
    while kept.exists():
        number += 1
        kept = report.with_name(f"report.v{number}.html")
    write_new_synced(kept, before.encode("utf-8"))
    with replacing(report) as file:
        file.write(after.encode("utf-8"))


def _with_section(page: str, section: str, report: Path) -> str:
    if _SECTION.search(page):
        return _SECTION.sub(lambda _: section, page, count=1)
    # Reports of older versions have no such section: put it at the end.
    if "</main>" not in page:
        mend = "see the journal for what people said"
        raise StorageError("report is not one of EdgeAPL", printable(str(report)), mend)
    head, _, tail = page.rpartition("</main>")
    return f"{head}{section}\n</main>{tail}"
