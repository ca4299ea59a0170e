"""A verdict as a piece of HTML for notebooks: a frame with its cells, and the answer."""

from __future__ import annotations

import base64
from collections import Counter
from html import escape

import cv2
import numpy as np

from edgeapl.api.cells import Cells
from edgeapl.errors import InputError
from edgeapl.report.pictures import RESEARCH_USE_ONLY, jpeg_bytes, shrunk
from edgeapl.types import UInt8, Verdict
from edgeapl.wording.numbers import plural
from edgeapl.wording.questions import question_of
from edgeapl.wording.verdicts import (
    advice,
    by_weight,
    describe_tally,
    format_probability,
    headline,
    sentence,
)

PICTURE_PX = 800
"""Longer side of the frame that is shown."""

BACKGROUNDS = {"FLAG": "#b3261e", "CLEAR": "#1b6e3c", "REVIEW": "#8a5a00"}
OTHER = (96, 96, 96)


def verdict_html(answer: Verdict, cells: Cells) -> str:
    """Return a verdict as HTML without scripts; all text from outside is escaped."""
    decision = answer.decision.value
    reasons = by_weight(answer.reasons, lambda reason: reason.code)
    codes = {reason.code for reason in reasons}
    head = headline(decision, codes)
    limits = () if answer.limits is None else answer.limits.of_probability
    facts = []
    if answer.probability is not None:
        interval = None if answer.interval is None else answer.interval.ends
        shown = format_probability(answer.probability, interval, limits)
        facts.append(f"{sentence(question_of(codes).figure)} {shown}.")
    counts = {
        name: getattr(answer.tally, name)
        for name in ("seen", "scored", "not_examined", "failed", "not_needed")
    }
    facts.append(describe_tally(counts))
    facts.append(advice(decision, codes))
    why = "".join(f"<li>{escape(reason.text)}</li>" for reason in reasons)
    return (
        '<div style="max-width:820px;font-family:system-ui,sans-serif;overflow-wrap:anywhere">'
        f'<div style="background:{BACKGROUNDS[decision]};color:#fff;padding:6px 12px">'
        f"<b>{decision}</b> {escape(head)} <span>· slide {escape(answer.slide)}</span></div>"
        f"{_picture(cells)}<p>{escape(' '.join(facts))}</p><ul>{why}</ul>"
        f"<p><b>{RESEARCH_USE_ONLY}</b></p></div>"
    )


def _picture(cells: Cells) -> str:
    """Return the frame with the most suspicious cell, with boxes, or why there is none."""
    if not cells.sources:
        return ""
    frame = next(iter(cells.sources))
    if len(cells) and bool(np.isfinite(cells.suspicion).any()):
        frame = int(cells.frames[int(np.nanargmax(cells.suspicion))])
    try:
        drawn = _boxes_drawn(cells, frame)
    except InputError as error:
        return f"<p>No picture: {escape(str(error))}</p>"
    data = base64.b64encode(jpeg_bytes(drawn)).decode("ascii")
    rows = np.flatnonzero(cells.frames == frame)
    found = Counter(str(cells.classes[row]) or str(cells.status[row]) for row in rows)
    named = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in found.most_common())
    text = f"{cells.sources[frame]}: {plural(len(rows), 'cell')}" + (f" ({named})" if named else "")
    return (
        f'<img alt="{escape(text)}" style="max-width:100%" src="data:image/jpeg;base64,{data}">'
        f'<div style="font-size:small">{escape(text)}</div>'
    )


def _boxes_drawn(cells: Cells, frame: int) -> UInt8:
    pixels = cells.pixels.of(frame)
    picture = np.array(shrunk(pixels, PICTURE_PX))
    factor = max(picture.shape[:2]) / max(pixels.shape[:2])
    for row in np.flatnonzero(cells.frames == frame).tolist():
        x0, y0, x1, y1 = (round(edge * factor) for edge in cells.boxes[row].tolist())
        colour = cells.colours.get(str(cells.classes[row]), OTHER)
        cv2.rectangle(picture, (x0, y0), (x1, y1), (255, 255, 255), 4, cv2.LINE_AA)
        cv2.rectangle(picture, (x0, y0), (x1, y1), colour, 2, cv2.LINE_AA)
    return picture
