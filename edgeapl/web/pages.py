"""Renders the page as HTML: once whole, then fragment by fragment as things change."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from edgeapl import __version__
from edgeapl.errors import UsageError
from edgeapl.report.cell_classes import in_words
from edgeapl.report.pictures import RESEARCH_USE_ONLY
from edgeapl.station.access import WAITING, CameraState, CellView, SlideView
from edgeapl.types import CellStatus, Interval
from edgeapl.web.events import Observation
from edgeapl.web.verdict_text import answer_of, history_probability
from edgeapl.wording.local_time import local_time
from edgeapl.wording.numbers import NO_BREAK, percent, plural
from edgeapl.wording.printable import printable
from edgeapl.wording.verdicts import describe_field, describe_tally

CAMERA_WORDS = {
    CameraState.OPENING: "The camera is being opened.",
    CameraState.LIVE: "",
    CameraState.LOST: "The camera gives no picture. It is being started again.",
    CameraState.FROZEN: "The camera gives the same picture over and over.",
    CameraState.ENDED: "The source has ended: there are no more frames.",
    CameraState.FAILED: "The camera has failed and is not started again.",
}
BAD_STATES = (CameraState.LOST, CameraState.FROZEN, CameraState.FAILED)
MOST_FLAGS = 3
"""Flags shown at once; each that is acknowledged makes room for the next."""
MOST_KEYS = 9
"""Labels with a keyboard shortcut: 1 to 9."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong, shown above everything else.

    silent : the station does not answer, so everything on the page is outdated.
    """

    lines: tuple[str, ...]
    silent: bool = False


class PageRenderer:
    """Renders HTML. Every text from outside becomes one plain line and is escaped."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("edgeapl.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_plain,
        )
        self._environment.filters.update(
            words=in_words,
            percent=partial(percent, gap=NO_BREAK),
            probability=history_probability,
            handle=to_handle,
            plural=plural,
            local=local_time,
        )
        self._environment.globals.update(
            research_use_only=RESEARCH_USE_ONLY,
            waiting=WAITING,
            version=__version__,
        )

    def page(self, fragments: Mapping[str, str]) -> str:
        """Return the whole page with these fragments."""
        # Our own output, escaped when it was made.
        known = {name: Markup(html) for name, html in fragments.items()}  # noqa: S704
        return self._render("page.html.j2", known=known)

    def fragments(self, seen: Observation) -> dict[str, str]:
        """Return every part of the page that changes, by the name of its event."""
        view = seen.view
        slide, camera = view.slide, view.camera
        answer = None if slide is None else answer_of(slide)
        labels = [(label, str(n) if n <= MOST_KEYS else "") for n, label in _numbered(view.labels)]
        return {
            "flags": self._render("flags.html.j2", alarms=view.alarms, most=MOST_FLAGS),
            "trouble": self.trouble(_trouble(seen)),
            "camera": self._render("camera.html.j2", camera=camera, focus=_focus(camera.focus)),
            "cover": self._render("cover.html.j2", text=_cover(seen)),
            "slide": self._render("slide.html.j2", slide=slide),
            "verdict": self._render(
                "verdict.html.j2",
                slide=slide,
                answer=answer,
                tally=_tally(slide),
                bar=_bar,
                budget=_budget(slide),
            ),
            "spoken": self._render("spoken.html.j2", slide=slide, answer=answer),
            "examined": self._render("examined.html.j2", slide=slide),
            "labels": self._render("labels.html.j2", labels=labels),
            "gallery": self._render(
                "gallery.html.j2",
                slide=slide,
                cells=[_gallery_cell(cell, seen) for cell in seen.cells] if slide else [],
            ),
            "history": self._render(
                "history.html.j2", history=seen.history, demonstrations=seen.demonstrations
            ),
            "model": self._render("model.html.j2", view=view),
        }

    def silence(self, seconds: float) -> str:
        """Return the fragment "trouble" for a station that does not answer."""
        # In steps, so that a screen reader does not speak up every second.
        steps = max(3, 5 * int(seconds / 5))
        text = (
            f"The station has not answered for more than {steps} s. What this page shows is old: "
            "do not rely on it. Look at the station's own screen or start it again."
        )
        return self.trouble(Trouble((text,), silent=True))

    def trouble(self, trouble: Trouble) -> str:
        """Return the fragment "trouble"."""
        return self._render("trouble.html.j2", trouble=trouble)

    def ask_again(self, slide: str, text: str) -> str:
        """Return the question whether one more record of an identifier is meant."""
        return self._render("again.html.j2", slide=slide, text=text)

    def message(self, text: str, *, bad: bool) -> str:
        """Return the answer to what a person just did."""
        return self._render("message.html.j2", text=text, bad=bad)

    def _render(self, template: str, **values: Any) -> str:
        return self._environment.get_template(template).render(**values)


def to_handle(text: str) -> str:
    """Encode any text so that addresses and forms return it unchanged."""
    return text.encode("utf-8", "surrogatepass").hex()


def from_handle(handle: str) -> str:
    """Decode a handle. Raises UsageError."""
    try:
        return bytes.fromhex(handle).decode("utf-8", "surrogatepass")
    except ValueError as error:
        raise UsageError("request is not understood", "", "load the page again") from error


def _plain(value: object) -> object:
    """Turn every text that a template prints into one line of visible characters."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _numbered(labels: tuple[str, ...]) -> list[tuple[int, str]]:
    return list(enumerate(labels, start=1))


def _trouble(seen: Observation) -> Trouble:
    camera = seen.view.camera
    lines = [seen.error] if seen.error else []
    if camera.state in BAD_STATES:
        lines.append(f"{camera.name}: {camera.text or CAMERA_WORDS[camera.state]}")
    return Trouble((*lines, *seen.view.trouble))


def _cover(seen: Observation) -> str:
    """Return the words over the live picture when it is not live."""
    camera = seen.view.camera
    if camera.state is CameraState.LIVE:
        return ""
    words = {
        CameraState.OPENING: "Opening the camera",
        CameraState.LOST: "No picture",
        CameraState.FROZEN: "Picture stands still",
        CameraState.ENDED: "No more frames",
        CameraState.FAILED: "Camera failed",
    }[camera.state]
    old = camera.age_s is not None and camera.state in BAD_STATES
    return f"{words} for {camera.age_s:.0f} s" if old else words


def _focus(focus: float | None) -> dict[str, Any] | None:
    """Return the focus in words and as a position on a line whose middle is the limit."""
    if focus is None:
        return None
    return {"good": focus >= 1, "value": f"{focus:.1f}", "at": f"{50 * min(max(focus, 0), 2):.1f}"}


def _tally(slide: SlideView | None) -> str:
    if slide is None:
        return ""
    tally = slide.tally
    parts = ("seen", "scored", "not_examined", "failed", "not_needed")
    cells = describe_tally({name: getattr(tally, name) for name in parts})
    return f"{cells} {describe_field(slide.examined_share)}".rstrip()


def _bar(value: float, interval: Interval | None) -> dict[str, str]:
    """Return positions from 0 to 100 for a share and its interval."""
    low, high = (interval.low, interval.high) if interval else (value, value)
    numbers = {"value": value, "low": low, "width": high - low}
    return {name: f"{100 * number:.2f}" for name, number in numbers.items()}


def _budget(slide: SlideView | None) -> dict[str, Any] | None:
    """Return the time left for the oldest waiting frame, in words and as a share of the bar."""
    if slide is None:
        return None
    left, whole = slide.budget_left_s, slide.budget_s
    if left is None:
        return {"text": f"nothing waits; {whole:g} s per frame", "at": "100", "low": False}
    share = min(max(left / whole, 0), 1) if whole > 0 else 0
    over = f"{-left:.0f} s over {whole:g} s" if left < 0 else f"{left:.0f} s of {whole:g} s left"
    return {"text": over, "at": f"{100 * share:.1f}", "low": share < 0.25}


@dataclass(frozen=True, slots=True)
class _GalleryCell:
    """A cell of the gallery. key : of its picture, the same only for the same cell."""

    cell: int
    key: str
    kind: str
    suspicion: str
    strength: str
    label: str
    title: str


def _gallery_cell(cell: CellView, seen: Observation) -> _GalleryCell:
    slide = seen.view.slide
    what = (slide.slide if slide else "", seen.sitting, cell.cell, cell.status.value, cell.scores)
    key = hashlib.sha256(repr(what).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    scores = sorted(cell.scores, key=lambda score: -score[1])
    status = {
        CellStatus.NOT_EXAMINED: "not examined",
        CellStatus.FAILED: "failed",
        CellStatus.NOT_NEEDED: "not needed",
    }
    best = in_words(scores[0][0]) if scores else ""
    told = ", ".join(f"{in_words(role)} {value:.2f}" for role, value in scores)
    return _GalleryCell(
        cell=cell.cell,
        key=key,
        kind=status.get(cell.status, best),
        suspicion="" if cell.suspicion is None else f"{cell.suspicion:.2f}",
        strength="none" if cell.suspicion is None else _strength(cell.suspicion),
        label=in_words(cell.label) if cell.label else "",
        title=told or status.get(cell.status, ""),
    )


def _strength(suspicion: float) -> str:
    return "high" if suspicion >= 0.5 else "low"
