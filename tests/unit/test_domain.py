"""The guard notices images unlike those the model was made for."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.stages.domain import FEWEST_CELLS, DomainModel
from edgeapl.stages.domain_fit import fit_domain_model
from edgeapl.stages.findings import Effect
from edgeapl.stages.frame_descriptor import FrameDescriptor, describe_frame
from edgeapl.stages.segment import HsvWatershed
from edgeapl.types import Frame, UInt8
from tests.small_bundle import drawn_field

Slide = dict[str, NDArray[np.float64]]


def slides(count: int, seed: int) -> list[Slide]:
    random = np.random.default_rng(seed)
    return [
        {"stain": random.normal(0, 1, 4), "size": random.normal(3, 0.1, 1)} for _ in range(count)
    ]


@pytest.fixture(scope="module")
def guard() -> DomainModel:
    return fit_domain_model(slides(200, 1), slides(100, 2))


def frame(values: Slide, cells: int = 40) -> FrameDescriptor:
    return FrameDescriptor(cells, values)


def test_slides_like_those_it_was_made_on_pass(guard: DomainModel) -> None:
    passed = sum(not guard.judge([frame(slide)]) for slide in slides(100, 3))
    assert passed >= 95


@pytest.mark.parametrize("group", ["stain", "size"])
def test_another_stain_or_size_is_not_trusted_and_named(guard: DomainModel, group: str) -> None:
    slide = slides(1, 4)[0]
    slide[group] = slide[group] + 8
    (finding,) = guard.judge([frame(slide)])
    assert finding.code == f"domain_{group}"
    assert finding.effect is Effect.UNTRUSTED


def test_a_descriptor_without_a_number_is_not_trusted(guard: DomainModel) -> None:
    slide = {**slides(1, 4)[0], "size": np.array([np.nan])}
    codes = [finding.code for finding in guard.judge([frame(slide)])]
    assert "domain_size" in codes


def test_too_few_cells_can_not_be_told(guard: DomainModel) -> None:
    (finding,) = guard.judge([frame(slides(1, 5)[0], FEWEST_CELLS - 1)])
    assert finding.code == "domain_unknown"
    assert finding.effect is Effect.UNTRUSTED
    assert guard.judge([])[0].code == "domain_unknown"


def test_one_odd_frame_among_many_does_not_change_the_slide(guard: DomainModel) -> None:
    slide = slides(1, 6)[0]
    odd = {name: values + 50 for name, values in slide.items()}
    assert not guard.judge([frame(slide), frame(slide), frame(odd)])


def test_what_is_saved_is_loaded(guard: DomainModel) -> None:
    file = io.BytesIO()
    guard.save(file)
    loaded = DomainModel.load(io.BytesIO(file.getvalue()))
    for slide in slides(5, 7):
        assert loaded.distances(slide) == guard.distances(slide)


def described(pixels: UInt8) -> Slide:
    seen = Frame(pixels, 0, 0, 0.2, "drawn", "0" * 64)
    found = HsvWatershed().segment(seen)
    return describe_frame(seen, found, np.zeros((len(found), 2), np.float32)).values


def test_a_weaker_lamp_is_no_other_stain_but_a_coloured_one_is_other_light() -> None:
    field = drawn_field().astype(np.float64)
    plain = described(field.astype(np.uint8))
    dim = described((field * 0.8).astype(np.uint8))
    np.testing.assert_allclose(dim["stain"], plain["stain"], atol=0.02)
    np.testing.assert_allclose(dim["light"], plain["light"], atol=0.02)
    green = described((field * [0.7, 1, 0.8]).astype(np.uint8))
    assert np.abs(green["light"] - plain["light"]).max() > 0.2
