"""Images of single cells in a folder per class, of unknown patients."""

from __future__ import annotations

from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.export.training.labelled_set import LabelledImage, LabelledSet
from edgeapl.sources.discover import find_slides, split_left_out
from edgeapl.wording.names import canonical_name
from edgeapl.wording.printable import printable


def read_cell_folders(folder: Path, leave_out: tuple[str, ...] = ()) -> LabelledSet:
    """Read a folder that holds a folder per class of cells.

    Every image is one cell, whose class is the name of the folder that it lies in, and stands for
    itself where a split is made. leave_out : folders whose images the model is not made for.

    Raises InputError when there is none.
    """
    found = [file for slide in find_slides(folder, crops=True).slides for file in slide.files]
    files, out = split_left_out([file for file in found if file.parent != folder], leave_out)
    if not files:
        mend = "give a folder that holds a folder of images per class, or give --labels"
        raise InputError("no folder of cells", printable(folder), mend)
    images = []
    for file in files:
        name = canonical_name(file.relative_to(folder).as_posix())
        images.append(LabelledImage(file, name, name, "", canonical_name(file.parent.name)))
    left_out = {"images in folders that are left out": len(out)} if out else {}
    return LabelledSet(printable(folder.resolve().name), tuple(images), left_out, by_image=True)
