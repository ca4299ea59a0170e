"""Where nobody states the scale of images that a bundle is made or proven with, it is said."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from edgeapl import pixel_size
from edgeapl.calibration.builder.proof_slides import proof_slides
from edgeapl.calibration.calibration_set import check_collected
from edgeapl.calibration.calibrator import CalibrateRequest, calibrate
from edgeapl.calibration.cells import Cell, CollectedCells, SlideSeen
from edgeapl.calibration.disk_array import DiskArray
from edgeapl.errors import InputError
from edgeapl.slide_findings import scale_doubts
from edgeapl.stages.segment import HsvWatershed
from edgeapl.types import ScaleOrigin, UInt8
from tests.conv_bundle import conv_bundle, write_slides

ASSUMED = "scale not stated and not measurable; 0.200 µm per pixel was assumed: give --um-per-px"


@pytest.fixture
def _nothing_measurable(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(pixels: UInt8) -> None:
        return None

    monkeypatch.setattr(pixel_size, "measure_scale", none)


def test_what_is_stated_or_measured_is_no_guess() -> None:
    sure = Counter({(ScaleOrigin.STATED, 0.2): 3, (ScaleOrigin.MEASURED, 0.2): 2})
    assert scale_doubts(sure) == ()
    guessed = Counter({(ScaleOrigin.ASSUMED, 0.2): 1, (ScaleOrigin.ESTIMATED, 0.1): 1})
    estimated, assumed = scale_doubts(guessed)
    assert "estimated: 0.100 µm per pixel (0.050 to 0.200)" in estimated
    assert assumed == ASSUMED


def gathered(folder: Path, origin: ScaleOrigin) -> CollectedCells:
    made = CollectedCells(DiskArray(folder / "rows"))
    for name in ("a", "b"):
        scales = Counter({(origin if name == "b" else ScaleOrigin.STATED, 0.2): 4})
        made.slides.append(SlideSeen(name, 4, cells=15, scales=scales))
        made.cells += [Cell(name, "0", "0.png", None, "x", 0.0)] * 15
    return made


def test_slides_of_unknown_scale_calibrate_nothing(tmp_path: Path) -> None:
    """Their cells would be taken for cells of the usual size."""
    unknown = gathered(tmp_path, ScaleOrigin.ASSUMED)
    with pytest.raises(InputError, match="neither stated nor measurable: b: give --um-per-px"):
        check_collected(unknown, leave_out_unusable=False)
    check_collected(unknown, leave_out_unusable=False, scale_matters=False)
    for origin in (ScaleOrigin.ESTIMATED, ScaleOrigin.MEASURED, ScaleOrigin.STATED):
        check_collected(gathered(tmp_path, origin), leave_out_unusable=False)


@pytest.mark.usefixtures("_nothing_measurable")
def test_calibrate_wants_the_scale_of_fields_and_proofs_say_what_they_assumed(
    tmp_path: Path,
) -> None:
    bundle = conv_bundle(tmp_path / "bundle")
    slides = write_slides(tmp_path / "smears", slides=3, frames=2)
    request = CalibrateRequest(bundle.folder, slides, out=tmp_path / "out")
    with pytest.raises(InputError, match="neither stated nor measurable"):
        calibrate(request, lambda text, share: None)
    assert not (tmp_path / "out").exists()
    for um_per_px in (None, 0.2):
        work = tmp_path / f"work {um_per_px}"
        work.mkdir()
        found = proof_slides(
            bundle, HsvWatershed(), slides, work, cell_images=False, um_per_px=um_per_px
        )
        assert (ASSUMED in found.words) is (um_per_px is None)
