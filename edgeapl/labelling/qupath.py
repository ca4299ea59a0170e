"""The outlines of all frames for QuPath, with people's corrections, and a script to import them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any

from edgeapl.errors import InputError
from edgeapl.labelling.cell import LabelledCell, LabelledFrame, LabelledSlide
from edgeapl.labelling.reader import AGAIN, geojson_file
from edgeapl.labelling.storage import LabelsFolder
from edgeapl.report.cell_classes import OTHER, in_words
from edgeapl.wording.printable import printable

SCRIPT = "import_cells.groovy"
INDEX = "images.json"
_PLACE = "def FOLDER = ''"


def write_qupath(slides: Sequence[LabelledSlide], out: LabelsFolder, place: Path) -> None:
    """Write the GeoJSON of every frame, the list of images they belong to, and the script.

    place : the final path of the folder; the script looks there. Raises InputError when a frame has
    no outlines, StorageError.
    """
    index = []
    for slide in slides:
        for frame in slide.frames:
            file = geojson_file(slide.home, frame.number)
            if file is None:
                what = "images of single cells have no outlines to show in QuPath"
                raise InputError(what, printable(slide.home), "use --format folders")
            name = f"geojson/{slide.home.name}/{file.name}"
            out.add(name, _with_corrections(file, frame))
            index.append(_entry(slide, frame, name))
    out.add(INDEX, (json.dumps({"images": index}, indent=1) + "\n").encode("ascii"))
    script = files("edgeapl.labelling").joinpath(SCRIPT).read_text(encoding="utf-8")
    where = json.dumps(place.as_posix()).replace("$", "\\$")
    out.add(SCRIPT, script.replace(_PLACE, f"def FOLDER = {where}").encode("utf-8"))


def _entry(slide: LabelledSlide, frame: LabelledFrame, geojson: str) -> dict[str, Any]:
    file, _, part = frame.source.rpartition("#")
    path = file if file and part.isdecimal() else frame.source
    return {
        "image": printable(PurePath(path).name),
        "path": printable(PurePath(path).as_posix()),
        "part": int(part) if path != frame.source else None,
        "width": frame.width,
        "height": frame.height,
        "slide": printable(slide.slide),
        "geojson": geojson,
    }


def _with_corrections(file: Path, frame: LabelledFrame) -> bytes:
    """Return a frame's GeoJSON, in which corrected cells have the names that people gave them."""
    try:
        collection = json.loads(file.read_text(encoding="utf-8"))
        features = collection["features"]
        colours = {
            one["properties"]["classification"]["name"]: one["properties"]["classification"][
                "color"
            ]
            for one in features
        }
        named = {f"cell {cell.number}": cell for cell in frame.cells}
        for feature in features:
            _rename(feature["properties"], named[feature["properties"]["name"]], colours)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("results of a slide are damaged", printable(file), AGAIN) from error
    return json.dumps(collection, allow_nan=False, ensure_ascii=True).encode("ascii")


def _rename(
    properties: dict[str, Any], cell: LabelledCell, colours: Mapping[str, Sequence[int]]
) -> None:
    word = cell.correction
    if word is None:
        return
    name = in_words(word.label)
    colour = list(colours.get(name, OTHER.colour))
    properties["classification"] = {"name": printable(name), "color": colour}
    properties["metadata"] |= {
        "machine_class": cell.machine_class,
        "corrected_by": printable(word.person),
        "corrected_at": word.time,
    }
