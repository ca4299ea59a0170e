"""Score the same slides with two bundles, slide by slide in turns, and say what differs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeapl import __version__
from edgeapl.bench.document import ratio_document
from edgeapl.bench.statistics import paired_ratio
from edgeapl.comparison.agreement import (
    cell_concordance,
    changed_verdicts,
    verdict_concordance,
)
from edgeapl.evaluation.labels import SlideLabel
from edgeapl.evaluation.paired import compare_models
from edgeapl.evaluation.results import read_slides
from edgeapl.journal import Journal
from edgeapl.journal.attachments import certificate_to_json
from edgeapl.model import Model
from edgeapl.pipeline import examine_slides
from edgeapl.report.folder_lock import locked_folder
from edgeapl.scoring import ScoreListener, ScoreRequest
from edgeapl.scoring.folder import slides_of, write_tables
from edgeapl.scoring.marker import refuse_others, write_marker
from edgeapl.scoring.slides import FolderScoring, ScoringContext
from edgeapl.types import UNSIGNED

SCHEMA = 1
SIDES = ("old", "new")
JOURNAL = "journal.sqlite3"

Now = Callable[[], float]


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """What to compare on.

    slides : folder of images, as for `edgeapl score`. out : gets a result folder and a journal for
    either bundle: no verdict of a comparison gets into a station's journal.
    labels : of slides, and what must be found; None where the diagnoses are not known.
    """

    slides: Path
    out: Path
    crops: bool = False
    um_per_px: float | None = None
    labels: dict[str, SlideLabel] | None = None
    positive: str = "APL"


@dataclass(slots=True, eq=False)
class _Side:
    """One of the two. taken : slide to the seconds that it took. kept : finished before."""

    model: Model
    request: ScoreRequest
    taken: dict[str, float]
    kept: set[str]

    def finished(self, record: dict[str, Any], resumed: bool) -> None:
        """Note a slide that an earlier run has finished."""
        if resumed:
            self.kept.add(str(record["slide"]))


def compare_bundles(
    old: Model,
    new: Model,
    request: ComparisonRequest,
    on_slide: Callable[[str, int, int], None] = lambda slide, done, of: None,
    now: Now = time.perf_counter,
) -> dict[str, Any]:
    """Return what differs as plain JSON values.

    Slides take turns, old new new old, so that whatever else the machine does meets both. Run it
    again to go on: slides that are finished are kept, and only others are timed.

    Raises what `score_folder` raises.
    """
    first = ScoreRequest(
        request.slides, request.out / SIDES[0], crops=request.crops, um_per_px=request.um_per_px
    )
    found = slides_of(first)
    names = [slide.name for slide in found.slides]
    with ExitStack() as opened:
        sides: list[tuple[_Side, FolderScoring]] = []
        for name, model in zip(SIDES, (old, new), strict=True):
            wanted = replace(first, out=request.out / name)
            refuse_others(wanted.out, wanted.folder)
            opened.enter_context(locked_folder(wanted.out))
            write_marker(wanted.out, str(wanted.folder.resolve()), names)
            journal = opened.enter_context(Journal.open(wanted.out / JOURNAL))
            side = _Side(model, wanted, {}, set())
            listener = ScoreListener(on_slide=side.finished)
            scoring = FolderScoring(wanted, model, journal, listener, ScoringContext.of(found))
            opened.callback(scoring.abandon)
            sides.append((side, scoring))
        for number, slide in enumerate(found.slides):
            on_slide(slide.name, number, len(names))
            for side, scoring in sides if number % 2 == 0 else sides[::-1]:
                scoring.stop = threading.Event()  # the end of a run sets it
                start = now()
                examine_slides(side.model, scoring.jobs([slide]), stop=scoring.stop)
                if slide.name not in side.kept:
                    side.taken[slide.name] = now() - start
        for side, scoring in sides:
            digest = side.model.bundle.digest
            write_tables(side.request.out, found, scoring.records, digest, ScoreListener())
    return _document(request, [side for side, _ in sides])


def _document(request: ComparisonRequest, sides: Sequence[_Side]) -> dict[str, Any]:
    old, new = sides
    before, after = read_slides(old.request.out), read_slides(new.request.out)
    timed = [name for name in old.taken if name in new.taken]
    changed = changed_verdicts(before, after)
    ratio = None
    if timed:
        above = [old.taken[name] for name in timed]
        ratio = ratio_document(paired_ratio(above, [new.taken[name] for name in timed]))
    labelled = None
    if request.labels is not None:
        labelled = compare_models(after, before, request.labels, request.positive)
    return {
        "schema": SCHEMA,
        "software": f"edgeapl {__version__}",
        "research_use_only": True,
        "out": str(request.out),
        "old": _side_document(old),
        "new": _side_document(new),
        "slides": len(before),
        "changed": changed,
        "lost_flags": [str(one["slide"]) for one in changed if one["from"] == "FLAG"],
        "newly_clear": [str(one["slide"]) for one in changed if one["to"] == "CLEAR"],
        "verdicts": verdict_concordance(before, after),
        "cells": cell_concordance(old.request.out, new.request.out),
        "speed": {
            "ratio": ratio,
            "meaning": "seconds of the old bundle over those of the new one for the same slide; "
            "above 1, the new one is faster",
        },
        "certificate": certificate_text(old.model, new.model),
        "labelled": labelled,
    }


def _side_document(side: _Side) -> dict[str, Any]:
    bundle, clearing = side.model.bundle, side.model.clearing
    return {
        "bundle": bundle.manifest.name,
        "version": bundle.manifest.version,
        "digest": bundle.digest,
        "signed_by": UNSIGNED if bundle.signer is None else bundle.signer.text,
        "runtime": side.model.runtime,
        "certificate": certificate_to_json(clearing.certificate),
        "clears_nothing": clearing.without,
        "results": str(side.request.out),
    }


def certificate_text(old: Model, new: Model) -> str:
    """Say what becomes of the proof that slides may be cleared."""
    had, has = (
        one.clearing.certificate is not None and not one.clearing.without for one in (old, new)
    )
    if not has:
        before = "the old one did" if had else "neither did the old one"
        return f"the new bundle clears no slide ({before}): edgeapl calibrate NEW --labels"
    before = "so did the old one" if had else "the old one could not"
    return f"the new bundle may clear slides by its own certificate ({before})"
