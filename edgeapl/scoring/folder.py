"""Score a folder: one committed verdict per slide, resumable, with a report for each."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from edgeapl import slide_findings
from edgeapl.errors import InputError
from edgeapl.journal import CertificateStatus, Journal
from edgeapl.model import Model
from edgeapl.pipeline import (
    Barrier,
    Observer,
    SlideJob,
    SlideOptions,
    SlideOutcome,
    examine_slides,
)
from edgeapl.pixel_size import SlideScale, measure_ahead
from edgeapl.protocols import FrameSource
from edgeapl.recorder import SlideRecorder
from edgeapl.report.folder_lock import WHOLE_FOLDER, locked_folder, locked_tables
from edgeapl.report.index import write_index
from edgeapl.report.user_columns import FurtherColumns
from edgeapl.report.writer import assemble, finished_record
from edgeapl.scoring.joint_tables import SLIDE_LIST, JointTables, joint_tables
from edgeapl.scoring.list_columns import further_columns, listed_to_json
from edgeapl.scoring.marker import refuse_others, write_marker
from edgeapl.scoring.request import ScoreListener, ScoreRequest, ScoreResult
from edgeapl.scoring.resume import content_digest, is_current, slide_key
from edgeapl.scoring.scan import FailedSource, Scan, open_scan, split_scans
from edgeapl.sources.discover import FoundSlides, SlideInput, find_slides, split_left_out
from edgeapl.sources.files import FilesSource
from edgeapl.types import ExaminedFrame
from edgeapl.whole_slide import is_whole_slide


def score_folder(
    request: ScoreRequest, model: Model, journal: Journal, listener: ScoreListener
) -> ScoreResult:
    """Score every slide that is not finished yet, and write the tables of all.

    A slide is finished if its images, the bundle, the networks and the settings are unchanged and
    its verdict is in the journal. Errors of single images are collected while the other images are
    scored. The tables also hold what other parts and other lists have finished in
    the result folder.

    Raises UsageError or InputError when there is nothing to score, and StorageError when results
    cannot be written, or another program works on the same slides in the result folder.
    """
    found = slides_of(request)
    slides = found.slides
    part, out = request.part, request.out
    refuse_others(out, request.folder)
    with locked_folder(out, WHOLE_FOLDER if part is None else part.lock_range):
        names = [slide.name for slide in slides]
        write_marker(out, str(request.folder.resolve()), names, listener.on_wait)
        mine = slides if part is None else tuple(one for one in slides if part.holds(one.name))
        listener.on_part(len(mine), len(slides))
        listener.on_slides(mine)
        listener.on_unlisted(found.unlisted)
        scoring = FolderScoring(request, model, journal, listener, found)
        try:
            examine_slides(
                model, scoring.jobs(mine), batch_size=request.batch_size, stop=scoring.stop
            )
        finally:
            scoring.abandon()
        records = scoring.records
        tables = write_tables(out, found, records, model.bundle.digest, listener)
    errors = [error for record in records for error in record["errors"]]
    code = max((int(error["exit_code"]) for error in errors), default=0)
    return ScoreResult(tuple(records), tuple(errors), code, tables)


def slides_of(request: ScoreRequest) -> FoundSlides:
    """Find the slides of a request; every scan is one. Raises what `find_slides` raises."""
    found = find_slides(
        request.folder,
        crops=request.crops,
        slide_list=request.slide_list,
        slide_from=request.slide_from,
    )
    slides = found.slides
    if request.slide_list is None and request.slide_from is None and not request.crops:
        slides = split_scans(slides)
    return replace(found, slides=slides)


def write_tables(
    out: Path,
    found: FoundSlides,
    records: Sequence[dict[str, Any]],
    bundle: str,
    listener: ScoreListener,
) -> JointTables:
    """Write tables and index of all slides that are finished, here or by others, in turn."""
    with locked_tables(out, listener.on_wait):
        tables = joint_tables(out, found.slides, records, bundle, _list_of(found))
        assemble(out, [str(record["slide"]) for record in tables.records])
        write_index(out, tables.records)
    listener.on_tables(tables)
    return tables


def _list_of(found: FoundSlides) -> str:
    return "" if found.slide_list is None else str(found.slide_list.resolve())


class FolderScoring:
    """Turns slides into jobs, and stores their results."""

    def __init__(
        self,
        request: ScoreRequest,
        model: Model,
        journal: Journal,
        listener: ScoreListener,
        found: FoundSlides,
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self.stop = threading.Event()
        self._request = request
        self._model = model
        self._journal = journal
        self._listener = listener
        self._unlisted = found.unlisted
        listed = _list_of(found)
        self._list = {SLIDE_LIST: listed} if listed else {}
        # Of all slides: parts have the same columns.
        self._further: FurtherColumns = further_columns(found.slides)
        self._standing = CertificateStatus(journal.path, model.clearing.certificate)
        self._begun: dict[str, SlideRecorder] = {}

    def jobs(self, slides: Sequence[SlideInput]) -> Iterator[SlideJob | Barrier]:
        """Yield the job of each slide; runs in the reading thread."""
        request, manifest = self._request, self._model.bundle.manifest
        leave_out = manifest.crop.leave_out if request.crops else ()
        for slide in slides:
            digests = []
            for file in slide.files:
                if self.stop.is_set():
                    return  # Ctrl-C must not wait until a large slide is hashed
                digests.append(content_digest(file))
            key = slide_key(request, self._model, slide, digests, self._further)
            record = finished_record(request.out, slide.name)
            if record is not None and is_current(record, key, self._journal):
                yield partial(self._note, record, True)
                continue
            beside = slide_findings.of_unlisted(
                self._unlisted, {file.parent for file in slide.files}
            )
            ended = slide_findings.of_certificate_status(self._standing.ended())
            if len(slide.files) == 1 and not request.crops and is_whole_slide(slide.files[0]):
                options = SlideOptions(findings=(*beside, *ended), sampled=True)
                yield from self._scan(slide, key, digests[0], options)
                continue
            kept, left_out = split_left_out(slide.files, leave_out)
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
                slide_key=key,
            )

        def on_frame(examined: ExaminedFrame) -> None:
            self._begun[slide.name].add(examined)
            if scan is not None:
                scan.add(examined)
            self._listener.on_frame(slide, examined)

        def keep(outcome: SlideOutcome) -> None:
            said = {**listed_to_json(slide), **self._list, "slide_key": key}
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
