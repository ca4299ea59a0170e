"""Writes the reports of slides whose station stopped between final verdict and report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeapl.bundle.load import Bundle
from edgeapl.errors import StorageError
from edgeapl.journal import VERDICT, Journal, Row, read_rows
from edgeapl.report.context import report_context
from edgeapl.report.late_report import late_report
from edgeapl.report.results import report_of, slide_of_unfinished, unfinished_folders
from edgeapl.station.recovery import set_aside
from edgeapl.wording.printable import printable


@dataclass(frozen=True, slots=True)
class LateReports:
    """Writes missing reports when a station starts, before it examines anything.

    bundle : that this station runs; roles and limits of other bundles are unknown here.
    """

    journal: Journal
    bundle: Bundle

    def write(self, results: Path) -> tuple[str, ...]:
        """Write the missing reports of a locked result folder; return notices for people.

        A slide that is still open keeps its unfinished folder. That of another bundle's slide is
        set aside with its tables and pictures. Raises StorageError.
        """
        unfinished = unfinished_folders(results)
        if not unfinished:
            return ()
        finals = [
            row
            for row in read_rows(self.journal.path, kinds=(VERDICT,))
            if row.consistent and row.content.get("sitting") and _is_of(row, results)
        ]
        notices: list[str] = []
        for folder in unfinished:
            rows = [row for row in finals if slide_of_unfinished(folder, _slide(row))]
            if rows and report_of(results, _slide(rows[-1]), rows[-1].hash) is None:
                notices.append(printable(self._written(results, folder, rows[-1])))
        return tuple(notices)

    def _written(self, results: Path, folder: Path, row: Row) -> str:
        slide = _slide(row)
        if row.content.get("bundle_digest") != self.bundle.digest:
            place = set_aside(results, folder)
            return f"slide {slide} has no report: another bundle examined it; its tables: {place}"
        record = {**row.content, "journal_record": row.hash, "errors": []}
        context = report_context(self.bundle.manifest, crops=False)
        try:
            page = late_report(results, slide, context, record, row.hash)
        except StorageError as error:
            return f"slide {slide} has no report: {error}"
        return f"slide {slide} has its report only now: {page}"


def _slide(row: Row) -> str:
    return str(row.content.get("slide", ""))


def _is_of(row: Row, results: Path) -> bool:
    place = str(row.content.get("results", ""))
    return bool(place) and Path(place).resolve() == results.resolve()
