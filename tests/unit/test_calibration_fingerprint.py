"""Limits from few slides let their like pass and stop others."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.calibration.cells import SlideSeen
from edgeapl.calibration.fingerprint import FEWEST_SLIDES, SOUND_SLIDES, Strength, fingerprint
from edgeapl.pixel_size import SlideScale, measure_ahead
from edgeapl.sources.decode import read_image
from edgeapl.sources.discover import find_slides
from edgeapl.stages.domain import FEWEST_CELLS, DomainModel
from edgeapl.stages.domain_fit import fit_domain_model_to_few
from edgeapl.stages.frame_descriptor import FrameDescriptor, describe_frame
from edgeapl.stages.segment import HsvWatershed
from edgeapl.stages.slide_descriptor import describe_slide
from edgeapl.stages.whole_image import whole_crop
from edgeapl.types import Frame

Slide = dict[str, NDArray[np.float64]]


def drawn(count: int, seed: int, away: float = 0.0) -> list[Slide]:
    random = np.random.default_rng(seed)
    return [
        {
            "stain": random.normal(away, 0.1, 4),
            "size": random.normal(5 + away, 0.3, 1),
            "features": random.normal(away, 1, 64),
        }
        for _ in range(count)
    ]


def outside(model: DomainModel, slides: Sequence[Slide]) -> float:
    return float(np.mean([bool(model.judge([FrameDescriptor(40, slide)])) for slide in slides]))


@pytest.mark.parametrize("count", [5, 10, 20, 50])
def test_slides_of_the_same_kind_pass_however_few_set_the_limits(count: int) -> None:
    shares = [
        outside(fit_domain_model_to_few(drawn(count, seed)), drawn(30, 1000 + seed))
        for seed in range(20)
    ]
    assert np.mean(shares) <= 0.04  # three groups, 0.5 % each, and their spread


@pytest.mark.parametrize(("count", "away"), [(5, 4.0), (10, 1.5), (50, 1.0)])
def test_others_do_not_and_more_slides_notice_smaller_differences(count: int, away: float) -> None:
    model = fit_domain_model_to_few(drawn(count, 1))
    assert outside(model, drawn(30, 2, away)) >= 0.95


def test_limits_grow_narrower_with_the_slides() -> None:
    limits = [
        np.mean(
            [
                fit_domain_model_to_few(drawn(count, seed)).distances(drawn(1, 0)[0])["stain"][1]
                for seed in range(20)
            ]
        )
        for count in (5, 10, 50)
    ]
    assert limits[0] > limits[1] > limits[2]


def test_slides_that_are_all_alike_do_not_make_one_grey_level_foreign() -> None:
    light = np.array([0.0984, -0.1237])
    model = fit_domain_model_to_few([{"light": light} for _ in range(8)])
    assert not outside(model, [{"light": light + 0.004}])
    assert outside(model, [{"light": light + 0.1}])


def test_a_group_without_numbers_is_left_out() -> None:
    slides = [{**slide, "features": np.empty(0)} for slide in drawn(6, 1)]
    assert set(fit_domain_model_to_few(slides).distances(slides[0])) == {"stain", "size"}


def seen(slides: Sequence[Slide], cells: int = 40) -> list[SlideSeen]:
    return [
        SlideSeen(f"slide{number}", 1, cells=cells, frames=[FrameDescriptor(cells, slide)])
        for number, slide in enumerate(slides)
    ]


@pytest.mark.parametrize(
    ("slides", "strength"),
    [
        (FEWEST_SLIDES - 1, Strength.NONE),
        (FEWEST_SLIDES, Strength.WEAK),
        (SOUND_SLIDES - 1, Strength.WEAK),
        (SOUND_SLIDES, Strength.SOUND),
    ],
)
def test_it_says_what_it_is_worth(slides: int, strength: Strength) -> None:
    made = fingerprint([*seen(drawn(slides, 1)), *seen(drawn(9, 2), cells=FEWEST_CELLS - 1)])
    assert made.strength is strength
    assert len(made.slides) == slides
    assert (made.data is None) == (strength is Strength.NONE)
    if made.data is not None:
        DomainModel.load(io.BytesIO(made.data))


@pytest.mark.parametrize(("sharpness", "asked"), [(2.0, 1.6), (4.0, 3.2)])
def test_the_gate_shall_ask_for_almost_the_sharpness_of_the_set(
    sharpness: float, asked: float
) -> None:
    slides = drawn(20, 1)
    for number, slide in enumerate(slides):
        # One blurred image among twenty does not count.
        slide["focus"] = np.array([-np.log(0.2 if number == 0 else sharpness)])
    assert fingerprint(seen(slides)).min_focus == pytest.approx(asked, rel=0.1)
    assert fingerprint(seen(slides[:3])).min_focus is None


def described(files: Sequence[Path], um_per_px: float | None, *, crops: bool) -> Slide:
    segmenter = HsvWatershed()
    scale = SlideScale(um_per_px, 0.1)
    measure_ahead(scale, files)
    frames = []
    for file in files:
        image = read_image(file)
        value, origin = scale(image.pixels)
        frame = Frame(image.pixels, 0, 0, value, str(file), image.sha256, origin)
        found = whole_crop(frame, segmenter) if crops else segmenter.segment(frame)
        if len(found):
            frames.append(describe_frame(frame, found, np.zeros((len(found), 0), np.float32)))
    return describe_slide(frames)


@pytest.mark.real_data
@pytest.mark.slow
def test_half_of_a_laboratorys_patients_pass_the_others_and_stop_other_laboratories(
    real_data: Path,
) -> None:
    """By stain, light, size and focus alone; a network's features only add to it."""
    patients = [
        described(slide.files[::6], 0.1, crops=True)
        for slide in find_slides(real_data / "deepapl_discovery", crops=True).slides
    ]
    model = fit_domain_model_to_few(patients[::2])
    assert outside(model, patients[1::2]) <= 0.2
    fields = {
        "bccd": sorted((real_data / "bccd").rglob("*.jpg"))[:12],
        "chula": sorted((real_data / "chula_wbc").rglob("*.jpg"))[:5],
    }
    for name, files in fields.items():
        assert outside(model, [described(files, None, crops=False)]) == 1, name
