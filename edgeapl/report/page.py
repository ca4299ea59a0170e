"""The report of one slide as a single HTML file, without scripts or external files."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.resources import files
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from edgeapl.report.cell_classes import in_words, role_kinds
from edgeapl.report.context import ReportContext
from edgeapl.report.explanation import Explanation
from edgeapl.report.gallery import MOST_OF_KIND, CellPicture, FramePicture, Gallery
from edgeapl.report.page_style import page_style
from edgeapl.report.pictures import CELL_WINDOW_UM, RESEARCH_USE_ONLY
from edgeapl.report.sign_off import people_section
from edgeapl.report.verdict_text import answer_of
from edgeapl.stages.intervals import wilson
from edgeapl.types import CellStatus
from edgeapl.wording.certificate import certificate_of_record
from edgeapl.wording.local_time import local_time
from edgeapl.wording.numbers import NO_BREAK, exact_percent, percent, plural
from edgeapl.wording.printable import printable
from edgeapl.wording.verdicts import describe_field, describe_tally

MOST_PICTURE_BYTES = 7_000_000
"""All pictures of a page; base64 adds a third, so a page stays below 10 MB."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A share or probability and its interval, in percent of a bar."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Share:
    """The share of cells that suggest APL, with its interval."""

    share: float
    interval: tuple[float, float]
    bar: Bar


@dataclass(frozen=True, slots=True)
class PagePictures:
    """The pictures that fit on a page, and the evidence that has none."""

    evidence: tuple[CellPicture, ...]
    evidence_missing: tuple[int, ...]
    cells: tuple[CellPicture, ...]
    frames: tuple[FramePicture, ...]

    @property
    def frame_numbers(self) -> frozenset[int]:
        """Numbers of the frames on the page, which cells link to."""
        return frozenset(frame.number for frame in self.frames)


def render_page(
    record: Mapping[str, Any],
    journal_record: str,
    context: ReportContext,
    gallery: Gallery,
    written: datetime,
    explanation: Explanation | None = None,
) -> str:
    """Return the page. Text from outside is escaped; loading files and scripts is forbidden.

    Parameters
    ----------
    record : the verdict as plain JSON values.
    journal_record : hash of its row in the journal.
    written : time of writing, with a time zone.
    explanation : pictures that explain the verdict.
    """
    pictures = choose_pictures(record, gallery, _picture_bytes(explanation))
    groups = group_names(pictures.cells)
    style = page_style(str(record["slide"]), len(groups))
    answer = answer_of(record, context, pictured=bool(pictures.evidence))
    return _template().render(
        record=record,
        context=context,
        gallery=gallery,
        shown=pictures,
        explanation=explanation,
        groups=groups,
        kinds=role_kinds(context),
        journal_record=journal_record,
        written=local_time(written.isoformat()),
        style=Markup(style),  # noqa: S704 - our own file
        style_digest=base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode(),
        people=Markup(people_section(None)),  # noqa: S704 - escaped where it is made
        answer=answer,
        tally=describe_tally(record["tally"]),
        field=describe_field(record.get("examined_share")),  # older records have none
        probability=_bar(record["probability"], record["interval"]),
        counts=[(count, _bar(count["share"], count["interval"])) for count in answer.counts],
        suspicious_share=_suspicious_share(context, gallery),
        confidence=exact_percent(context.confidence, NO_BREAK),
        window_um=f"{CELL_WINDOW_UM:g}",
        research_use_only=RESEARCH_USE_ONLY,
        may_clear=certificate_of_record(record),
        most_of_kind=MOST_OF_KIND,
        unaccounted=_unaccounted(record["tally"], gallery),
    )


@functools.cache
def _template() -> Template:
    """Compile the page once a process: that takes as long as a few cells in the networks."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        line=printable,
        percent=partial(percent, gap=NO_BREAK),
        exact=partial(exact_percent, gap=NO_BREAK),
        score=lambda value: f"{value:.2f}",
        words=in_words,
        plural=plural,
        picture=_data_uri,
        file_name=lambda source: printable(PurePath(source).name or str(source)),
        overlay=lambda name: "overlays/" + quote(name),
    )
    source = files("edgeapl.report") / "templates" / "slide.html.j2"
    return environment.from_string(source.read_text(encoding="utf-8"))


def choose_pictures(
    record: Mapping[str, Any], gallery: Gallery, taken_bytes: int = 0
) -> PagePictures:
    """Choose pictures that fit on the page: evidence, other cells by suspicion, then frames.

    taken_bytes : size of pictures that are on the page in any case.

    Only suspicious cells are evidence of a flag that single cells raised.
    """
    best = gallery.best_cells()
    raised = record["verdict"] == "FLAG" and gallery.suspicious and gallery.context.by_cells
    by_number = {cell.cell: cell for cell in best}
    wanted = [int(cell) for cell in record["evidence"]]
    evidence = tuple(
        by_number[cell]
        for cell in wanted
        if cell in by_number and (by_number[cell].kind.suspicious or not raised)
    )
    taken = {cell.cell for cell in evidence}
    others = tuple(cell for cell in best if cell.cell not in taken)
    room = (
        MOST_PICTURE_BYTES
        - taken_bytes
        - sum(len(cell.jpeg) for cell in (*best, *gallery.unscored))
        - sum(len(cell.jpeg) for kept in gallery.of_kind.values() for cell in kept)
    )
    room -= sum(len(frame.jpeg) for frame in gallery.rejected if frame.jpeg is not None)
    frames = []
    for frame in gallery.best_frames():
        room -= len(frame.jpeg)
        if room < 0:
            break
        frames.append(frame)
    missing = tuple(cell for cell in wanted if cell not in by_number)
    return PagePictures(evidence, missing, others, tuple(frames))


def group_names(cells: Sequence[CellPicture]) -> list[str]:
    """Return the classes of cells in the order of their groups: suspicious ones first."""
    kinds = dict.fromkeys(cell.kind for cell in cells)
    return [kind.name for kind in sorted(kinds, key=lambda kind: not kind.suspicious)]


def _bar(value: float | None, interval: Sequence[float] | None) -> Bar | None:
    if value is None:
        return None
    low, high = (None, None) if interval is None else (100 * interval[0], 100 * interval[1])
    return Bar(100 * value, low, high)


def _suspicious_share(context: ReportContext, gallery: Gallery) -> Share | None:
    """Return the share of cells that suggest APL; None for models that do not count them."""
    if not context.by_cells or not context.suspicious_roles or not gallery.scored:
        return None
    share = gallery.suspicious / gallery.scored
    around = wilson(gallery.suspicious, gallery.scored, context.confidence)
    interval = (around.low, around.high)
    return Share(share, interval, Bar(100 * share, *(100 * end for end in interval)))


def _unaccounted(tally: Mapping[str, int], gallery: Gallery) -> dict[str, tuple[int, int]]:
    """Return where verdict and tables differ: status to (cells in verdict, cells in tables)."""
    return {
        in_words(status.value): (int(tally.get(status.value, 0)), gallery.cells[status])
        for status in CellStatus
        if tally.get(status.value, 0) != gallery.cells[status]
    }


def _picture_bytes(explanation: Explanation | None) -> int:
    return 0 if explanation is None else sum(len(picture.jpeg) for picture in explanation.pictures)


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
