"""Score a folder: one committed verdict per slide, resumable, with a report for each."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edgeapl import slide_findings
from edgeapl.errors import InputError, StorageError, UsageError
from edgeapl.journal import Journal, Standing
from edgeapl.model import Model
from edgeapl.pipeline import (
    Observer,
    SlideJob,
    SlideOptions,
    SlideOutcome,
    Turn,
    examine_slides,
)
from edgeapl.pixel_size import SlideScale, measure_ahead
from edgeapl.protocols import FrameSource
from edgeapl.recorder import SlideRecorder
from edgeapl.report.index import write_index
from edgeapl.report.user_columns import FurtherColumns
from edgeapl.report.writer import assemble, finished_record
from edgeapl.scoring.list_columns import further_columns, listed_to_json
from edgeapl.scoring.request import SCHEMA, ScoreListener, ScoreRequest, ScoreResult
from edgeapl.scoring.resume import content_digest, slide_key, still_holds
from edgeapl.scoring.scan import FailedSource, Scan, open_scan, split_scans
from edgeapl.sources.discover import SlideInput, find_slides, part_files
from edgeapl.sources.files import FilesSource
from edgeapl.types import ExaminedFrame
from edgeapl.whole_slide import is_whole_slide

MARKER = "edgeapl-results.json"
"""Marks a folder as results, so that it is never scored as images."""


def score_folder(
    request: ScoreRequest, model: Model, journal: Journal, listener: ScoreListener
) -> ScoreResult:
    """Score every slide that is not finished yet, and write the tables of all.

    A slide is finished if its images, the bundle, the networks and the settings are unchanged and
    its verdict is in the journal. Errors of single images are collected while the other images are
    scored. Raises UsageError or InputError when there is nothing to score, and StorageError when
    results cannot be written.
    """
    found = find_slides(
        request.folder,
        crops=request.crops,
        slide_list=request.slide_list,
        slide_from=request.slide_from,
    )
    slides = found.slides
    if request.slide_list is None and request.slide_from is None and not request.crops:
        slides = split_scans(slides)
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
    write_index(request.out, records)
    errors = [error for record in records for error in record["errors"]]
    code = max((int(error["exit_code"]) for error in errors), default=0)
    return ScoreResult(tuple(records), tuple(errors), code)


class _Scoring:
    """Turns slides into jobs, and stores their results."""

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
        self._further = FurtherColumns()
        self._standing = Standing(journal.path, model.clearing.certificate)
        self._begun: dict[str, SlideRecorder] = {}

    def jobs(self, slides: Sequence[SlideInput]) -> Iterator[SlideJob | Turn]:
        """Yield the job of each slide; runs in the reading thread."""
        request, manifest = self._request, self._model.bundle.manifest
        self._further = further_columns(slides)
        leave_out = manifest.crop.leave_out if request.crops else ()
        for slide in slides:
            digests = []
            for file in slide.files:
                if self.stop.is_set():
                    return  # Ctrl-C must not wait until a large slide is hashed
                digests.append(content_digest(file))
            key = slide_key(request, self._model, slide, digests, self._further)
            record = finished_record(request.out, slide.name)
            if record is not None and still_holds(record, key, self._journal):
                yield partial(self._note, record, True)
                continue
            beside = slide_findings.of_unlisted(
                self._unlisted, {file.parent for file in slide.files}
            )
            ended = slide_findings.of_standing(self._standing.ended())
            if len(slide.files) == 1 and not request.crops and is_whole_slide(slide.files[0]):
                options = SlideOptions(findings=(*beside, *ended), sampled=True)
                yield from self._scan(slide, key, digests[0], options)
                continue
            kept, left_out = part_files(slide.files, leave_out)
            scale = SlideScale(slide.um_per_px or request.um_per_px, manifest.um_per_px)
            measure_ahead(scale, kept)
            known = (*slide_findings.of_left_out(left_out), *beside, *ended)
            options = SlideOptions(crops=request.crops, findings=known)
            with FilesSource(kept, slide.name, scale) as source:
                yield self._job(slide, key, source, options)

    def _scan(
        self, slide: SlideInput, key: str, digest: str, options: SlideOptions
    ) -> Iterator[SlideJob]:
        """Yield the job of a whole-slide scan, which stays open while it is read."""
        try:
            scan = open_scan(slide, digest, self._request, self._model)
        except InputError as error:
            with FailedSource(slide.name, error) as nothing:
                yield self._job(slide, key, nothing, options)
            return
        with scan.source:
            tell = partial(self._listener.on_tile, slide)
            job = self._job(slide, key, scan.source, options, scan)
            job.observer.on_progress = partial(scan.look, tell)
            yield job

    def abandon(self) -> None:
        """Remove what was written of slides without a verdict."""
        for recorder in self._begun.values():
            recorder.abandon()

    def _job(
        self,
        slide: SlideInput,
        key: str,
        source: FrameSource,
        options: SlideOptions,
        scan: Scan | None = None,
    ) -> SlideJob:
        def begin() -> None:
            self._begun[slide.name] = SlideRecorder(
                self._model,
                self._journal,
                self._request.out,
                slide.name,
                crops=self._request.crops,
                batch_size=self._request.batch_size,
                further=self._further,
            )

        def on_frame(examined: ExaminedFrame) -> None:
            self._begun[slide.name].add(examined)
            if scan is not None:
                scan.add(examined)
            self._listener.on_frame(slide, examined)

        def keep(outcome: SlideOutcome) -> None:
            said = {**listed_to_json(slide), "slide_key": key}
            recorder = self._begun[slide.name]
            if scan is not None:
                said["scan"] = scan.write(recorder)
            recorded = recorder.finish(outcome.verdict, outcome.errors, said=said)
            del self._begun[slide.name]
            self._note(recorded.record, False)

        return SlideJob(slide.name, source, options, Observer(on_frame), begin, keep)

    def _note(self, record: dict[str, Any], resumed: bool) -> None:
        self.records.append(record)
        self._listener.on_slide(record, resumed)


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
