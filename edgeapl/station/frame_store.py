"""The frames of an open slide, stored on disk until its verdict is committed.

After a power cut they are examined again and the slide continues. They are stored without loss, so
the answers are the same.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgeapl.errors import InputError, StorageError
from edgeapl.journal.record import flag_from_json, flag_to_json
from edgeapl.report.pictures import png_bytes
from edgeapl.report.safe_names import safe_name
from edgeapl.report.storage import replacing, storing, write_new_synced
from edgeapl.sources.decode import read_image
from edgeapl.types import NOT_NOTED, Frame, RaisedFlag, Remark, ScaleOrigin

FOLDER = "open"
DISCARDED = "discarded"
"""Stored frames move here before they are removed, so that half of them never look like a slide."""

MOST_WRITING = 2
"""Frames written at once; beyond that a slow disk delays reading instead of filling memory."""
METADATA = "slide.json"


@dataclass(frozen=True, slots=True)
class OpenSlideMetadata:
    """An open slide.

    started : UTC, ISO 8601. flagged : a flag was shown. flag : its evidence; None where an older
    version did not store it.
    sitting : id of this examination, as in `edgeapl.types.Origin`; empty for slides stored by an
    older version. journal : id of the journal it was begun under; empty when unknown.
    """

    slide: str
    started: str
    flagged: bool = False
    flag: RaisedFlag | None = None
    sitting: str = ""
    journal: str = ""


def new_sitting() -> str:
    """Return a new id for an examination."""
    return secrets.token_hex(8)


class FrameStore:
    """Stores the frames of one slide.

    Parameters
    ----------
    folder : of this slide; created if missing. Raises StorageError.

    resumed : whether an earlier run left the slide open.
    """

    def __init__(self, folder: Path, metadata: OpenSlideMetadata) -> None:
        self._folder = folder
        self.metadata = metadata
        self.resumed = (folder / METADATA).is_file()
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._write_metadata()
        # After truncated pictures too: no file is overwritten.
        numbers = [int(path.name.partition(".")[0]) for path in self._folder.glob("[0-9]*.*")]
        self._next = max(numbers, default=-1) + 1
        self._writer = ThreadPoolExecutor(1, "edgeapl-keep")
        self._writing: deque[Future[None]] = deque()

    @classmethod
    def start(cls, results: Path, slide: str, started: str, journal: str = "") -> FrameStore:
        """Open a slide in a result folder, or resume the one of this name that was left open.

        journal : id of the journal that gets its verdict.
        """
        folder = results / FOLDER / safe_name(slide)
        if (folder / METADATA).is_file():
            metadata = read_metadata(folder)
        else:
            metadata = OpenSlideMetadata(slide, started, sitting=new_sitting(), journal=journal)
        return cls(folder, metadata)

    def add(self, frame: Frame) -> None:
        """Store a frame in the background: compressing 5 megapixels takes 0.2 s.

        Raises StorageError when an earlier frame could not be written.
        """
        self._collect(wait=len(self._writing) >= MOST_WRITING)
        stem, self._next = f"{self._next:06d}", self._next + 1
        self._writing.append(self._writer.submit(self._write_frame, stem, frame))

    def flush(self) -> None:
        """Wait until every frame is on the disk. Raises StorageError."""
        self._collect(wait=True)

    def _collect(self, *, wait: bool) -> None:
        while self._writing and (wait or self._writing[0].done()):
            self._writing.popleft().result()

    def _write_frame(self, stem: str, frame: Frame) -> None:
        values = {
            "source": frame.source,
            "um_per_px": frame.um_per_px,
            "scale": frame.scale.value,
            "digest": frame.digest,
            "remarks": [[item.code, item.text, item.doubtful] for item in frame.remarks],
        }
        write_new_synced(self._folder / f"{stem}.png", png_bytes(frame.pixels))
        # Written last and atomically: a picture without it was cut short.
        with replacing(self._folder / f"{stem}.json") as file:
            file.write(json.dumps(values).encode())

    def note_flag(self, flag: RaisedFlag = NOT_NOTED) -> None:
        """Store that a flag was shown, so that resuming the slide does not take it back."""
        if not self.metadata.flagged or self.metadata.flag != flag:
            self.metadata = replace(self.metadata, flagged=True, flag=flag)
            self._write_metadata()

    def readers(self) -> list[Callable[[], Frame]]:
        """Return one function per stored frame, which reads it; InputError for a damaged one."""
        return [
            partial(_read, self._folder / name, index) for index, name in enumerate(self._names())
        ]

    def stop_writing(self) -> Path:
        """Stop writing and return the folder, to be removed or moved."""
        self._writer.shutdown()
        return self._folder

    def _names(self) -> list[str]:
        stems = {path.stem for path in self._folder.glob("*.json") if path.name != METADATA}
        whole = [path.stem for path in self._folder.glob("*.png") if path.stem in stems]
        return sorted(whole)

    def _write_metadata(self) -> None:
        write_metadata(self._folder, self.metadata)


def write_metadata(folder: Path, metadata: OpenSlideMetadata) -> None:
    """Write the metadata of an open slide beside its frames. Raises StorageError."""
    text: dict[str, Any] = {
        "slide": metadata.slide,
        "started": metadata.started,
        "flagged": metadata.flagged,
        "sitting": metadata.sitting,
        "journal": metadata.journal,
    }
    if metadata.flag is not None:
        text["flag"] = flag_to_json(metadata.flag)
    with replacing(folder / METADATA) as file:
        file.write(json.dumps(text).encode())


def left_folders(results: Path) -> list[Path]:
    """Return the folders of open slides in a result folder."""
    home = results / FOLDER
    if not home.is_dir():
        return []
    return sorted(path for path in home.iterdir() if path.is_dir() and not path.is_symlink())


def read_metadata(folder: Path) -> OpenSlideMetadata:
    """Read the metadata of an open slide. Raises StorageError."""
    path = folder / METADATA
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        flag = flag_from_json(values["flag"]) if "flag" in values else None
        return OpenSlideMetadata(
            str(values["slide"]),
            str(values["started"]),
            bool(values["flagged"]),
            flag,
            sitting=str(values.get("sitting", "")),
            journal=str(values.get("journal", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        mend = f"look at the frames in it, then remove it ({error})"
        raise StorageError("slide that was left open cannot be read", folder, mend) from error


def _read(stem: Path, index: int) -> Frame:
    picture = stem.with_suffix(".png")
    image = read_image(picture)
    try:
        values = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        return Frame(
            pixels=image.pixels,
            index=index,
            captured_ns=time.monotonic_ns(),
            um_per_px=float(values["um_per_px"]),
            source=str(values["source"]),
            digest=str(values["digest"]),
            scale=ScaleOrigin(values["scale"]),
            remarks=tuple(
                Remark(str(code), str(text), bool(doubtful))
                for code, text, doubtful in values.get("remarks", ())
            ),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("kept frame is damaged", picture, "it is left out") from error
