"""Boxes that people drew around cells: COCO JSON, Pascal VOC, and lists of `edgeapl cohorts`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from edgeapl.errors import InputError
from edgeapl.evaluation.boxes import read_coco
from edgeapl.sources.formats.safe_xml import parsed
from edgeapl.sources.known_files import has_image_name
from edgeapl.sources.regular_file import read_plain_file
from edgeapl.sources.table_file import TableReader, TableRow
from edgeapl.types import Float32
from edgeapl.wording.printable import printable

HOW = "give COCO JSON, a folder of Pascal VOC files, or cells.csv of `edgeapl cohorts`"
MAX_BYTES = 2**20
_COLUMNS = ("file", "left", "top", "right", "bottom", "label")
_READER = TableReader(
    what="list of boxes",
    mend=f"columns: {','.join(_COLUMNS)}",
    fits=lambda columns: set(_COLUMNS) <= set(columns),
    error=InputError,
)
Row = tuple[str, str, float, float, float, float]
"""File, label, left, top, right, bottom; px."""


@dataclass(frozen=True, slots=True, eq=False)
class BoxedImage:
    """An image and its cells. boxes : float32 (N, 4), x0 y0 x1 y1, px of the image; N may be 0."""

    file: Path
    boxes: Float32


def read_boxes(source: Path, folder: Path, labels: tuple[str, ...] = ()) -> list[BoxedImage]:
    """Read the images of a folder that have boxes.

    Parameters
    ----------
    source : see `HOW`. folder : of the images, which are found in it by their path, or by their
        name alone where one image has it.
    labels : boxes that count; empty for all. An image without one of these shows no cell.

    Raises InputError for a file that is not understood, a box without area, and an image that is
    not there, or of which one cannot tell which it is.
    """
    images = _Images(folder)
    wanted = {label.casefold() for label in labels}
    found: dict[Path, list[tuple[float, ...]]] = defaultdict(list)
    for name, label, *corners in _rows(source):
        own = found[images.find(name)]
        if label and (not wanted or label.casefold() in wanted):
            left, top, right, bottom = corners
            if not (np.isfinite(corners).all() and right > left and bottom > top):
                raise InputError("box has no area", f"{printable(source)}: {printable(name)}", HOW)
            own.append(tuple(corners))
    if not any(found.values()):
        which = ", ".join(map(printable, labels)) or printable(source)
        raise InputError("no box is of a cell", which, HOW)
    return [
        BoxedImage(file, np.array(own, dtype=np.float32).reshape(-1, 4))
        for file, own in sorted(found.items())
    ]


class _Images:
    """The images of a folder and its sub-folders, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._named: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(folder.rglob("*")):
            if has_image_name(path.name):
                self._named[path.name].append(path)

    def find(self, name: str) -> Path:
        """Return the image that a file of boxes names; an absolute name stands for itself."""
        whole = self._folder / name
        if whole.is_file():
            return whole
        plain = name.replace("\\", "/").rpartition("/")[2]
        found = self._named.get(plain, []) if not Path(name).is_absolute() else []
        if len(found) > 1:
            mend = "name it with its folder, or give one folder at a time"
            raise InputError(f"{len(found)} images have the name", printable(plain), mend)
        if not found:
            mend = f"put it into {printable(self._folder)}"
            raise InputError("image with boxes is missing", printable(name), mend)
        return found[0]


def _rows(source: Path) -> Iterator[Row]:
    if source.is_dir():
        yield from _of_voc(source)
    elif source.suffix.lower() == ".csv":
        yield from _of_list(source)
    else:
        yield from _of_coco(source)


def _of_voc(folder: Path) -> Iterator[Row]:
    files = sorted(folder.glob("*.xml"))
    if not files:
        raise InputError("folder has no Pascal VOC file", printable(folder), HOW)
    for path in files:
        try:
            root = parsed(read_plain_file(path, MAX_BYTES).decode("utf-8-sig"))
            name = _text(root, "filename")
            yield name, "", 0.0, 0.0, 0.0, 0.0  # an image without a cell counts too
            for one in root.iter("object"):
                sides = (f"bndbox/{side}" for side in ("xmin", "ymin", "xmax", "ymax"))
                left, top, right, bottom = (float(_text(one, side)) for side in sides)
                yield name, _text(one, "name"), left, top, right, bottom
        except ValueError as error:
            which = f"{printable(path)}: {error}"
            raise InputError("Pascal VOC file not understood", which, HOW) from error


def _text(element: ET.Element, path: str) -> str:
    text = element.findtext(path)
    if not text:
        raise ValueError(f"no {path}")
    return text.strip()


def _of_list(path: Path) -> Iterator[Row]:
    table = _READER.read(path)
    places = [table.columns.index(name) for name in _COLUMNS if name in table.columns]
    if len(places) < len(_COLUMNS):
        raise InputError("list has no boxes", printable(path), _READER.mend)
    for row in table.rows:
        yield _listed(row, places, path)


def _listed(row: TableRow, places: list[int], path: Path) -> Row:
    name, *corners, label = (row.cells[place] for place in places)
    try:
        left, top, right, bottom = map(float, corners)
    except ValueError as error:
        raise _READER.wrong(path, row.line, "a box is no number") from error
    return name, label, left, top, right, bottom


def _of_coco(path: Path) -> Iterator[Row]:
    document = read_coco(path)
    names: Mapping[object, str] = {one["id"]: one["file_name"] for one in document["images"]}
    kinds = {one.get("id"): str(one.get("name", "cell")) for one in document["categories"]}
    for name in names.values():
        yield name, "", 0.0, 0.0, 0.0, 0.0
    for one in document["annotations"]:
        if one["image_id"] not in names:
            raise InputError("box is of no image", f"{printable(path)}: {one.get('id')}", HOW)
        x, y, width, height = map(float, one["bbox"])
        kind = kinds.get(one.get("category_id"), "cell")
        yield names[one["image_id"]], kind, x, y, x + width, y + height
