"""Pages over all slides of a result folder: flags first, each with a link to its report."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from edgeapl.report.pictures import RESEARCH_USE_ONLY, thumbnail_bytes
from edgeapl.report.reading_order import ReadingOrder
from edgeapl.report.results import INDEX, REPORT, THUMBNAIL, newest_by_name, newest_of
from edgeapl.report.storage import replacing, storing
from edgeapl.types import UInt8
from edgeapl.wording.printable import printable
from edgeapl.wording.questions import question_of
from edgeapl.wording.verdicts import (
    count_by_verdict,
    describe_tally,
    format_probability,
    headline,
    limits_of,
    reasons_row,
)

SLIDES_A_PAGE = 500
"""A page has about 10 KiB for each; browsers open 5 MiB at once and print it."""

FURTHER = "index"
"""Folder of the pages after the first; present only where there are such."""


@dataclass(frozen=True, slots=True)
class _Pages:
    """How slides are shared among pages. order : of all slides. size : most slides of one page."""

    order: ReadingOrder
    size: int

    def __len__(self) -> int:
        return max(1, -(-len(self.order.places) // self.size))

    def places(self, number: int) -> tuple[int, ...]:
        """Return which records page `number`, counted from 1, shows."""
        return self.order.places[(number - 1) * self.size : number * self.size]

    def link(self, number: int, to: int) -> str:
        """Return the address of page `to` as page `number` names it."""
        if to == 1:
            return INDEX if number == 1 else f"../{INDEX}"
        return f"{FURTHER}/{to}.html" if number == 1 else f"{to}.html"

    def beginnings(self, number: int) -> list[dict[str, object]]:
        """Return for each verdict where its slides begin, as page `number` names it."""
        found: list[dict[str, object]] = []
        for verdict in self.order.verdicts:
            page = 1 + self.order.first_of(verdict) // self.size
            count = self.order.counts[verdict]
            link = f"{self.link(number, page)}#{verdict}"
            found.append({"verdict": verdict, "count": count, "link": link})
        return found


def write_index(
    folder: Path, records: Sequence[Mapping[str, Any]], slides_a_page: int = SLIDES_A_PAGE
) -> Path:
    """Write ``index.html`` for the slides of a folder, without scripts; return its path.

    Parameters
    ----------
    records : of all slides, as in `verdicts.jsonl`; each is read twice and none is kept.
    slides_a_page : where there are more, the others are on pages in the folder ``index``.

    Raises StorageError when it cannot be written.
    """
    pages = _Pages(ReadingOrder.of(records), slides_a_page)
    template, newest = _template(), newest_by_name(folder)
    if len(pages) > 1:
        with storing(folder / FURTHER):
            (folder / FURTHER).mkdir(exist_ok=True)
    # The first page comes last: whoever sees its links finds the pages.
    for number in range(len(pages), 0, -1):
        path = folder / pages.link(1, number)
        parts = template.generate(
            **_head(pages, number), slides=_rows(folder, records, pages, number, newest)
        )
        with replacing(path) as out:
            for part in parts:
                out.write(part.encode("utf-8", "backslashreplace"))
    _remove_stale(folder / FURTHER, len(pages))
    return folder / INDEX


def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters.update(line=printable)
    source = files("edgeapl.report") / "templates" / "index.html.j2"
    return environment.from_string(source.read_text("utf-8"))


def _head(pages: _Pages, number: int) -> dict[str, object]:
    css = (files("edgeapl.report") / "templates" / "slide.css").read_text("utf-8")
    last = len(pages)
    links = {"first": 1, "previous": number - 1, "next": number + 1, "last": last}
    there = {name: to for name, to in links.items() if 1 <= to <= last and to != number}
    return {
        "css": Markup(css),  # noqa: S704 - our own file
        "research": RESEARCH_USE_ONLY,
        "tally": count_by_verdict(pages.order.counts),
        "verdicts": pages.order.verdicts,
        "counts": pages.order.counts,
        "page": number,
        "of": last,
        "links": {name: pages.link(number, to) for name, to in there.items()},
        "beginnings": pages.beginnings(number),
    }


def _rows(
    folder: Path,
    records: Sequence[Mapping[str, Any]],
    pages: _Pages,
    number: int,
    newest: Mapping[str, str],
) -> Iterator[dict[str, str]]:
    up, seen = "" if number == 1 else "../", set[str]()
    for place in pages.places(number):
        record = records[place]
        slide, verdict = str(record["slide"]), str(record["verdict"])
        home = newest_of(folder, slide, newest)
        probability = record["probability"]
        codes = [str(one["code"]) for one in record["reasons"]]
        yield {
            "slide": pages.order.shown[slide],
            "verdict": verdict,
            "anchor": verdict if len(pages) > 1 and verdict not in seen else "",
            "link": f"{up}slides/{quote(home.name)}/{REPORT}",
            "picture": _thumbnail(home),
            "figure": question_of(codes).figure,
            "headline": headline(verdict, codes),
            "probability": ""
            if probability is None
            else format_probability(probability, record["interval"], limits_of(record)),
            "tally": describe_tally(record["tally"]),
            "reasons": reasons_row(record),
        }
        seen.add(verdict)


def _thumbnail(home: Path) -> str:
    """Return a slide's first overlay, small, as a data URI; empty without a readable one."""
    try:
        picture = (home / THUMBNAIL).read_bytes()
    except OSError:
        picture = _drawn_thumbnail(home)
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode('ascii')}" if picture else ""


def _drawn_thumbnail(home: Path) -> bytes:
    """Return the picture of a slide of an older version, which has none of its own."""
    first = min((home / "overlays").glob("*.png"), default=None)
    if first is None:
        return b""
    pixels = cv2.imdecode(np.fromfile(first, dtype=np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        return b""
    picture: UInt8 = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    return thumbnail_bytes(picture)


def _remove_stale(folder: Path, pages: int) -> None:
    """Remove pages of an earlier run that had more slides."""
    with storing(folder):
        if not folder.is_dir():
            return
        for path in folder.glob("*.html"):
            if re.fullmatch(r"[0-9]+", path.stem) and (pages == 1 or int(path.stem) > pages):
                path.unlink()
        if pages == 1 and not any(folder.iterdir()):
            folder.rmdir()
