"""One page for all slides of a result folder: flags first, each with a link to its report."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from edgeapl.report.pictures import RESEARCH_USE_ONLY, jpeg_bytes, shrunk
from edgeapl.report.results import INDEX, REPORT, newest_by_name, newest_of
from edgeapl.report.storage import replacing
from edgeapl.types import UInt8
from edgeapl.wording.names import disambiguated
from edgeapl.wording.printable import printable
from edgeapl.wording.questions import question_of
from edgeapl.wording.verdicts import (
    URGENCY,
    by_urgency,
    count_by_verdict,
    describe_tally,
    format_probability,
    headline,
    limits_of,
    reasons_row,
)

THUMBNAIL_PX = 320


def write_index(folder: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``index.html`` for the slides of a folder, without scripts; return its path.

    Parameters
    ----------
    records : of all slides, as in `verdicts.jsonl`.

    Raises StorageError when it cannot be written.
    """
    templates = files("edgeapl.report") / "templates"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters.update(line=printable)
    counts = Counter(str(record["verdict"]) for record in records)
    html = environment.from_string((templates / "index.html.j2").read_text("utf-8")).render(
        css=Markup((templates / "slide.css").read_text("utf-8")),  # noqa: S704 - our own file
        research=RESEARCH_USE_ONLY,
        tally=count_by_verdict(records),
        verdicts=[verdict for verdict in URGENCY if counts[verdict]],
        counts=counts,
        slides=list(_rows(folder, records)),
    )
    path = folder / INDEX
    with replacing(path) as out:
        out.write(html.encode("utf-8", "backslashreplace"))
    return path


def _rows(folder: Path, records: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    shown = disambiguated(str(record["slide"]) for record in records)
    newest = newest_by_name(folder)
    for record in by_urgency(records):
        slide, verdict = str(record["slide"]), str(record["verdict"])
        home = newest_of(folder, slide, newest)
        probability = record["probability"]
        yield {
            "slide": shown[slide],
            "verdict": verdict,
            "link": f"slides/{quote(home.name)}/{REPORT}",
            "picture": _thumbnail(home),
            "figure": question_of([str(one["code"]) for one in record["reasons"]]).figure,
            "headline": headline(verdict, [str(one["code"]) for one in record["reasons"]]),
            "probability": ""
            if probability is None
            else format_probability(probability, record["interval"], limits_of(record)),
            "tally": describe_tally(record["tally"]),
            "reasons": reasons_row(record),
        }


def _thumbnail(home: Path) -> str:
    """Return a slide's first overlay, small, as a data URI; empty without a readable one."""
    first = min((home / "overlays").glob("*.png"), default=None)
    if first is None:
        return ""
    pixels = cv2.imdecode(np.fromfile(first, dtype=np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        return ""
    picture: UInt8 = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    data = base64.b64encode(jpeg_bytes(shrunk(picture, THUMBNAIL_PX), 75)).decode("ascii")
    return f"data:image/jpeg;base64,{data}"
