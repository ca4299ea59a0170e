"""New versions of a report when people say something of its verdict; the old ones are kept."""

from __future__ import annotations

import re
from pathlib import Path

from edgeapl.errors import StorageError
from edgeapl.journal import Record, find_record
from edgeapl.report.results import report_of
from edgeapl.report.sign_off import BEGIN, END, people_part
from edgeapl.report.storage import replacing, storing, write_new_synced
from edgeapl.wording.printable import printable

_PART = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
_VERSION = re.compile(r"Version [0-9]+ of this report")


def amended_report(journal: Path, key: str, results: Path | None = None) -> Path | None:
    """Bring the report of a record up to what people said of it.

    Parameters
    ----------
    key : row number or hash of the final verdict.
    results : result folder; None for the one that the record names.

    Returns the report, or None when there is none (any more). Raises StorageError, and UsageError
    when there is no such record.
    """
    record = find_record(journal, key)
    report = located_report(record, results)
    if report is not None:
        add_version(report, record)
    return report


def located_report(record: Record, results: Path | None = None) -> Path | None:
    """Find the report of a record in a result folder, or in the one that the record names."""
    named = str(record.content.get("results", ""))
    folders = [folder for folder in (results, Path(named) if named else None) if folder is not None]
    found = (report_of(folder, record.slide, record.row.hash) for folder in folders)
    return next((report for report in found if report is not None), None)


def add_version(report: Path, record: Record) -> None:
    """Write a new version of a report and keep the one before as ``report.vN.html``.

    Nothing is written when it would say the same. Raises StorageError.
    """
    with storing(report):
        before = report.read_text(encoding="utf-8")
    number = 1 + len(list(report.parent.glob("report.v*.html")))
    after = _with_part(before, people_part(record, number + 1), report)
    if _VERSION.sub("", before) == _VERSION.sub("", after):
        return
    kept = report.with_name(f"report.v{number}.html")
    while kept.exists():
        number += 1
        kept = report.with_name(f"report.v{number}.html")
    write_new_synced(kept, before.encode("utf-8"))
    with replacing(report) as file:
        file.write(after.encode("utf-8"))


def _with_part(page: str, part: str, report: Path) -> str:
    if _PART.search(page):
        return _PART.sub(lambda _: part, page, count=1)
    # A report of an older version has no place for it: before its end.
    if "</main>" not in page:
        mend = "see the journal for what people said"
        raise StorageError("report is not one of EdgeAPL", printable(str(report)), mend)
    head, _, tail = page.rpartition("</main>")
    return f"{head}{part}\n</main>{tail}"
