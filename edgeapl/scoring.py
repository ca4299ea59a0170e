"""Score a folder: one committed verdict per slide, resumable, with a report for each."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgeapl import __version__, findings
from edgeapl.bundle.digest import sha256_file, sha256_of_parts
from edgeapl.errors import EdgeAplError, StorageError, UsageError
from edgeapl.explaining import Explainer, explained, make_explainer
from edgeapl.journal import Journal, find_row, verdict_to_json
from edgeapl.model import Model, origin_of
from edgeapl.pipeline import (
    Observer,
    SlideJob,
    SlideOptions,
    SlideOutcome,
    Turn,
    examine_slides,
)
from edgeapl.report.context import report_context
from edgeapl.report.further import FurtherColumns
from edgeapl.report.tables import cell_columns
from edgeapl.report.writer import SlideWriter, assemble, finished_record
from edgeapl.scale import SlideScale, measure_ahead
from edgeapl.sources.discover import SlideInput, find_slides, part_files, printable
from edgeapl.sources.files import FilesSource
from edgeapl.types import ExaminedFrame, Origin

SCHEMA = 1
"""Version of the JSON documents; raised when a field changes its meaning or goes."""

PATIENT = "patient"

MARKER = "edgeapl-results.json"
"""Marks a folder as results, so that it is never taken for images."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What to score and how.

    folder : images, or sub-folders with images, one per slide.
    out : where results go; made if missing.
    crops : every image is one cell.
    slide_list : CSV with the columns slide and file; None to look for slides.csv.
    slide_from : pattern that finds the slide in each image's name; None to go by folders.
    um_per_px : scale of all images, µm per px; None to measure it.
    batch_size : cells in one run of a network; None for what is best for the model.
    """

    folder: Path
    out: Path
    crops: bool = False
    slide_list: Path | None = None
    slide_from: str | None = None
    um_per_px: float | None = None
    batch_size: int | None = None


@dataclass(slots=True)
class ScoreListener:
    """Who is told how far the scoring is.

    No verdict is worked out before its slide is finished: for every frame that would take longer
    than for the one before.
    """

    on_slides: Callable[[Sequence[SlideInput]], None] = lambda slides: None
    on_frame: Callable[[SlideInput, ExaminedFrame], None] = lambda slide, examined: None
    on_slide: Callable[[dict[str, Any], bool], None] = lambda record, resumed: None
    on_unlisted: Callable[[Sequence[Path]], None] = lambda files: None


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """One record per slide, as in `verdicts.jsonl`, and all errors in the order they came."""

    records: tuple[dict[str, Any], ...]
    errors: tuple[dict[str, str], ...]
    exit_code: int

    def document(self, model: Model, request: ScoreRequest) -> dict[str, Any]:
        """Give the one document of `score --json`."""
        manifest = model.bundle.manifest
        return {
            "schema": SCHEMA,
            "software": f"edgeapl {__version__}",
            "research_use_only": True,
            "bundle": {
                "name": manifest.name,
                "version": manifest.version,
                "digest": model.bundle.digest,
                "trained": manifest.trained,
            },
            "out": str(request.out),
            "slides": list(self.records),
            "errors": list(self.errors),
        }


def score_folder(
    request: ScoreRequest, model: Model, journal: Journal, listener: ScoreListener
) -> ScoreResult:
    """Score every slide that is not finished yet and write the tables of all.

    A slide is finished when its images, the bundle, the networks and the settings are the same
    as before and its verdict is in the journal. Errors of single images are collected; the other
    images are still scored. Raises UsageError or InputError when there is nothing to score, and
    StorageError when results can not be kept.
    """
    found = find_slides(
        request.folder,
        crops=request.crops,
        slide_list=request.slide_list,
        slide_from=request.slide_from,
    )
    slides = found.slides
    _claim(request.out, request.folder)
    listener.on_slides(slides)
    listener.on_unlisted(found.unlisted)
    scoring = _Scoring(request, model, journal, listener, found.unlisted)
    try:
        examine_slides(
            model, scoring.jobs(slides), batch_size=request.batch_size, stop=scoring.stop
        )
    finally:
        scoring.abandon()
    records = scoring.records
    assemble(request.out, [str(record["slide"]) for record in records])
    errors = [error for record in records for error in record["errors"]]
    code = max((int(error["exit_code"]) for error in errors), default=0)
    return ScoreResult(tuple(records), tuple(errors), code)


def slide_key(
    request: ScoreRequest,
    model: Model,
    slide: SlideInput,
    digests: Sequence[str],
    further: FurtherColumns = FurtherColumns(),  # noqa: B008 - frozen
) -> str:
    """Digest of all that a slide's results depend on: images, bundle, networks, settings, columns.

    digests : of the contents of the slide's files, as from `_content_digest`. further : what the
    user's list says of them; results hold it.
    """
    parts = [
        f"edgeapl {__version__} schema {SCHEMA}",
        model.bundle.digest,
        model.engine_digest,
        model.runtime,
        f"crops {request.crops}",
        f"scale {slide.um_per_px or request.um_per_px}",
        f"table {cell_columns([role.name for role in model.bundle.manifest.roles])}",
    ]
    for file, digest in zip(slide.files, digests, strict=True):
        parts += [str(file), digest]
    for file in slide.files if further.headings else ():
        parts += [f"list {further.headings} {further.values[str(file)]}"]
    return sha256_of_parts(parts)


def listed_texts(slide: SlideInput) -> dict[str, tuple[str, ...]]:
    """Give what the user's list says besides the files: name to one text per file."""
    texts = {column.name: column.values for column in slide.listed}
    if not slide.patient:
        return texts
    return {PATIENT: (slide.patient,) * len(slide.files), **texts}


def further_columns(slides: Sequence[SlideInput]) -> FurtherColumns:
    """Give the columns of the user's list for tables; the same ones for all slides."""
    headings = dict.fromkeys(name for slide in slides for name in listed_texts(slide))
    values = {}
    for slide in slides:
        texts = listed_texts(slide)
        for place, file in enumerate(slide.files):
            values[str(file)] = tuple(
                texts[name][place] if name in texts else "" for name in headings
            )
    return FurtherColumns(tuple(headings), values if headings else {})


def _listed_to_json(slide: SlideInput) -> dict[str, Any]:
    """Give the same for a record: one text where all files have it, else one per file."""
    document: dict[str, Any] = {PATIENT: slide.patient} if slide.patient else {}
    if slide.listed:
        document["listed"] = {
            column.name: column.values[0] if len(set(column.values)) == 1 else [*column.values]
            for column in slide.listed
        }
    return document


def _still_holds(record: Mapping[str, Any], key: str, journal: Journal) -> bool:
    """Whether a finished record is of the same images and settings and as the journal has it."""
    journal_record = str(record.get("journal_record"))
    if record.get("slide_key") != key or not journal.has(journal_record):
        return False
    committed = json.loads(find_row(journal.path, journal_record).payload)
    return all(record.get(name) == value for name, value in committed.items())


def _content_digest(file: Path) -> str:
    """Digest of a plain file; anything else is named, so that a repaired file is scored again."""
    if not file.is_file():
        return "not a plain file"
    try:
        return sha256_file(file)
    except OSError as error:
        return f"unreadable: {error.strerror}"


class _Scoring:
    """Makes jobs of slides, and keeps what comes of them."""

    def __init__(
        self,
        request: ScoreRequest,
        model: Model,
        journal: Journal,
        listener: ScoreListener,
        unlisted: Sequence[Path] = (),
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self.stop = threading.Event()
        self._request = request
        self._model = model
        self._journal = journal
        self._listener = listener
        self._unlisted = tuple(unlisted)
        self._context = report_context(model.bundle.manifest, crops=request.crops)
        self._further = FurtherColumns()
        self._open: list[_SlideResults] = []

    def jobs(self, slides: Sequence[SlideInput]) -> Iterator[SlideJob | Turn]:
        """Give what is to be done for each slide; runs in the thread that reads."""
        request, manifest = self._request, self._model.bundle.manifest
        self._further = further_columns(slides)
        leave_out = manifest.crop.leave_out if request.crops else ()
        for slide in slides:
            digests = []
            for file in slide.files:
                if self.stop.is_set():
                    return  # Ctrl-C need not wait for a large slide to be hashed
                digests.append(_content_digest(file))
            key = slide_key(request, self._model, slide, digests, self._further)
            record = finished_record(request.out, slide.name)
            if record is not None and _still_holds(record, key, self._journal):
                yield partial(self._note, record, True)
                continue
            kept, left_out = part_files(slide.files, leave_out)
            scale = SlideScale(slide.um_per_px or request.um_per_px, manifest.um_per_px)
            measure_ahead(scale, kept)
            beside = findings.of_unlisted(self._unlisted, {file.parent for file in slide.files})
            known = (*findings.of_left_out(left_out), *beside)
            options = SlideOptions(crops=request.crops, findings=known)
            with FilesSource(kept, slide.name, scale) as source:
                yield self._job(slide, key, source, options)

    def abandon(self) -> None:
        """Remove what was written of slides that have no verdict."""
        for results in self._open:
            results.writer.abandon()

    def _job(
        self, slide: SlideInput, key: str, source: FilesSource, options: SlideOptions
    ) -> SlideJob:
        observer = Observer()

        def begin() -> None:
            request = self._request
            explainer = make_explainer(
                self._model,
                crops=request.crops,
                batch_size=request.batch_size or self._model.batch_size,
            )
            origin = origin_of(self._model.bundle.manifest, request.out)
            writer = SlideWriter(request.out, slide.name, self._context, further=self._further)
            said = _listed_to_json(slide)
            self._open.append(_SlideResults(key, origin, writer, explainer, said))
            tell = told(writer, explainer)

            def on_frame(examined: ExaminedFrame) -> None:
                tell(examined)
                self._listener.on_frame(slide, examined)

            observer.on_frame = on_frame

        def keep(outcome: SlideOutcome) -> None:
            # Verdicts come in the order in which the slides began.
            record = self._open[0].keep(outcome, self._journal)
            del self._open[0]
            self._note(record, False)

        return SlideJob(slide.name, source, options, observer, begin, keep)

    def _note(self, record: dict[str, Any], resumed: bool) -> None:
        self.records.append(record)
        self._listener.on_slide(record, resumed)


@dataclass(frozen=True, slots=True)
class _SlideResults:
    """Where the results of a slide in work go; `key` as from `slide_key`.

    said : what the user's list says of the slide.
    """

    key: str
    origin: Origin
    writer: SlideWriter
    explainer: Explainer | None
    said: dict[str, Any]

    def keep(self, outcome: SlideOutcome, journal: Journal) -> dict[str, Any]:
        """Commit the verdict, then write what people see."""
        verdict = replace(outcome.verdict, origin=self.origin)
        journal_record = journal.commit(verdict)
        record = {
            **verdict_to_json(verdict),
            **self.said,
            "slide_key": self.key,
            "journal_record": journal_record,
            "errors": [error_to_json(outcome.verdict.slide, error) for error in outcome.errors],
        }
        self.writer.finish(record, journal_record, explained(self.explainer))
        return record


def told(writer: SlideWriter, explainer: Explainer | None) -> Callable[[ExaminedFrame], None]:
    """Give what hands every finished frame to the writer, and to the explainer if there is one."""

    def tell(examined: ExaminedFrame) -> None:
        writer.add(examined)
        if explainer is not None and not examined.rejected:
            explainer.add(examined)

    return tell


def error_to_json(slide: str, error: EdgeAplError) -> dict[str, Any]:
    """Give an error as it stands in JSON documents."""
    return {
        "slide": printable(slide),
        "what": error.what,
        "which": printable(error.which),
        "mend": error.mend,
        "exit_code": error.exit_code,
    }


def _claim(out: Path, folder: Path) -> None:
    """Mark the result folder, and refuse one that belongs to another input."""
    if out.resolve() == folder.resolve():
        raise UsageError("results would lie among the images", out, "choose another with --out")
    marker = out / MARKER
    mine = {"schema": SCHEMA, "folder": str(folder.resolve())}
    try:
        out.mkdir(parents=True, exist_ok=True)
        if marker.exists():
            theirs: Mapping[str, Any] = json.loads(marker.read_text(encoding="utf-8"))
            if theirs.get("folder") != mine["folder"]:
                raise UsageError(
                    "result folder belongs to another input", out, "choose another with --out"
                )
            return
        marker.write_text(json.dumps(mine) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise StorageError("result folder cannot be used", out, str(error)) from error
