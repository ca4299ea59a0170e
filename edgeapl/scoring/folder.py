"""Score a folder: one committed verdict per slide, resumable, with a report for each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgeapl.journal import Journal
from edgeapl.model import Model
from edgeapl.pipeline import (
    examine_slides,
)
from edgeapl.report.folder_lock import WHOLE_FOLDER, locked_folder, locked_tables
from edgeapl.report.index import write_index
from edgeapl.report.stored_records import StoredRecords
from edgeapl.report.writer import assemble
from edgeapl.scoring.joint_tables import JointTables, joint_tables
from edgeapl.scoring.marker import refuse_others, write_marker
from edgeapl.scoring.request import ScoreListener, ScoreRequest, ScoreResult
from edgeapl.scoring.scan import split_scans
from edgeapl.scoring.slides import FolderScoring, ScoringContext, list_of
from edgeapl.sources.discover import FoundSlides, find_slides


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
        scoring = FolderScoring(request, model, journal, listener, ScoringContext.of(found))
        try:
            examine_slides(
                model, scoring.jobs(mine), batch_size=request.batch_size, stop=scoring.stop
            )
        finally:
            scoring.abandon()
        records = scoring.records
        tables = write_tables(out, found, records, model.bundle.digest, listener)
    code = max((int(error["exit_code"]) for error in scoring.errors), default=0)
    return ScoreResult(records, tuple(scoring.errors), code, tables)


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
    records: StoredRecords,
    bundle: str,
    listener: ScoreListener,
) -> JointTables:
    """Write tables and index of all slides that are finished, here or by others, in turn."""
    with locked_tables(out, listener.on_wait):
        tables = joint_tables(out, found.slides, records, bundle, list_of(found))
        assemble(out, tables.records.slides)
        write_index(out, tables.records)
    listener.on_tables(tables)
    return tables
