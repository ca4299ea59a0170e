"""Writes the results of one slide, frame by frame, in bounded memory."""

from __future__ import annotations

import shutil
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edgeapl.errors import StorageError
from edgeapl.report.cell_classes import CellKind, cell_kinds, role_kinds
from edgeapl.report.context import ReportContext
from edgeapl.report.explanation import Explanation
from edgeapl.report.gallery import Gallery
from edgeapl.report.geojson import Placing, feature_collection, joined_features
from edgeapl.report.outline import outlines
from edgeapl.report.page import render_page
from edgeapl.report.pictures import draw_overlay, png_bytes, thumbnail_bytes
from edgeapl.report.results import (
    CELLS,
    FRAMES,
    REPORT,
    THUMBNAIL,
    VERDICT,
    assemble,
    finished_record,
    put_in_place,
    record_line,
    unfinished_folder,
)
from edgeapl.report.safe_names import safe_name
from edgeapl.report.storage import storing, write_new, write_new_synced
from edgeapl.report.tables import (
    FRAME_COLUMNS,
    TableFile,
    cell_areas,
    cell_columns,
    cell_rows,
    frame_row,
)
from edgeapl.report.user_columns import FurtherColumns
from edgeapl.types import ExaminedFrame
from edgeapl.wall_clock import utc_now
from edgeapl.wording.printable import printable

MOST_DRAWING = 2
"""Frames drawn at once; `SlideWriter.add` blocks beyond that, so memory is bounded."""

MOST_DRAWING_BYTES = 128 << 20
"""Pixels of those frames. A frame of more than half of this is drawn alone, and one of more than
all of it before another is read."""

__all__ = ["SlideFiles", "SlideWriter", "assemble", "finished_record"]


@dataclass(frozen=True, slots=True)
class SlideFiles:
    """Paths of a slide's finished results; crops have no overlays and no GeoJSON."""

    folder: Path
    report: Path
    verdict: Path
    cells_csv: Path
    frames_csv: Path
    overlays: tuple[Path, ...]
    geojson: tuple[Path, ...]


class SlideWriter:
    """Collects one slide in ``slides/NAME.partial`` and renames it when it is complete.

    Parameters
    ----------
    folder : the result folder; created if missing.
    slide : identifier of the slide; any text.
    context : the model and the settings.
    further : the user's columns for the table of cells.
    now : returns the time in the report.
    newest : of `newest_by_name`, for whoever writes many slides.

    Raises StorageError when the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        slide: str,
        context: ReportContext,
        now: Callable[[], datetime] = utc_now,
        further: FurtherColumns = FurtherColumns(),  # noqa: B008 - frozen
        newest: Mapping[str, str] | None = None,
    ) -> None:
        self._slide = slide
        self._context = context
        self._now = now
        self._further = further
        self._kinds = role_kinds(context)
        self._gallery = Gallery(context)
        self._results = folder
        self._home = unfinished_folder(folder, slide, newest)
        self._overlays: list[str] = []
        self._geojson: list[str] = []
        self._thumbnail = b""
        self._pictures_left_out = threading.Event()
        self._drawer = ThreadPoolExecutor(1, "edgeapl-pictures")
        self._drawing: deque[Future[None]] = deque()
        with storing(self._home):
            _remove(self._home)
            self._home.mkdir(parents=True)
            if not context.crops:
                (self._home / "overlays").mkdir()
                (self._home / "geojson").mkdir()
        columns = cell_columns(tuple(context.roles))
        self._cells = TableFile(self._home / CELLS, (*columns, *further.free_headings(columns)))
        self._frames = TableFile(self._home / FRAMES, FRAME_COLUMNS)

    @property
    def gallery(self) -> Gallery:
        """The pictures chosen so far; only `add` changes them."""
        return self._gallery

    def add(self, examined: ExaminedFrame) -> None:
        """Write one finished frame. Raises StorageError.

        Its large pictures are drawn in the background, as they take as long as a hundred cells in
        the networks. Errors there are raised by a later call, by `finish` at the latest.
        """
        kinds = cell_kinds(examined, self._context, self._kinds)
        areas = cell_areas(examined.detections)
        roles = tuple(self._context.roles)
        beside = self._further.cells(examined.frame.source)
        rows = cell_rows(self._slide, examined, roles, areas, kinds)
        self._cells.add([[*row, *beside] for row in rows])
        self._frames.add([frame_row(self._slide, examined)])
        if examined.rejected:
            self._gallery.add_rejected(examined)
            return
        self._gallery.frames_used += 1
        self._gallery.add_cells(examined, kinds)
        if self._context.crops:
            return
        nbytes = examined.frame.pixels.nbytes
        large = MOST_DRAWING * nbytes > MOST_DRAWING_BYTES
        self._await_drawing(most=0 if large else MOST_DRAWING - 1)
        if nbytes > MOST_DRAWING_BYTES:
            self._add_pictures(examined, kinds, areas)
        else:
            self._drawing.append(self._drawer.submit(self._add_pictures, examined, kinds, areas))

    def attach(self, name: str, content: bytes) -> None:
        """Write one more file beside the report. Raises StorageError."""
        write_new(self._home / name, content)

    def join_geojson(self, name: str, place_of: Callable[[int], Placing]) -> None:
        """Write the cells of all frames to one file, in the coordinates of the whole scan.

        place_of : where a frame lies, by its index. Raises StorageError.
        """
        self._await_drawing(most=0)
        joined = joined_features(self._home / "geojson", place_of)
        with storing(self._home / name), (self._home / name).open("xb") as file:
            for part in joined:
                file.write(part)

    def leave_out_pictures(self) -> None:
        """Draw no more frames, as there is no time; the page says how many. From any thread."""
        self._pictures_left_out.set()

    def _await_drawing(self, *, most: int) -> None:
        """Wait until at most this many frames are being drawn."""
        while self._drawing and (len(self._drawing) > most or self._drawing[0].done()):
            self._drawing.popleft().result()

    def _add_pictures(
        self, examined: ExaminedFrame, kinds: tuple[CellKind, ...], areas: list[float]
    ) -> None:
        left_out = self._pictures_left_out.is_set
        rings = [] if left_out() else outlines(examined.detections)
        overlay = None if left_out() else draw_overlay(examined, kinds, rings)
        if overlay is None:
            self._gallery.frames_not_drawn += 1
            return
        stem = f"{examined.frame.index:05d}-{safe_name(Path(examined.frame.source).stem)}"
        self._overlays.append(f"{stem}.png")
        write_new(self._home / "overlays" / self._overlays[-1], png_bytes(overlay))
        self._thumbnail = self._thumbnail or thumbnail_bytes(overlay)
        self._geojson.append(f"cells-{stem}.geojson")
        features = feature_collection(self._slide, examined, kinds, rings, areas)
        write_new(self._home / "geojson" / self._geojson[-1], features)
        self._gallery.add_frame(examined, kinds, overlay, self._overlays[-1])

    def finish(
        self,
        record: Mapping[str, Any],
        journal_record: str,
        explanation: Explanation | None = None,
    ) -> SlideFiles:
        """Write page and verdict, and move the folder to its final place.

        Parameters
        ----------
        record : the verdict as plain JSON values; other keys are kept in `verdict.json`.
        journal_record : hash of the verdict's row in the journal.
        explanation : pictures that explain the verdict, for bundles that have them.

        Results of the slide's other records stay untouched. Raises StorageError.
        """
        self._await_drawing(most=0)
        self._drawer.shutdown()
        page = render_page(
            record, journal_record, self._context, self._gallery, self._now(), explanation
        )
        self._cells.finish()
        self._frames.finish()
        if self._thumbnail:
            write_new(self._home / THUMBNAIL, self._thumbnail)
        write_new_synced(self._home / REPORT, page.encode("utf-8"))
        write_new_synced(self._home / VERDICT, record_line(record))
        final = put_in_place(self._home, self._results, self._slide)
        return SlideFiles(
            folder=final,
            report=final / REPORT,
            verdict=final / VERDICT,
            cells_csv=final / CELLS,
            frames_csv=final / FRAMES,
            overlays=tuple(final / "overlays" / name for name in self._overlays),
            geojson=tuple(final / "geojson" / name for name in self._geojson),
        )

    def abandon(self) -> None:
        """Remove the files of an unfinished slide; older results stay."""
        self._drawer.shutdown(cancel_futures=True)
        with storing(self._home):
            _remove(self._home)


def _remove(folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        raise StorageError("result folder expected", printable(str(folder)), "remove this file")
    if folder.exists():
        shutil.rmtree(folder)
