"""Turn slides into jobs of the pipeline, and store what comes of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
)
from edgeapl.pixel_size import SlideScale, measure_ahead
from edgeapl.protocols import FrameSource
from edgeapl.recorder import SlideRecorder
from edgeapl.report.results import finished_record, newest_by_name
from edgeapl.report.stored_records import StoredRecords
from edgeapl.report.user_columns import FurtherColumns
from edgeapl.scoring.examined_tiles import ExaminedTiles, remove_tiles
from edgeapl.scoring.joint_tables import SLIDE_LIST
from edgeapl.scoring.list_columns import further_columns, listed_to_json
from edgeapl.scoring.request import ScoreListener, ScoreRequest
from edgeapl.scoring.resume import content_digest, is_current, slide_key
from edgeapl.scoring.scan import FIRST_LOOK, FailedSource, Scan, open_scan, scan_of
from edgeapl.sources.discover import FoundSlides, SlideInput, split_left_out
from edgeapl.sources.files import FilesSource
from edgeapl.types import ExaminedFrame


@dataclass(frozen=True, slots=True)
class ScoringContext:
    """What the results of one slide take from all slides of the folder.

    further : columns of the user's list, the same in the tables of every slide.
    unlisted : images of the folder that the list leaves out.
    slide_list : path of the list; empty without one.
    """

    further: FurtherColumns
    unlisted: tuple[Path, ...] = ()
    slide_list: str = ""

    @classmethod
    def of(cls, found: FoundSlides) -> ScoringContext:
        """Return the context of all slides of a folder."""
        return cls(further_columns(found.slides), tuple(found.unlisted), list_of(found))

    def of_slide(self, slide: SlideInput) -> ScoringContext:
        """Return what one slide needs of it, which is small."""
        known = self.further.values
        values = {str(file): known[str(file)] for file in slide.files if str(file) in known}
        folders = {file.parent for file in slide.files}
        unlisted = tuple(file for file in self.unlisted if file.parent in folders)
        return replace(self, further=replace(self.further, values=values), unlisted=unlisted)


def list_of(found: FoundSlides) -> str:
    """Return the path of the slide list; empty without one."""
    return "" if found.slide_list is None else str(found.slide_list.resolve())


def where_it_is(file: Path) -> Path:
    """Return the file itself: images lie where their names say."""
    return file


class FolderScoring:
    """Turns slides into jobs, and stores their results.

    Parameters
    ----------
    request, model, journal, listener : of `score_folder`.
    context : of all slides of the folder.
    stored : where the content of a file lies, if not where its name says.
    ended : says why the certificate has ended; None to ask the journal.

    errors : of the slides that are finished, as they came.
    """

    def __init__(
        self,
        request: ScoreRequest,
        model: Model,
        journal: Journal,
        listener: ScoreListener,
        context: ScoringContext,
        stored: Callable[[Path], Path] = where_it_is,
        ended: Callable[[], str] | None = None,
    ) -> None:
        self.errors: list[dict[str, Any]] = []
        self.stop = threading.Event()
        self._request = request
        self._model = model
        self._journal = journal
        self._listener = listener
        self._unlisted = context.unlisted
        self._list = {SLIDE_LIST: context.slide_list} if context.slide_list else {}
        self._further = context.further
        self._stored = stored
        self._ended = ended or CertificateStatus(journal.path, model.clearing.certificate).ended
        self._begun: dict[str, SlideRecorder] = {}
        self._newest = newest_by_name(request.out)
        self._finished: list[str] = []

    @property
    def records(self) -> StoredRecords:
        """Records of the slides that are finished, in the order in which they came."""
        return StoredRecords(self._request.out, self._finished)

    def jobs(self, slides: Sequence[SlideInput]) -> Iterator[SlideJob | Barrier]:
        """Yield the job of each slide; runs in the reading thread."""
        request, manifest = self._request, self._model.bundle.manifest
        leave_out = manifest.crop.leave_out if request.crops else ()
        for slide in slides:
            digests = []
            for file in slide.files:
                if self.stop.is_set():
                    return  # Ctrl-C must not wait until a large slide is hashed
                digests.append(content_digest(self._stored(file)))
            key = slide_key(request, self._model, slide, digests, self._further)
            record = finished_record(request.out, slide.name, self._newest)
            if record is not None and is_current(record, key, self._journal):
                remove_tiles(request.out, slide.name)  # of a run that ended just before it could
                yield partial(self._note, record, True)
                continue
            beside = slide_findings.of_unlisted(
                self._unlisted, {file.parent for file in slide.files}
            )
            ended = slide_findings.of_certificate_status(self._ended())
            if not request.crops and scan_of(slide.files) is not None:
                known = (*beside, *ended)
                options = SlideOptions(findings=known, sampled=True, first_look=FIRST_LOOK)
                yield from self._scan(slide, key, digests[0], options)
                continue
            kept, left_out = split_left_out(slide.files, leave_out)
            scale = SlideScale(slide.um_per_px or request.um_per_px, manifest.um_per_px)
            measure_ahead(scale, [self._stored(file) for file in kept])
            known = (*slide_findings.of_left_out(left_out), *beside, *ended)
            options = SlideOptions(crops=request.crops, findings=known)
            with FilesSource(kept, slide.name, scale, self._stored) as source:
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
            refused = partial(self._listener.on_refused, slide)
            tiles = ExaminedTiles(self._request.out, slide.name, key, refused)
            if tiles.count:
                self._listener.on_kept(slide, tiles.count)
            options = replace(options, store=tiles)
            yield self._job(slide, key, scan.source, options, scan)

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
                newest=self._newest,
            )

        def on_frame(examined: ExaminedFrame) -> None:
            self._begun[slide.name].add(examined)
            if scan is not None:
                scan.add(examined)
                self._listener.on_tile(slide, len(scan.fates), len(scan.source.tiles))
            self._listener.on_frame(slide, examined)

        def keep(outcome: SlideOutcome) -> None:
            said = {**listed_to_json(slide), **self._list, "slide_key": key}
            recorder = self._begun[slide.name]
            if scan is not None:
                said["scan"] = scan.write(recorder, decided=outcome.decided)
            recorded = recorder.finish(outcome.verdict, outcome.errors, said=said)
            del self._begun[slide.name]
            if scan is not None:
                remove_tiles(self._request.out, slide.name)
            self._note(recorded.record, False)

        return SlideJob(slide.name, source, options, Observer(on_frame), begin, keep)

    def _note(self, record: dict[str, Any], resumed: bool) -> None:
        self._finished.append(str(record["slide"]))
        self.errors += record["errors"]
        self._listener.on_slide(record, resumed)
