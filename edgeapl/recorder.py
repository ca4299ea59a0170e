"""Stores the results of one slide: rows in the journal, its record, report and explanation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeapl.errors import EdgeAplError
from edgeapl.explanation import explain_or_say_why, make_explainer
from edgeapl.journal import (
    VERDICT,
    Journal,
    Row,
    rows_with,
    same_verdict,
    verdict_from_json,
    verdict_to_json,
)
from edgeapl.model import Model, origin_of
from edgeapl.report.context import report_context
from edgeapl.report.gallery import Gallery
from edgeapl.report.geojson import Placing
from edgeapl.report.results import unfinished_folder
from edgeapl.report.user_columns import FurtherColumns
from edgeapl.report.writer import SlideFiles, SlideWriter
from edgeapl.types import ExaminedFrame, Origin, Verdict
from edgeapl.wording.printable import printable


@dataclass(frozen=True, slots=True)
class RecordedSlide:
    """A slide whose verdict is committed and whose report is written.

    verdict : as committed.
    record : as in `verdicts.jsonl` and `verdict.json`; plain JSON values.
    files : paths of the results.
    """

    verdict: Verdict
    record: dict[str, Any]
    files: SlideFiles


class SlideRecorder:
    """The only way from a slide's verdict to the journal, the disk and the report.

    Parameters
    ----------
    model : the bundle, which gives its name, its rule and its explanation.
    journal : receives the verdicts.
    out : the result folder; ``slides/SLIDE`` is created in it.
    slide : identifier of the slide.
    crops : every image is one cell.
    batch_size : cells per network run when the verdict is explained; None for the best one.
    drawn : the slide is drawn, not a patient's.
    sitting : names this examination, for slides that can be resumed; "" for others.
    further : columns of the user's list, for the table of cells.
    slide_key : digest of all that the results depend on. Where a program was killed between the
        verdict's commit and its report, the row that has this key and says the same is used again.

    newest : of `newest_by_name`, where many slides are recorded; None to list the result folder.

    Raises StorageError when the result folder cannot be written.
    """

    def __init__(
        self,
        model: Model,
        journal: Journal,
        out: Path,
        slide: str,
        *,
        crops: bool = False,
        batch_size: int | None = None,
        drawn: bool = False,
        sitting: str = "",
        further: FurtherColumns = FurtherColumns(),  # noqa: B008 - frozen
        slide_key: str = "",
        newest: Mapping[str, str] | None = None,
    ) -> None:
        manifest = model.bundle.manifest
        self._journal = journal
        self._slide = slide
        origin = origin_of(manifest, out, drawn=drawn, sitting=sitting)
        self.origin: Origin = replace(origin, slide_key=slide_key)
        self._left_behind = _left_behind(journal, unfinished_folder(out, slide, newest), slide_key)
        self._explainer = make_explainer(
            model, crops=crops, batch_size=batch_size or model.batch_size
        )
        context = report_context(manifest, crops=crops)
        self._writer = SlideWriter(out, slide, context, further=further, newest=newest)

    @property
    def gallery(self) -> Gallery:
        """The pictures chosen so far."""
        return self._writer.gallery

    def add(self, examined: ExaminedFrame) -> None:
        """Write one finished frame, and keep what an explanation needs. Raises StorageError."""
        self._writer.add(examined)
        if self._explainer is not None and not examined.rejected:
            self._explainer.add(examined)

    def attach(self, name: str, content: bytes) -> None:
        """Put another file beside the report. Raises StorageError."""
        self._writer.attach(name, content)

    def join_geojson(self, name: str, place_of: Callable[[int], Placing]) -> None:
        """Write the cells of all frames into one file, in the coordinates of the scan."""
        self._writer.join_geojson(name, place_of)

    def leave_out_pictures(self) -> None:
        """Stop drawing frames because time is short. Safe from any thread."""
        self._writer.leave_out_pictures()

    def with_origin(self, verdict: Verdict) -> Verdict:
        """Return the verdict with its origin filled in."""
        return replace(verdict, origin=self.origin)

    def commit_provisional(self, verdict: Verdict) -> str:
        """Commit the current answer, and return the hash of its row. Raises StorageError."""
        return self._journal.commit(self.with_origin(verdict), provisional=True)

    def finish(
        self,
        verdict: Verdict,
        errors: Sequence[EdgeAplError],
        *,
        said: Mapping[str, Any] | None = None,
        on_committed: Callable[[Verdict, str], None] = lambda verdict, row: None,
        may_explain: Callable[[], bool] = lambda: True,
    ) -> RecordedSlide:
        """Commit the final verdict, then explain it, then write the report.

        Parameters
        ----------
        verdict : the final one. errors : that occurred on the way; they go into the record.
        said : more fields of the record.
        on_committed : called with the verdict and the hash of its row before anything slow happens.
        may_explain : called after the commit; returns whether there is time to explain.

        Raises StorageError; a verdict committed by then stays.
        """
        verdict = self.with_origin(verdict)
        content = verdict_to_json(verdict)
        left = self._left_behind
        if left is not None and same_verdict(left.content, content):
            row, content = left.hash, left.content
            verdict = verdict_from_json(content)
        else:
            row = self._journal.commit(verdict)
        on_committed(verdict, row)
        record = {
            **content,
            **(said or {}),
            "journal_record": row,
            "errors": [error_to_json(self._slide, error) for error in errors],
        }
        explanation = explain_or_say_why(self._explainer) if may_explain() else None
        return RecordedSlide(verdict, record, self._writer.finish(record, row, explanation))

    def abandon(self) -> None:
        """Remove what was written of a slide that gets no report."""
        self._writer.abandon()


def _left_behind(journal: Journal, unfinished: Path, slide_key: str) -> Row | None:
    """Find the row of a verdict whose report may be missing; the whole journal is searched.

    So it is only asked for where an unfinished folder was left. Raises StorageError.
    """
    if not slide_key or not unfinished.exists():
        return None
    rows = rows_with(journal.path, VERDICT, "slide_key", slide_key)
    return rows[-1] if rows else None


def error_to_json(slide: str, error: EdgeAplError) -> dict[str, Any]:
    """Return an error as it appears in JSON documents."""
    return {
        "slide": printable(slide),
        "what": error.what,
        "which": printable(error.which),
        "mend": error.mend,
        "exit_code": error.exit_code,
    }
