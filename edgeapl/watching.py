"""Watch a source until its slide is closed; the verdict is shown after it is committed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl.explaining import explained, make_explainer
from edgeapl.journal import Journal, verdict_to_json
from edgeapl.model import Model
from edgeapl.pipeline import Observer, Progress, SlideOptions, examine_slide
from edgeapl.protocols import FrameSource
from edgeapl.report.context import report_context
from edgeapl.report.writer import SlideWriter
from edgeapl.scoring import error_to_json, told


@dataclass(frozen=True, slots=True)
class Closed:
    """A slide that was watched to its end.

    record : as in `verdicts.jsonl`. report : the HTML page. exit_code : worst error met, or 0.
    """

    record: dict[str, Any]
    report: Path
    exit_code: int


def watch_slide(
    model: Model,
    source: FrameSource,
    slide: str,
    out: Path,
    journal: Journal,
    options: SlideOptions,
    on_progress: Callable[[Progress], None],
    stop: threading.Event,
) -> Closed:
    """Examine what the source gives until it ends, `stop` is set or the options say so.

    Parameters
    ----------
    model, source, options : as for `edgeapl.pipeline.examine_slide`.
    slide : identifier of the slide.
    out : folder that gets ``slides/SLIDE`` with report, tables and pictures.
    journal : where the verdict is committed before anything is shown as final.
    on_progress : told the answer as it stands after every frame.
    stop : set it to close the slide.

    Raises StorageError when the verdict or the report can not be kept.
    """
    context = report_context(model.bundle.manifest, crops=options.crops)
    explainer = make_explainer(model, crops=options.crops, batch_size=options.batch_size)
    writer = SlideWriter(out, slide, context)
    try:
        outcome = examine_slide(
            model, slide, source, options, Observer(told(writer, explainer), on_progress), stop
        )
        journal_record = journal.commit(outcome.verdict)
        record = {
            **verdict_to_json(outcome.verdict),
            "journal_record": journal_record,
            "errors": [error_to_json(slide, error) for error in outcome.errors],
        }
        files = writer.finish(record, journal_record, explained(explainer))
    except BaseException:
        writer.abandon()
        raise
    code = max((error.exit_code for error in outcome.errors), default=0)
    return Closed(record, files.report, code)
