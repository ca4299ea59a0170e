"""Scores a whole-slide scan: its monolayer tile by tile, until the rule is decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.closable import ClosesItself
from edgeapl.errors import EndOfSource, InputError
from edgeapl.model import Model
from edgeapl.pixel_size import SlideScale
from edgeapl.recorder import SlideRecorder
from edgeapl.report.pictures import PAGE_FRAME_PX, jpeg_bytes, png_bytes, shrunk
from edgeapl.scoring.request import ScoreRequest
from edgeapl.sources.discover import SlideInput
from edgeapl.types import ExaminedFrame, Frame
from edgeapl.whole_slide import SET, WholeSlideSource, companion_files, is_whole_slide, open_pyramid
from edgeapl.whole_slide.picture import TileFate, draw_overview
from edgeapl.wording.names import canonical_name
from edgeapl.wording.printable import printable

OVERVIEW, GEOJSON = "overview.png", "slide.geojson"

FIRST_LOOK = 400
"""Number of scored cells at which the rule is first tested; then at twice as many, and so on. It is
tested only a few times, as each test is another chance to stop by accident."""

SUSPICIOUS_FROM = 0.5
"""Suspicion from which a cell is drawn large."""


class FailedSource(ClosesItself):
    """Implements FrameSource for a scan that cannot be opened: it raises the error once."""

    live = False

    def __init__(self, name: str, error: InputError) -> None:
        self.name = name
        self._error: InputError | None = error

    def read(self, timeout_s: float) -> Frame:
        """Raise the error, then EndOfSource."""
        error, self._error = self._error, None
        if error is None:
            raise EndOfSource
        raise error

    def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True, eq=False)
class Scan:
    """A scan in progress: the fate of its tiles, and the positions of its cells.

    cells : x, y in px of level 0, one row per cell. suspicious : whether each one is.
    """

    source: WholeSlideSource
    fates: dict[int, TileFate] = field(default_factory=dict)
    cells: list[tuple[float, float]] = field(default_factory=list)
    suspicious: list[bool] = field(default_factory=list)

    def add(self, examined: ExaminedFrame) -> None:
        """Record the fate of a tile."""
        index = examined.frame.index
        self.fates[index] = TileFate.UNUSABLE if examined.rejected else TileFate.EXAMINED
        place = self.source.place(index)
        for x, y in examined.detections.centres.tolist():
            self.cells.append((place.x + x * place.shrink, place.y + y * place.shrink))
        self.suspicious += (examined.suspicion >= SUSPICIOUS_FROM).tolist()

    def write(self, recorder: SlideRecorder, *, decided: bool) -> dict[str, Any]:
        """Write the overview and the cells of the whole scan, and return the record's fields.

        decided : whether the slide ended with the tile that was examined last; what was read behind
        it does not count.
        """
        source = self.source
        last = max(self.fates, default=-1)
        damaged = [index for index in source.damaged if index < last or not decided]
        self.fates.update(dict.fromkeys(damaged, TileFate.UNUSABLE))
        picture = draw_overview(
            source.overview,
            source.grid,
            source.tiles,
            self.fates,
            np.array(self.cells, dtype=np.float32).reshape(-1, 2),
            np.array(self.suspicious, dtype=bool),
        )
        recorder.attach(OVERVIEW, png_bytes(picture))
        recorder.gallery.overview = jpeg_bytes(shrunk(picture, PAGE_FRAME_PX))
        recorder.join_geojson(GEOJSON, source.place)
        counts = list(self.fates.values())
        return {
            "overview": OVERVIEW,
            "geojson": GEOJSON,
            "tiles_with_tissue": source.tissue,
            "tiles_of_monolayer": len(source.tiles),
            "tiles_examined": counts.count(TileFate.EXAMINED),
            "tiles_not_usable": counts.count(TileFate.UNUSABLE),
            "decided": decided,
        }


def open_scan(slide: SlideInput, digest: str, request: ScoreRequest, model: Model) -> Scan:
    """Open a scan and find its monolayer. Raises InputError."""
    wanted = model.bundle.manifest.um_per_px
    stated = slide.um_per_px or request.um_per_px
    pyramid = open_pyramid(slide.files[0])
    try:
        source = WholeSlideSource(pyramid, digest, wanted, stated, SlideScale(None, wanted))
    except BaseException:
        pyramid.close()
        raise
    return Scan(source)


def scan_of(files: Sequence[Path]) -> Path | None:
    """Return the scan that the files of a slide are; None where they are images."""
    first = files[0]
    if not is_whole_slide(first) or not {*files[1:]} <= {*companion_files(first)}:
        return None
    return first


@dataclass(frozen=True, slots=True)
class _Part:
    """What becomes a slide. folder : in which it was found. scan : after which it is named."""

    folder: SlideInput
    slide: SlideInput
    scan: Path | None = None

    def named(self, level: int) -> str:
        """Return its name: 0 the shortest, which may be that of another."""
        if self.scan is None:
            return self.slide.name
        if not level:
            return canonical_name(self.scan.stem)
        return canonical_name(" ".join((self.folder.name, *self.scan.parts[-level:])))


def split_scans(slides: Sequence[SlideInput]) -> tuple[SlideInput, ...]:
    """Make every scan a slide of its own, also if several are in one folder.

    The files of one scan stay together, and so do the images beside it. Scans are named after their
    files; where another slide has that name, after folder and file, and then with as many folders
    between the two as it takes.
    Raises InputError when two would still have one name.
    """
    parts = [part for slide in slides for part in _parts(slide)]
    names = [part.named(0) for part in parts]
    for level in range(1, max((len(part.scan.parts) for part in parts if part.scan), default=0)):
        times = Counter(names)
        names = [
            part.named(level) if times[name] > 1 else name
            for part, name in zip(parts, names, strict=True)
        ]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        which = printable(twice[0])
        raise InputError("two scans have the same name", which, "rename one, or give a slide list")
    return tuple(replace(part.slide, name=name) for part, name in zip(parts, names, strict=True))


def _parts(slide: SlideInput) -> Iterator[_Part]:
    scans: list[Path] = []
    of_scans: set[Path] = set()
    # A set of scans comes before them: they are part of it, not slides of their own.
    for file in sorted(slide.files, key=lambda file: file.suffix.lower() != SET):
        if file not in of_scans and is_whole_slide(file):
            scans.append(file)
            of_scans.update((file, *companion_files(file)))
    rest = tuple(file for file in slide.files if file not in of_scans)
    if rest or not scans:
        yield _Part(slide, replace(slide, files=rest))
    if len(scans) == 1 and not rest:
        yield _Part(slide, replace(slide, files=(scans[0],)))
        return
    for file in scans:
        yield _Part(slide, SlideInput(canonical_name(file.stem), (file,)), file)
