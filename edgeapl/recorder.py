"""Keeps what comes of one slide: rows in the journal, its record, its report, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeapl.errors import EdgeAplError
from edgeapl.explanation import explained, make_explainer
from edgeapl.journal import Journal, verdict_to_json
from edgeapl.model import Model, origin_of
from edgeapl.report.context import report_context
from edgeapl.report.gallery import Gallery
from edgeapl.report.geojson import Placing
from edgeapl.report.user_columns import FurtherColumns
from edgeapl.report.writer import SlideFiles, SlideWriter
from edgeapl.types import ExaminedFrame, Origin, Verdict
from edgeapl.wording.printable import printable


@dataclass(frozen=True, slots=True)
class RecordedSlide:
    """A slide whose verdict is committed and whose report is written.

    verdict : as committed.
    record : as in `verdicts.jsonl` and `verdict.json`; plain JSON values.
    files : where the results lie.
    """

    verdict: Verdict
    record: dict[str, Any]
    files: SlideFiles


class SlideRecorder:
    """The one way from a slide's verdict to the journal, the disk and the report.

    Parameters
    ----------
    model : the bundle, for its name, its rule and its explanation.
    journal : gets the verdicts.
    out : the result folder; ``slides/SLIDE`` is made in it.
    slide : identifier of the slide.
    crops : every image is one cell.
    batch_size : cells in one run of a network when the verdict is explained; None for what is best.
    drawn : the slide is drawn, no patient's.
    sitting : names this examination, for slides that can be taken up again; "" for others.
    further : columns of the user's list, for the table of cells.

    Raises StorageError when the result folder can not be written.
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
    ) -> None:
        manifest = model.bundle.manifest
        self._journal = journal
        self._slide = slide
        self.origin: Origin = origin_of(manifest, out, drawn=drawn, sitting=sitting)
        self._explainer = make_explainer(
            model, crops=crops, batch_size=batch_size or model.batch_size
        )
        context = report_context(manifest, crops=crops)
        self._writer = SlideWriter(out, slide, context, further=further)

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
        """Put one more file beside the report. Raises StorageError."""
        self._writer.attach(name, content)

    def join_geojson(self, name: str, place_of: Callable[[int], Placing]) -> None:
        """Write the cells of all frames into one file, in a scan's coordinates."""
        self._writer.join_geojson(name, place_of)

    def leave_out_pictures(self) -> None:
        """Draw no more frames, as there is no time. From any thread."""
        self._writer.leave_out_pictures()

    def with_origin(self, verdict: Verdict) -> Verdict:
        """Say in a verdict where it comes from."""
        return replace(verdict, origin=self.origin)

    def commit_provisional(self, verdict: Verdict) -> str:
        """Commit the answer as it stands; gives the hash of its row. Raises StorageError."""
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
        verdict : the final one. errors : met on the way; they stand in the record.
        said : more fields of the record.
        on_committed : told of the verdict and the hash of its row, before anything that takes long.
        may_explain : asked after the commit, whether there is time to explain.

        Raises StorageError; a verdict that was committed by then stays.
        """
        verdict = self.with_origin(verdict)
        row = self._journal.commit(verdict)
        on_committed(verdict, row)
        record = {
            **verdict_to_json(verdict),
            **(said or {}),
            "journal_record": row,
            "errors": [error_to_json(self._slide, error) for error in errors],
        }
        explanation = explained(self._explainer) if may_explain() else None
        return RecordedSlide(verdict, record, self._writer.finish(record, row, explanation))

    def abandon(self) -> None:
        """Remove what was written of a slide that gets no report."""
        self._writer.abandon()


def error_to_json(slide: str, error: EdgeAplError) -> dict[str, Any]:
    """Give an error as it stands in JSON documents."""
    return {
        "slide": printable(slide),
        "what": error.what,
        "which": printable(error.which),
        "mend": error.mend,
        "exit_code": error.exit_code,
    }
