"""The tiles of a scan that are examined, kept in the result folder until its verdict is there.

Each tile is a file of its own: a head of four lines (what it is; the digest of scan, bundle and
settings; that of the tile; that of the rest), then the cells and their answers as arrays.
"""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.digest import sha256, sha256_of_parts
from edgeapl.examination import AnsweredFrame
from edgeapl.report.safe_names import safe_name
from edgeapl.report.storage import replacing, storing
from edgeapl.types import CellScores, Detections, Frame

FOLDER = "examined-tiles"

_MARK = "edgeapl examined tile 1"
_ROLE = "role "


class ExaminedTiles:
    """Implements FrameStore with the files of one scan.

    Parameters
    ----------
    out : the result folder. slide : identifier of the slide.
    key : digest of all that its results depend on; what was kept for another is removed.
    on_refused : told of each file that cannot be used, in words; the tile is then examined again.
        Comes from the threads that ask.

    count : tiles that were kept before.

    Raises StorageError when the result folder cannot be used.
    """

    def __init__(self, out: Path, slide: str, key: str, on_refused: Callable[[str], None]) -> None:
        self._home = out / FOLDER / safe_name(slide)
        self._key = key
        self._on_refused = on_refused
        with storing(self._home):
            self._home.mkdir(parents=True, exist_ok=True)
            found = sorted(self._home.glob("*.tile"))
            others = [file for file in found if not self._is_mine(file)]
            for file in others:
                file.unlink()
        if others:
            text = "it belongs to another bundle, other settings or another state of the scan"
            on_refused(f"{len(others)} of {len(found)} kept tiles not used: {text}")
        self.count = len(found) - len(others)

    def find(self, frame: Frame) -> AnsweredFrame | None:
        """Return what was kept of a tile; None without, and where it is damaged, which is told."""
        path = self._path(frame)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._on_refused(f"kept tile {path.name} cannot be read ({error.strerror})")
            return None
        head, _, body = content.partition(b"\n\n")
        if head.split(b"\n") != self._head(frame, body).split(b"\n"):
            self._on_refused(f"kept tile {path.name} is damaged")
            return None
        try:
            return _unpacked(body, frame)
        except (EOFError, KeyError, ValueError, TypeError, OSError, zipfile.BadZipFile) as error:
            self._on_refused(f"kept tile {path.name} is damaged ({error})")
            return None

    def keep(self, answered: AnsweredFrame) -> None:
        """Keep a tile; it is there as a whole or not at all. Raises StorageError."""
        frame = answered.detections.frame
        body = _packed(answered)
        with replacing(self._path(frame)) as file:
            file.write(self._head(frame, body) + b"\n\n" + body)

    def _path(self, frame: Frame) -> Path:
        return self._home / f"{frame.index:06d}.tile"

    def _head(self, frame: Frame, body: bytes) -> bytes:
        lines = (_MARK, self._key, _tile_key(frame), sha256(body))
        return "\n".join(lines).encode("ascii")

    def _is_mine(self, file: Path) -> bool:
        with file.open("rb") as opened:
            lines = opened.read(len(_MARK) + len(self._key) + 2).split(b"\n")
        # One that is damaged so far in front is told of when its tile is asked for.
        return lines[0] != _MARK.encode() or lines[1:2] == [self._key.encode()]


def remove_tiles(out: Path, slide: str) -> None:
    """Remove the tiles that were kept of a slide, if any. Raises StorageError."""
    home = out / FOLDER / safe_name(slide)
    if not home.is_dir() or home.is_symlink():
        return
    with storing(home):
        shutil.rmtree(home)
        if not any(home.parent.iterdir()):
            home.parent.rmdir()


def _tile_key(frame: Frame) -> str:
    """Return the digest of a tile: another reader of the scan may give other pixels."""
    scale = f"{frame.um_per_px!r} {frame.scale.value}"
    return sha256_of_parts([frame.digest, scale, sha256(frame.pixels.tobytes())])


def _packed(answered: AnsweredFrame) -> bytes:
    found, scores = answered.detections, answered.scores
    arrays: dict[str, NDArray[np.generic]] = {
        "boxes": found.boxes,
        "labels": found.labels,
        "found": found.scores,
        "features": scores.features,
        **{_ROLE + name: values for name, values in scores.roles.items()},
    }
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    return packed.getvalue()


def _unpacked(body: bytes, frame: Frame) -> AnsweredFrame:
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        found = Detections(frame, arrays["boxes"], arrays["labels"], arrays["found"])
        roles = {n.removeprefix(_ROLE): arrays[n] for n in arrays.files if n.startswith(_ROLE)}
        ids = np.arange(len(found), dtype=np.int64)
        return AnsweredFrame(found, CellScores(ids, roles, arrays["features"]))
