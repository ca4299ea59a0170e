"""Images of cells, one folder per class, as torchvision and `score --crops` read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeapl.errors import InputError
from edgeapl.labelling.cell import LabelledSlide
from edgeapl.labelling.crops import MARGIN_UM, FrameReader, cut
from edgeapl.labelling.storage import LabelsFolder
from edgeapl.report.pictures import png_bytes
from edgeapl.report.safe_names import safe_name

Tell = Callable[[InputError], None]


def write_crops(
    slides: Sequence[LabelledSlide],
    out: LabelsFolder,
    frames: FrameReader,
    tell: Tell,
    margin_um: float = MARGIN_UM,
) -> dict[tuple[str, int], str]:
    """Write ``CLASS/SLIDE_CELL.png`` for every cell with a class, frame by frame.

    A frame that cannot be read is reported, and its cells have no image. Returns each image's path
    by the record's folder and the cell's number. Raises StorageError.
    """
    files = {}
    for slide in slides:
        for frame in slide.frames:
            wanted = [cell for cell in frame.cells if cell.label]
            if not wanted:
                continue
            try:
                pixels = frames.read(frame)
            except InputError as error:
                tell(error)
                continue
            for cell in wanted:
                # The folder of a record has a safe and unique name.
                name = f"{safe_name(cell.label)}/{slide.home.name}_{cell.number:05d}.png"
                crop = cut(pixels, cell.box, frame.um_per_px, margin_um)
                out.add(name, png_bytes(crop))
                files[slide.home.name, cell.number] = name
    return files
