"""From a bundle and images to the bundle's next version, with ranges, set and fingerprint."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.calibration import document, fingerprint
from edgeapl.calibration.bundle_writer import write_calibrated
from edgeapl.calibration.calibration_set import check_collected, choose, one_slide
from edgeapl.calibration.cell_collection import CollectionOptions, collect_cells
from edgeapl.calibration.cells import CollectedCells, Field
from edgeapl.calibration.held_out import Excluded, overlap, read_exclusions, refuse_named
from edgeapl.calibration.inputs import (
    fp32_opener,
    network_inputs,
)
from edgeapl.calibration.networks import Tell, measure_networks
from edgeapl.calibration.range_measurement import MeasurementOptions
from edgeapl.calibration.ranges import PERCENTILE, Method
from edgeapl.calibration.sampling import evenly_spaced
from edgeapl.calibration.versions import target_of
from edgeapl.engines.exclusive import ExclusiveEngines
from edgeapl.errors import InputError
from edgeapl.model.assembled import assemble
from edgeapl.model.golden import self_test
from edgeapl.sources.decode import read_source
from edgeapl.sources.discover import SlideInput, find_slides
from edgeapl.types import Frame, Signer, UInt8

CELLS_IN_MEMORY = 64
MOST_DETECTOR_FRAMES = 16


@dataclass(frozen=True, slots=True)
class CalibrateRequest:
    """What to calibrate, and on which images.

    bundle : replaced by its next version unless `out` names another place.
    frames : images, or sub-folders with images, one per slide. crops : every image is one cell.
    exclude : CSV of test slides; they are refused, or skipped with `leave_out_excluded`.
    leave_out_unusable : continue without black, blurred or damaged images.
    um_per_px : scale of all images; None to measure it.
    size : cells for the ranges; None for as many as make them stable.
    threads : CPU threads per run of a network.
    """

    bundle: Path
    frames: Path
    crops: bool = False
    exclude: Path | None = None
    leave_out_excluded: bool = False
    leave_out_unusable: bool = False
    um_per_px: float | None = None
    size: int | None = None
    method: Method = "percentile"
    percentile: float = PERCENTILE
    out: Path | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The new bundle, and its `calibration-set.json` as plain values.

    signer : of the previous version; the new one is unsigned.
    lost_certificate : the previous version could clear; the new one judges differently.
    """

    bundle: Bundle
    report: dict[str, Any]
    signer: Signer | None = None
    lost_certificate: bool = False


def calibrate(request: CalibrateRequest, tell: Tell) -> Calibrated:
    """Choose the set, measure ranges, describe the slides and write the bundle's next version.

    Nothing is replaced unless everything succeeded. Raises UsageError or InputError when the set is
    unfit, BundleError or EngineError when the bundle is, StorageError when there is no space.
    """
    bundle = open_bundle(request.bundle)
    target = target_of(request.bundle, request.out)
    slides, excluded, left_out = _slides(request)
    with tempfile.TemporaryDirectory(prefix="edgeapl-calibrate-") as folder:
        work = Path(folder)
        how = CollectionOptions(request.crops, request.um_per_px, request.size, excluded.digests)
        gathered = gather_cells(bundle, slides, how, work, tell, request.threads)
        if not request.leave_out_excluded:
            _refuse_excluded(gathered)
        check_collected(
            gathered,
            leave_out_unusable=request.leave_out_unusable,
            scale_matters=not request.crops and bundle.manifest.segmenter.kind != "field",
        )
        chosen = choose(gathered, request.size)
        fields = _detector_frames(request, bundle, gathered, chosen.held_back)
        tell("run the chosen cells through all networks", 0.0)
        inputs = network_inputs(
            bundle.manifest,
            fp32_opener(bundle, request.threads),
            _crops(gathered, chosen.rows),
            _frames(fields),
            work,
        )
        measuring = MeasurementOptions(
            request.method,
            request.percentile,
            grow=request.size is None,
            threads=request.threads,
        )
        measured, networks = measure_networks(bundle, inputs, measuring, tell)
    used = [gathered.cells[row] for row in chosen.rows[: measured.images]]
    tell("describe the slides", 0.0)
    facts = document.CalibrationResult(
        parent=bundle.digest,
        crops=request.crops,
        gathered=gathered,
        chosen=chosen,
        used=used,
        fields=fields,
        excluded=left_out,
        measured=measured,
        networks=networks,
        fingerprint=fingerprint.fingerprint(gathered.slides),
    )
    tell("write the bundle", 0.0)
    written = write_calibrated(bundle, facts, target)
    lost = bundle.manifest.certificate is not None
    return Calibrated(written, document.set_document(facts), bundle.signer, lost)


def _slides(request: CalibrateRequest) -> tuple[tuple[SlideInput, ...], Excluded, list[str]]:
    """Return the slides to examine, the exclusions, and the names of those skipped."""
    slides = find_slides(request.frames, crops=request.crops).slides
    excluded = Excluded()
    left_out: list[str] = []
    if request.exclude is not None:
        excluded = read_exclusions(request.exclude, request.frames)
        if request.leave_out_excluded:
            left_out = [slide.name for slide in slides if excluded.names_slide(slide)]
            slides = tuple(slide for slide in slides if slide.name not in left_out)
        refuse_named(slides, excluded)
    if not slides:
        mend = "give slides that are not for testing"
        raise InputError("calibration set holds test slides only", request.frames, mend)
    if len(slides) < 2:
        raise one_slide(slides[0].name)
    return slides, excluded, left_out


def gather_cells(
    bundle: Bundle,
    slides: Sequence[SlideInput],
    how: CollectionOptions,
    work: Path,
    tell: Tell,
    threads: int = 1,
) -> CollectedCells:
    """Collect cells of slides, and the answers of the bundle's own networks; see `collect_cells`.

    One network is in memory at a time. Raises EngineError when the self-test fails.
    """
    opener = fp32_opener(bundle, threads)
    with ExclusiveEngines(tuple(bundle.manifest.networks), opener) as engines:
        model = assemble(bundle, engines)
        tell("self-test of the bundle", 0.0)
        model.reducer.check_head(model.head)
        self_test(model)
        return collect_cells(
            model,
            slides,
            how,
            work,
            lambda done, of: tell(f"look at {of} slides", done / of),
        )


def _refuse_excluded(gathered: CollectedCells) -> None:
    """Raise UsageError when images of test slides appear under other names."""
    found = [f"{slide.name}/{file}" for slide in gathered.slides for file in slide.excluded]
    if found:
        raise overlap("image", found)


def _detector_frames(
    request: CalibrateRequest, bundle: Bundle, gathered: CollectedCells, held_back: Sequence[str]
) -> list[Field]:
    if bundle.manifest.segmenter.detector is None or request.crops:
        return []
    usable = [field for field in gathered.fields if field.slide not in held_back]
    return evenly_spaced(usable, MOST_DETECTOR_FRAMES)


def _crops(gathered: CollectedCells, rows: Sequence[int]) -> Iterator[UInt8]:
    for first in range(0, len(rows), CELLS_IN_MEMORY):
        batch = gathered.crops.rows(rows[first : first + CELLS_IN_MEMORY])
        yield np.asarray(batch, dtype=np.uint8)


def _frames(fields: Sequence[Field]) -> Iterator[Frame]:
    for index, field in enumerate(fields):
        image = read_source(field.path)
        if image.digest != field.digest:
            raise InputError("image changed while it was used", field.path, "run it again")
        yield Frame(image.pixels, index, 0, field.um_per_px, str(field.path), image.digest)
