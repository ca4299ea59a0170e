"""What happened, by the standard library's logging: loggers are named `edgeapl.PART`.

Nothing is written unless somebody asks for it: a program that sets up logging, or `logging_to`.
Records name slides by their identifier alone; neither patients nor files, whose names may hold
theirs, nor the page's token are in them.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from io import TextIOWrapper
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from typing import cast

from edgeapl.errors import StorageError
from edgeapl.wording.names import escaped_line

MOST_BYTES = 4 << 20
"""Of one file; then it is renamed and a new one is begun."""

OLD_FILES = 5
MOST_WAITING = 10_000
"""Records that wait for a slow disk; more are left out, so that nothing else waits for it."""

STDERR = Path("-")
"""In place of a file: standard error, which systemd's journal keeps."""

_PRIORITIES = {logging.WARNING: 4, logging.INFO: 6}


def note(part: str, event: str, text: str, level: int = logging.INFO, **fields: object) -> None:
    """Record an event.

    Parameters
    ----------
    part : of the program: ``camera``, ``engines``, ``slide``, ``page`` and so on.
    event : stable, for machines. text : a plain sentence. fields : of the event, for machines.
    """
    logger = logging.getLogger(f"edgeapl.{part}")
    if logger.hasHandlers():  # else Python would print warnings between the lines of a command
        logger.log(level, text, extra={"event": event, "fields": fields})


def warn(part: str, event: str, text: str, **fields: object) -> None:
    """Record something that a person may have to mend."""
    note(part, event, text, logging.WARNING, **fields)


@contextmanager
def logging_to(
    place: Path | None, *, as_json: bool = False, secrets: Sequence[str | None] = ()
) -> Iterator[None]:
    """Write all records to a file, or to standard error, while the block runs.

    Parameters
    ----------
    place : a file, of which up to `OLD_FILES` older ones are kept; `STDERR`; None for nowhere.
    as_json : one object a line in place of text.
    secrets : never written, wherever they stand.

    Raises StorageError when the file cannot be opened. Later trouble with it is said once on
    standard error, and ends nothing.
    """
    if place is None:
        yield
        return
    handler = _handler(place)
    hidden = tuple(secret for secret in secrets if secret)
    handler.setFormatter(JsonLine(hidden) if as_json else TextLine(hidden, _in_journal(place)))
    waiting: queue.Queue[logging.LogRecord] = queue.Queue()
    listener = QueueListener(waiting, handler)
    logger, entry = logging.getLogger("edgeapl"), _Entry(waiting)
    before = logger.level
    logger.addHandler(entry)
    logger.setLevel(logging.INFO)
    listener.start()
    try:
        yield
    finally:
        logger.removeHandler(entry)
        logger.setLevel(before)
        listener.stop()
        with suppress(OSError):  # of a full disk, which was said
            handler.close()


class TextLine(logging.Formatter):
    """One line for people: local time with its offset, part, sentence. secrets : left out."""

    def __init__(self, secrets: Sequence[str] = (), with_priority: bool = False) -> None:
        super().__init__()
        self._secrets = tuple(secrets)
        self._with_priority = with_priority

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")
        grave = record.levelname.lower() + ": " if record.levelno >= logging.WARNING else ""
        part = record.name.rpartition(".")[2]
        text = escaped_line(_without(f"{part}: {grave}{record.getMessage()}", self._secrets))
        if self._with_priority:  # the journal has the time
            return f"<{_PRIORITIES.get(record.levelno, 3)}>{text}"
        return f"{when} {text}"


class JsonLine(logging.Formatter):
    """One JSON object for machines: UTC, level, part, event, text and the event's own fields."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        when = datetime.fromtimestamp(record.created, timezone.utc)
        document = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "part": record.name.rpartition(".")[2],
            "event": getattr(record, "event", "other"),
            "text": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        hidden = {
            name: _without(value, self._secrets) if isinstance(value, str) else value
            for name, value in document.items()
        }
        return json.dumps(hidden, ensure_ascii=True, default=str)


class _Entry(QueueHandler):
    """Takes records and never waits: what finds no room is left out."""

    def enqueue(self, record: logging.LogRecord) -> None:
        waiting = cast("queue.Queue[logging.LogRecord]", self.queue)
        if waiting.qsize() < MOST_WAITING:
            waiting.put(record)


class _File(RotatingFileHandler):
    """A rotating file that only its owner may read; says once that it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._said = False
        super().__init__(path, maxBytes=MOST_BYTES, backupCount=OLD_FILES, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(self.baseFilename, "a", encoding="utf-8", opener=private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Say what is wrong, once."""
        if not self._said:
            self._said = True
            why = traceback.format_exception_only(*sys.exc_info()[:2])[-1].strip()
            sys.stderr.write(f"log cannot be written: {self.baseFilename}: {escaped_line(why)}\n")


def _handler(place: Path) -> logging.Handler:
    if place == STDERR:
        return logging.StreamHandler(sys.stderr)
    try:
        return _File(place)
    except OSError as error:
        mend = error.strerror or "choose another file with --log"
        raise StorageError("log cannot be written", place, mend) from error


def _in_journal(place: Path) -> bool:
    """Whether standard error goes to systemd's journal, which reads priorities."""
    return place == STDERR and "JOURNAL_STREAM" in os.environ


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
