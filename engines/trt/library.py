"""Find the installed TensorRT. Both libraries use the same names; differences are looked up."""

from __future__ import annotations

import functools
import importlib
import itertools
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from edgeapl.errors import EngineError

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Target to Python module."""

EXTRAS = {"tensorrt": "tensorrt-cu13", "tensorrt-rtx": "rtx"}
KEPT_MESSAGES = 8
LAYERS = "Layers:"
"""First line of the message in which a builder with detailed verbosity lists all layers."""

SCRATCH = re.compile(r"Total Activation Memory: (\d+) bytes")
OLDEST = {"tensorrt": (10, 0), "tensorrt-rtx": (1, 0)}
"""First versions with strongly typed networks and execute_async_v3 as they are used here."""


@dataclass(frozen=True, slots=True)
class BuilderLog:
    """What a builder logged of a plan. layers : list of them. scratch : bytes; None if unknown."""

    layers: str = ""
    scratch: int | None = None


class Messages:
    """The last errors that the library logged, oldest first, and what it logged of a plan.

    Everything else is dropped. Networks run on several threads of a process, and an error concerns
    the run of the thread on which it was logged; one that a thread of the library's own logged is
    for whoever asks first.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._lines: deque[tuple[int, str]] = deque(maxlen=KEPT_MESSAGES)
        # Of each thread that has asked, as the system gives numbers of ended threads to new ones.
        self._numbers = itertools.count(1)
        self._here = threading.local()
        self._notes = BuilderLog()

    def note(self, text: str) -> None:
        """Keep what is logged of a plan: its layers, and the scratch memory that it takes."""
        if text.startswith(LAYERS):
            self._notes = replace(self._notes, layers=text)
            return
        scratch = SCRATCH.match(text)
        if scratch is not None:
            self._notes = replace(self._notes, scratch=int(scratch[1]))

    def take_notes(self) -> BuilderLog:
        """Return what was logged since the last call."""
        notes, self._notes = self._notes, BuilderLog()
        return notes

    def add(self, text: str) -> None:
        """Keep one message as one line."""
        with self._turn:
            self._lines.append((self._number, " ".join(text.split())))

    def take_all(self) -> tuple[str, ...]:
        """Return this thread's kept messages since its last call, oldest first."""
        with self._turn:
            if not self._number:
                self._here.number = next(self._numbers)
            mine = (0, self._number)
            lines = tuple(line for thread, line in self._lines if thread in mine)
            rest = [kept for kept in self._lines if kept[0] not in mine]
            self._lines.clear()
            self._lines.extend(rest)
        return lines

    @property
    def _number(self) -> int:
        """Of this thread; 0 until it has asked."""
        return getattr(self._here, "number", 0)

    def take(self) -> str:
        """Return the first message since this thread's last call, the cause of the rest, or ''."""
        return next(iter(self.take_all()), "")


@dataclass(frozen=True, slots=True)
class Library:
    """One installed TensorRT.

    target : ``tensorrt`` or ``tensorrt-rtx``.
    api : its Python module.
    version : e.g. ``"10.3.0"``.
    logger : an ILogger of it, that fills `messages`. RTX has one logger for the whole process.
    build_lock : held by a build, as log messages do not name theirs.
    """

    target: str
    api: Any
    version: str
    logger: Any
    messages: Messages
    build_lock: threading.Lock = field(default_factory=threading.Lock)


@functools.cache
def find_library(target: str) -> Library:
    """Import the library of a target, once.

    Raises EngineError when the target is unknown, or its library is missing or too old.
    """
    if target not in MODULES:
        raise EngineError("no TensorRT target", target, f"choose one of: {', '.join(MODULES)}")
    try:
        api = importlib.import_module(MODULES[target])
    except (ImportError, OSError) as error:  # OSError: the wheel is there, its driver library not
        mend = f"pip install 'edgeapl[{EXTRAS[target]}]'"
        raise EngineError("runtime is missing", f"{target} ({error})", mend) from error
    return library_of(target, api)


def library_of(target: str, api: Any) -> Library:
    """Describe an imported TensorRT module; raises EngineError when it is too old."""
    version = str(api.__version__)
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST[target]:
        oldest = ".".join(str(number) for number in OLDEST[target])
        raise EngineError("runtime is too old", f"{target} {version}", f"{oldest} or newer")
    messages = Messages()
    return Library(target, api, version, _logger(api, messages), messages)


@contextmanager
def starting(library: Library, name: str) -> Iterator[None]:
    """Make the library's Builder, OnnxParser or Runtime inside; raises EngineError without one.

    Where the library cannot use the GPU it returns no object, and pybind11 calls that a TypeError.
    name : the network in question.
    """
    try:
        yield
    except TypeError as error:
        which = f"{library.target} {library.version} for {name}"
        reason = library.messages.take() or " ".join(str(error).split())
        text = f"check that the NVIDIA driver fits this version ({reason})"
        raise EngineError("runtime cannot start", which, text) from error


def _logger(api: Any, messages: Messages) -> Any:
    worth_keeping = (api.ILogger.INTERNAL_ERROR, api.ILogger.ERROR)

    class Collector(api.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            # Without the base's __init__ the library calls an object that is not there.
            api.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in worth_keeping:
                messages.add(msg)
            else:
                messages.note(msg)

    return Collector()
