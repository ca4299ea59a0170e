"""Sends changes of the page as server-sent events."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgeapl.errors import EdgeAplError
from edgeapl.station.access import CellView, HistoryItem, SlideView, StationAccess, StationView
from edgeapl.wording.printable import printable

LEAST_PERIOD_S = 0.25
"""Shortest time between two changes of the page, seconds; pictures are fetched separately."""
BEAT_S = 1.0
SILENT_S = 3.0
"""After this many seconds the page says that the station does not answer."""
HISTORY_S = 5.0
CELLS_SHOWN = 60
HISTORY_SHOWN = 20

_LINE_ENDS = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Observation:
    """The station as the page shows it, read at one moment.

    sitting : grows with every slide, so that two slides of one name have different pictures.
    history, demonstrations : closed slides of patients, and demonstrations.
    error : raised by the station instead of an answer; empty while all is well.
    """

    view: StationView
    cells: Sequence[CellView]
    history: Sequence[HistoryItem]
    sitting: int
    error: str = ""
    demonstrations: Sequence[HistoryItem] = ()


_History = tuple[Sequence[HistoryItem], Sequence[HistoryItem]]

Render = Callable[[Observation], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class PageState:
    """The page as fragments of HTML by name.

    answered_s : time of the station's last answer, s of the monotonic clock.
    examined : key of the newest examined frame.
    events : the fragments as they are sent, encoded once for all browsers.
    """

    fragments: Mapping[str, str]
    answered_s: float
    examined: tuple[object, ...] = ()
    events: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class _SlideCounter:
    """Numbers slides, including two of the same name in a row."""

    count: int = 0
    last: SlideView | None = field(default=None)

    def number(self, slide: SlideView | None) -> int:
        last, self.last = self.last, slide
        self.count += _differ(last, slide)
        return self.count


def _differ(last: SlideView | None, slide: SlideView | None) -> bool:
    """Whether another slide than the last one is visible."""
    if slide is None or last is None:
        return slide is not last
    return (
        slide.slide != last.slide
        or (slide.open and not last.open)
        or slide.tally.seen < last.tally.seen
    )


class Feed:
    """Polls the station in a thread of its own and notifies all browsers.

    One observation serves all browsers, and a station that hangs blocks none of them.
    """

    def __init__(self, station: StationAccess, render: Render) -> None:
        self._station = station
        self._render = render
        self._state = PageState({}, time.monotonic())
        self._listeners: set[asyncio.Event] = set()
        self._stopped = threading.Event()
        self._slides = _SlideCounter()
        self._history: tuple[_History, object, float] = (((), ()), None, 0.0)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def state(self) -> PageState:
        """The newest state; without fragments until the station has answered once."""
        return self._state

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def start(self) -> None:
        """Start polling; must be called in the event loop that serves the page."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._follow, name="page-feed", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End all streams and stop polling; may be called from any thread, and twice."""
        self._stopped.set()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def silent_s(self) -> float:
        """Return the seconds since the station's last answer."""
        return time.monotonic() - self._state.answered_s

    def _follow(self) -> None:
        revision = -1
        seen: Observation | None = None
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                view = self._station.wait(revision, BEAT_S)
                revision = view.revision
                cells = self._station.cells(CELLS_SHOWN)
                if _differ(view.slide, self._station.view().slide):
                    continue  # the cells may be those of the next slide: read again
                sitting = self._slides.number(view.slide)
                history, demonstrations = self._read_history(view)
                seen = Observation(view, cells, history, sitting, demonstrations=demonstrations)
            except EdgeAplError as error:
                # The error is shown; the next poll may succeed.
                if seen is not None:
                    seen = replace(seen, error=str(error))
                self._stopped.wait(BEAT_S)
            if seen is not None:
                self._show(seen)
            self._stopped.wait(max(0.0, LEAST_PERIOD_S - (time.monotonic() - began)))

    def _read_history(self, view: StationView) -> _History:
        """Read the history when a slide is closed, and every `HISTORY_S`."""
        items, key, read_s = self._history
        now, slide = time.monotonic(), view.slide
        new = None if slide is None else (slide.slide, slide.open, slide.report)
        if not read_s or new != key or now - read_s > HISTORY_S:
            items = (
                self._station.history(HISTORY_SHOWN),
                self._station.history(HISTORY_SHOWN, True),
            )
            self._history = (items, new, now)
        return items

    def _show(self, seen: Observation) -> None:
        slide = seen.view.slide
        frames = (slide.frames_used, slide.frames_rejected, slide.open) if slide else ()
        fragments, known = self._render(seen), self._state
        events = {
            name: known.events[name] if known.fragments.get(name) == html else event(name, html)
            for name, html in fragments.items()
        }
        self._state = PageState(fragments, time.monotonic(), (seen.sitting, *frames), events)
        loop = self._loop
        if loop is not None and not self._stopped.is_set():
            loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.set()

    async def stream(self, silence: Callable[[float], str]) -> AsyncIterator[bytes]:
        """Yield the events of one browser: changes, and a heartbeat at least once a second.

        silence : returns the fragment "trouble" for a station silent for this many seconds.
        """
        changed = asyncio.Event()
        self._listeners.add(changed)
        sent: dict[str, bytes] = {}
        try:
            yield b"retry: 1000\n\n"
            while not self.stopped:
                changed.clear()
                now = dict(self._state.events)
                silent = self.silent_s()
                if silent > SILENT_S:
                    now["trouble"] = event("trouble", silence(silent))
                news = [written for name, written in now.items() if sent.get(name) != written]
                sent = now
                yield b"".join((*news, event("beat", "silent" if silent > SILENT_S else "answers")))
                try:
                    await asyncio.wait_for(changed.wait(), BEAT_S)
                except asyncio.TimeoutError:
                    continue
        finally:
            self._listeners.discard(changed)


def event(name: str, text: str) -> bytes:
    """Write one server-sent event; no text can end it early or begin another."""
    lines = "".join(f"data: {line}\n" for line in _LINE_ENDS.split(text))
    return f"event: {printable(name)}\n{lines}\n".encode()
