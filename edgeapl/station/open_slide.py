"""The frames of a slide that is still open, kept on the disk until its verdict is committed.

When the station loses its power, the frames are examined again and the slide goes on. They are
kept without loss, so the answers are the same.
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
"""Where kept frames go to be removed, so that no half of them is ever taken for an open slide."""

MOST_WRITING = 2
"""Frames on their way to the disk; a slow disk then holds the reading up, not the memory."""
ABOUT = "slide.json"


@dataclass(frozen=True, slots=True)
class About:
    """What is known of an open slide.

    started : UTC, ISO 8601. flagged : a flag was shown. flag : what it stands on; None where an
    older version did not note it.
    sitting : stands for this examination, as in `edgeapl.types.Origin`; empty when an older version
    kept the slide. journal : id of the journal it was begun under; empty when not known.
    """

    slide: str
    started: str
    flagged: bool = False
    flag: RaisedFlag | None = None
    sitting: str = ""
    journal: str = ""


def new_sitting() -> str:
    """Give what stands for an examination that begins now."""
    return secrets.token_hex(8)


class OpenSlide:
    """Keeps the frames of one slide.

    Parameters
    ----------
    folder : of this slide; made if missing. Raises StorageError.

    taken_up : whether the slide had been left open.
    """

    def __init__(self, folder: Path, about: About) -> None:
        self._folder = folder
        self.about = about
        self.taken_up = (folder / ABOUT).is_file()
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._write()
        # Behind a picture that was cut short, too: no file is written over.
        numbers = [int(path.name.partition(".")[0]) for path in self._folder.glob("[0-9]*.*")]
        self._next = max(numbers, default=-1) + 1
        self._writer = ThreadPoolExecutor(1, "edgeapl-keep")
        self._writing: deque[Future[None]] = deque()

    @classmethod
    def start(cls, results: Path, slide: str, started: str, journal: str = "") -> OpenSlide:
        """Open a slide in a result folder; one of this name that was left open goes on.

        journal : id of the journal that gets its verdict.
        """
        folder = results / FOLDER / safe_name(slide)
        if (folder / ABOUT).is_file():
            about = read_about(folder)
        else:
            about = About(slide, started, sitting=new_sitting(), journal=journal)
        return cls(folder, about)

    def keep(self, frame: Frame) -> None:
        """Keep a frame; writing goes on in the background, as packing 5 megapixels takes 0.2 s.

        Raises StorageError when an earlier frame could not be written.
        """
        self._settle(wait=len(self._writing) >= MOST_WRITING)
        stem, self._next = f"{self._next:06d}", self._next + 1
        self._writing.append(self._writer.submit(self._write_frame, stem, frame))

    def settle(self) -> None:
        """Wait until every frame is on the disk. Raises StorageError."""
        self._settle(wait=True)

    def _settle(self, *, wait: bool) -> None:
        while self._writing and (wait or self._writing[0].done()):
            self._writing.popleft().result()

    def _write_frame(self, stem: str, frame: Frame) -> None:
        about = {
            "source": frame.source,
            "um_per_px": frame.um_per_px,
            "scale": frame.scale.value,
            "digest": frame.digest,
            "remarks": [[item.code, item.text, item.doubtful] for item in frame.remarks],
        }
        write_new_synced(self._folder / f"{stem}.png", png_bytes(frame.pixels))
        # Written last, and there at once or not at all: a picture without it was cut short.
        with replacing(self._folder / f"{stem}.json") as file:
            file.write(json.dumps(about).encode())

    def flag(self, flag: RaisedFlag = NOT_NOTED) -> None:
        """Note that a flag was shown; it is not taken back when the slide goes on."""
        if not self.about.flagged or self.about.flag != flag:
            self.about = replace(self.about, flagged=True, flag=flag)
            self._write()

    def kept(self) -> list[Callable[[], Frame]]:
        """Give what reads each frame kept so far; reading raises InputError for a damaged one."""
        return [
            partial(_read, self._folder / name, index) for index, name in enumerate(self._names())
        ]

    def stop_writing(self) -> Path:
        """Let no more be written and give the folder, to be removed or moved."""
        self._writer.shutdown()
        return self._folder

    def _names(self) -> list[str]:
        stems = {path.stem for path in self._folder.glob("*.json") if path.name != ABOUT}
        whole = [path.stem for path in self._folder.glob("*.png") if path.stem in stems]
        return sorted(whole)

    def _write(self) -> None:
        write_about(self._folder, self.about)


def write_about(folder: Path, about: About) -> None:
    """Write what is known of an open slide beside its frames. Raises StorageError."""
    text: dict[str, Any] = {
        "slide": about.slide,
        "started": about.started,
        "flagged": about.flagged,
        "sitting": about.sitting,
        "journal": about.journal,
    }
    if about.flag is not None:
        text["flag"] = flag_to_json(about.flag)
    with replacing(folder / ABOUT) as file:
        file.write(json.dumps(text).encode())


def left_folders(results: Path) -> list[Path]:
    """Give the folders in which slides of a result folder were kept."""
    home = results / FOLDER
    if not home.is_dir():
        return []
    return sorted(path for path in home.iterdir() if path.is_dir() and not path.is_symlink())


def read_about(folder: Path) -> About:
    """Read what is known of an open slide. Raises StorageError."""
    path = folder / ABOUT
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        flag = flag_from_json(values["flag"]) if "flag" in values else None
        return About(
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
