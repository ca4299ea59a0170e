"""What colour transfer and test-time augmentation change of the bundle `blood-cells`, set by set.

    python -m tests.data.measure_domain_shift DATA

DATA holds the sets under their usual names. Transfer brings mean and deviation of the colours of a
set's cells, in the decorrelated space of Reinhard et al. 2001, to those of the cells that the
bundle was trained on; of each, the median over cells, so that no single image decides. By frame,
as a bundle with `colour_transfer` does, it takes the colours of the cells of each frame in place of
the set's; a frame is one cell where images show single cells.
Augmentation shows a cell mirrored and turned in its eight ways and takes the mean of the
probabilities. Cells are a fixed random choice. Prints one line for every set and way.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.specs import ColoursSpec
from edgeapl.evaluation.ranking import delong, roc_auc
from edgeapl.export.blood_cells.classes import KINDS
from edgeapl.export.cell_files import score_crops
from edgeapl.model import BLOOD_CELLS, Model, open_model
from edgeapl.pixel_size import SlideScale, measure_ahead
from edgeapl.sources.decode import read_image
from edgeapl.stages.colour_transfer import cell_colours, move_between, moved, spreads
from edgeapl.stages.crop import cut_cells, cut_windows
from edgeapl.stages.intervals import wilson
from edgeapl.stages.whole_image import whole_crop
from edgeapl.types import Colours, Float32, Frame, UInt8

Float64 = NDArray[np.float64]

CELLAVISION_UM_PER_PX, LMU_UM_PER_PX, PBC_UM_PER_PX = 0.1, 29 / 400, 0.1 * 360 / 224
"""LMU: 400 px of 29 µm, Matek et al. 2019. PBC: resized from CellaVision's 360 px."""

HELD_OUT = 5
PER_CLASS, TAUGHT, OTHERS, BCCD_EVERY = 40, 20, 400, 16
IMMATURE = ("promyelocyte", "myelocyte", "metamyelocyte")


@dataclass(frozen=True, slots=True, eq=False)
class CellSet:
    """Cells of a set.

    crops : uint8 (N, S, S, 3). names : of each. colours, of_frames : of each cell, and of all cells
    of its frame together; None where no outline was found.
    """

    crops: UInt8
    names: NDArray[np.str_]
    colours: list[Colours | None]
    of_frames: list[Colours | None]

    @property
    def typical(self) -> Colours:
        """The median over the cells whose outline was found."""
        known = [one.rows for one in self.colours if one is not None]
        if not known:
            raise ValueError("no outline of a cell was found, so the set has no colours")
        mean, deviation = np.median(known, axis=0)
        return Colours(np.asarray(mean, np.float32), np.asarray(deviation, np.float32))


def transferred(crops: UInt8, given: Sequence[Colours | None], wanted: ColoursSpec) -> UInt8:
    """Return crops, uint8 (N, S, S, 3), with the colours of each as they look in the wanted ones.

    Where a cell has none, its crop stays as it is.
    """
    return np.stack(
        [
            crop
            if one is None
            else np.rint(moved(crop, move_between(one, wanted))).astype(np.uint8)
            for crop, one in zip(crops, given, strict=True)
        ]
    )


def usable(colours: Colours | None) -> Colours | None:
    """Return colours that can be moved."""
    return colours if colours is not None and spreads(colours) else None


def cells_of_files(model: Model, files: Sequence[Path], names: list[str], scale: float) -> CellSet:
    """Cut the cell in the middle of every file."""
    crops: list[UInt8] = []
    colours: list[Colours | None] = []
    for file in files:
        pixels = read_image(file).pixels
        middle = np.array([[pixels.shape[1] / 2, pixels.shape[0] / 2]], np.float32)
        crops.append(cut_windows(pixels, middle, scale, model.bundle.manifest.crop))
        found = whole_crop(Frame(pixels, 0, 0, scale, file.name, "0" * 64), model.segmenter)
        colours.append(usable(cell_colours(found)) if found.scores[0] > 0 else None)
    return CellSet(np.concatenate(crops), np.array(names), colours, colours)


def cells_of_fields(model: Model, files: Sequence[Path]) -> CellSet:
    """Find and cut the cells of fields; the scale is measured from their red cells."""
    scale = SlideScale(None, model.bundle.manifest.um_per_px)
    measure_ahead(scale, files)
    crops: list[UInt8] = []
    colours: list[Colours | None] = []
    of_frames: list[Colours | None] = []
    for index, file in enumerate(files):
        pixels = read_image(file).pixels
        um_per_px, _ = scale(pixels)
        frame = Frame(pixels, index, 0, um_per_px, file.name, "0" * 64)
        found = model.segmenter.segment(frame)
        crops.append(cut_cells(found, model.bundle.manifest.crop))
        rows = [np.array([row], dtype=np.int64) for row in range(len(found))]
        colours += [usable(cell_colours(found.only(row))) for row in rows]
        of_frames += [usable(cell_colours(found))] * len(found)
    names = np.full(len(colours), "normal")
    return CellSet(np.concatenate(crops), names, colours, of_frames)


def probabilities(model: Model, crops: UInt8, *, augmented: bool) -> dict[str, Float64]:
    """Return the probability of each kind, with `augmented` the mean over eight views."""
    views = [crops]
    if augmented:
        turned = [np.rot90(crops, turns, (1, 2)) for turns in range(4)]
        views = [np.ascontiguousarray(x) for one in turned for x in (one, one[:, :, ::-1])]
    scores = [score_crops(model, view).roles for view in views]
    return {kind: np.mean([one[kind] for one in scores], axis=0) for kind in KINDS}


def accuracy(names: NDArray[np.str_], found: dict[str, Float64]) -> str:
    """Return the share of cells that are called by their name."""
    called = np.array(KINDS)[np.stack([found[kind] for kind in KINDS]).argmax(axis=0)]
    right = int((called == names).sum())
    around = wilson(right, len(names), 0.95)
    share = right / len(names)
    return f"right {right}/{len(names)} {share:.3f} ({around.low:.3f} to {around.high:.3f})"


def area(names: NDArray[np.str_], found: dict[str, Float64]) -> str:
    """Return the area under the curve of promyelocytes against others."""
    truth, values = names == "promyelocyte", np.asarray(found["promyelocyte"], np.float64)
    low, high = delong(truth, values) or (float("nan"), float("nan"))
    count = f"{int(truth.sum())} of {len(names)}"
    return f"area {roc_auc(truth, values):.3f} ({low:.3f} to {high:.3f}), {count}"


def alarms(names: NDArray[np.str_], found: dict[str, Float64]) -> str:
    """Return how many cells of healthy people are called immature."""
    called = int((np.sum([found[kind] for kind in IMMATURE], axis=0) >= 0.5).sum())
    around = wilson(called, len(names), 0.95)
    return f"called immature {called}/{len(names)} ({around.low:.3f} to {around.high:.3f})"


def floats(values: Float32) -> tuple[float, float, float]:
    """Return three numbers as the manifest takes them."""
    first, second, third = values.tolist()
    return first, second, third


def report(
    model: Model,
    name: str,
    cells: CellSet,
    wanted: Colours,
    figure: Callable[[NDArray[np.str_], dict[str, Float64]], str],
) -> None:
    """Print the figure of a set in each of the six ways."""
    to = ColoursSpec(mean=floats(wanted.mean), deviation=floats(wanted.deviation))
    by_set = transferred(cells.crops, [cells.typical] * len(cells.crops), to)
    by_frame = transferred(cells.crops, cells.of_frames, to)
    ways = {"": cells.crops, "transfer": by_set, "transfer by frame": by_frame}
    for transfer, crops in ways.items():
        for augmented in (False, True):
            way = " and ".join(filter(None, (transfer, "augmentation" if augmented else "")))
            found = probabilities(model, crops, augmented=augmented)
            print(f"{name} | {way or 'none'} | {figure(cells.names, found)}", flush=True)


def pbc(model: Model, folder: Path, most: int, *, held_out: bool) -> CellSet:
    """Read cells of the bundle's own set, of every kind alike."""
    files: list[Path] = []
    for kind in KINDS:
        own = [
            file
            for file in sorted((folder / kind).glob("*.jpg"))
            if (int(file.stem.rpartition("_")[2]) // 1000 % HELD_OUT == 0) == held_out
        ]
        files += random.Random(kind).sample(own, min(most, len(own)))
    return cells_of_files(model, files, [file.parent.name for file in files], PBC_UM_PER_PX)


def discovery(model: Model, folder: Path) -> CellSet:
    """Read all promyelocytes, and some of the other cells."""
    everything = sorted(folder.glob("*/*/*.jpg"))
    files = [file for file in everything if file.parent.name == "Promyelocyte"]
    others = [file for file in everything if file.parent.name != "Promyelocyte"]
    files += random.Random(1).sample(others, min(OTHERS, len(others)))
    names = [file.parent.name.lower() for file in files]
    return cells_of_files(model, files, names, CELLAVISION_UM_PER_PX)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    cv2.setNumThreads(1)
    with open_model(BLOOD_CELLS) as model:
        wanted = pbc(model, data / "pbc224", TAUGHT, held_out=False).typical
        own = pbc(model, data / "pbc224", PER_CLASS, held_out=True)
        report(model, "pbc224", own, wanted, accuracy)
        report(model, "pbc224", own, wanted, area)
        lmu = sorted((data / "aml_lmu_sample").glob("*.tiff"))
        kinds = ["promyelocyte" if file.name[:3] in ("PMO", "PMB") else "other" for file in lmu]
        cells = cells_of_files(model, lmu, kinds, LMU_UM_PER_PX)
        report(model, "aml_lmu_sample", cells, wanted, area)
        cells = discovery(model, data / "deepapl_discovery")
        report(model, "deepapl_discovery", cells, wanted, area)
        fields = {
            "chula_wbc": sorted((data / "chula_wbc/images").glob("*.jpg")),
            "draaslan": sorted((data / "draaslan/images").glob("*.png")),
            "bccd": sorted((data / "bccd/JPEGImages").glob("*.jpg"))[::BCCD_EVERY],
        }
        for name, files in fields.items():
            report(model, name, cells_of_fields(model, files), wanted, alarms)


if __name__ == "__main__":
    main()
