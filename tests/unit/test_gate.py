"""A frame that nothing can be learned from does not pass, and a good one does."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from edgeapl.bundle.specs import GateSpec
from edgeapl.stages.focus import Edges, focus_measure
from edgeapl.stages.gate import (
    SAME_FIELD,
    FieldHistory,
    examine,
    examine_crop,
    light_reasons,
    look_of,
)
from edgeapl.stages.motion import MOVED_BELOW, evenness_of, is_moved
from edgeapl.types import UInt8
from tests.pictures import UM_PER_PX, field, frame

GATE = GateSpec(min_focus=1.4)


def codes(pixels: UInt8, memory: FieldHistory | None = None) -> list[str]:
    reasons, _ = examine(frame(pixels), GATE, memory or FieldHistory())
    return [reason.code for reason in reasons]


def blurred(pixels: UInt8, um: float) -> UInt8:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), um / UM_PER_PX), np.uint8)


def moved(pixels: UInt8, um: float, degrees: float) -> UInt8:
    """Blur along a line, as when the stage moves so far while the image is taken."""
    side = round(um / UM_PER_PX) | 1
    line = np.zeros((side, side), np.float32)
    line[side // 2] = 1
    turn = cv2.getRotationMatrix2D((side // 2, side // 2), degrees, 1)
    line = np.asarray(cv2.warpAffine(line, turn, (side, side)), np.float32)
    return np.asarray(cv2.filter2D(pixels, -1, line / line.sum()), np.uint8)


def noisy(pixels: UInt8, sigma: float) -> UInt8:
    noise = np.random.default_rng(1).normal(0, sigma, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def overexposed() -> UInt8:
    brighter = np.clip(field(1).astype(np.int64) + 30, 0, 255)
    return np.asarray(brighter, np.uint8)


def grey() -> UInt8:
    return np.repeat(field(1)[..., 1:2], 3, axis=2)


@pytest.mark.parametrize(
    ("pixels", "code"),
    [
        (np.zeros((240, 320, 3), np.uint8), "black"),
        (noisy(np.full((240, 320, 3), 8, np.uint8), 6), "black"),
        (field(1) // 6, "black"),
        (np.full((240, 320, 3), 255, np.uint8), "saturated"),
        (overexposed(), "saturated"),
        (np.full((240, 320, 3), 128, np.uint8), "flat"),
        (noisy(np.full((240, 320, 3), 200, np.uint8), 2), "flat"),
        (grey(), "colourless"),
        (blurred(field(1), 1.5), "unfocused"),
        (noisy(blurred(field(1), 1.5), 4), "unfocused"),
        (blurred(field(1), 4), "unfocused"),
        (moved(field(4, 960, 1280), 4, 0), "moved"),
        (moved(field(4, 960, 1280), 4, 45), "moved"),
        (moved(field(4, 960, 1280), 4, 90), "moved"),
        (noisy(moved(field(4, 960, 1280), 6, 20), 3), "moved"),
    ],
)
def test_a_frame_without_use_does_not_pass(pixels: UInt8, code: str) -> None:
    assert codes(pixels) == [code]


@pytest.mark.parametrize(
    "pixels", [field(1), field(2), noisy(field(3), 4), field(1) // 2, field(4, 960, 1280)]
)
def test_a_good_field_passes(pixels: UInt8) -> None:
    assert codes(pixels) == []


def close_field(seed: int, moved_um: float = 0, *, bar: bool = False) -> Edges:
    """The edge of one large cell that is cut, and two small ones, as close fields show them.

    moved_um : along that edge. bar : a scale bar is drawn on it afterwards.
    """
    um_per_px, side = 0.05, 320
    random = np.random.default_rng(seed)
    stain = np.zeros((side, side), np.float32)
    cv2.circle(stain, (-130, side // 2 + int(random.integers(-20, 20))), 200, 1.0, -1)
    for _ in range(2):
        x, y, radius = (int(random.integers(*few)) for few in ((130, 300), (20, 300), (10, 18)))
        cv2.circle(stain, (x, y), radius, 0.45, -1)
    stain = np.asarray(cv2.GaussianBlur(stain, (0, 0), 0.3 / um_per_px), np.float32)
    light = np.array([235, 228, 235]) * 10 ** -(stain[..., None] * np.array([0.3, 0.5, 0.12]))
    length = round(moved_um / um_per_px) | 1
    line = np.full((length, 1), 1 / length, np.float32)
    light = np.asarray(cv2.filter2D(light, -1, line, borderType=cv2.BORDER_REFLECT))
    pixels = np.clip(light + random.normal(0, 1.5, light.shape), 0, 255).astype(np.uint8)
    if bar:
        pixels[250:262, 120:250] = 255
    return Edges(pixels, um_per_px)


@pytest.mark.parametrize("seed", range(4))
def test_of_few_large_cells_the_edges_may_lean_but_only_motion_blurs_them_one_way(
    seed: int,
) -> None:
    still = close_field(seed)
    assert evenness_of(still) < 1.1 * MOVED_BELOW
    assert not is_moved(still)
    for moved_um in (3, 6, 12):
        assert is_moved(close_field(seed, moved_um))
        assert is_moved(close_field(seed, moved_um, bar=True))


@pytest.mark.parametrize("um", [0.5, 0.75, 1.0, 1.5])
def test_the_focus_measure_is_the_width_of_the_edges(um: float) -> None:
    measured = 1 / focus_measure(blurred(field(5, 960, 1280), um), UM_PER_PX)
    own = 0.35  # of the drawn edges and of the pixels
    assert measured == pytest.approx(math.hypot(um, own), rel=0.12)


@pytest.mark.parametrize("change", [lambda x: x // 2, lambda x: x // 3 + 120, lambda x: 255 - x])
def test_light_and_contrast_do_not_change_the_focus_measure(change: object) -> None:
    assert callable(change)
    pixels = blurred(field(5), 0.6)
    expected = focus_measure(pixels, UM_PER_PX)
    assert focus_measure(change(pixels), UM_PER_PX) == pytest.approx(expected, rel=0.1)


def test_noise_does_not_pass_for_sharpness() -> None:
    pixels = blurred(field(5), 2.0)
    clean = focus_measure(pixels, UM_PER_PX)
    # Without the noise of plain ground taken away it would be 1.9 times.
    assert focus_measure(noisy(pixels, 12), UM_PER_PX) < 1.6 * clean


@pytest.mark.parametrize("scale", [0.06, 0.1, 0.25])
def test_the_focus_measure_is_in_um_at_any_scale(scale: float) -> None:
    pixels = blurred(field(5, 960, 1280), 0.8)
    factor = UM_PER_PX / scale
    resized = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    measured = focus_measure(np.asarray(resized, np.uint8), scale)
    assert measured == pytest.approx(focus_measure(pixels, UM_PER_PX), rel=0.15)


@pytest.mark.parametrize("pixels", [np.full((64, 64, 3), 9, np.uint8), field(0)[:16, :16]])
def test_the_focus_measure_is_a_number_for_the_smallest_image(pixels: UInt8) -> None:
    assert math.isfinite(focus_measure(pixels, UM_PER_PX))


def seen(*fields: UInt8) -> FieldHistory:
    memory = FieldHistory()
    for pixels in fields:
        reasons, memory = examine(frame(pixels), GATE, memory)
        assert reasons == ()
    return memory


@pytest.mark.parametrize(
    "again",
    [
        lambda x: x,
        lambda x: noisy(x, 5),
        lambda x: (x * 0.85).astype(np.uint8),
        lambda x: np.roll(x, 2, axis=1),
        lambda x: blurred(x, 0.2),
    ],
)
def test_the_same_field_again_is_a_duplicate(again: object) -> None:
    assert callable(again)
    assert codes(again(field(1)), seen(field(9), field(1))) == ["duplicate"]


def test_other_fields_are_no_duplicates_whatever_vignette_they_share() -> None:
    across, down = np.meshgrid(np.linspace(-1, 1, 320), np.linspace(-1, 1, 240))
    shade = (1 - 0.3 * (across**2 + down**2))[..., None]
    memory = FieldHistory()
    for seed in range(12):
        pale = 230 - 0.4 * (230 - field(seed).astype(np.float64))
        pixels = np.asarray(pale * shade, np.uint8)
        reasons, memory = examine(frame(pixels), GATE, memory)
        assert reasons == ()


def test_memory_is_a_value_and_holds_only_what_passed() -> None:
    empty = FieldHistory()
    reasons, after = examine(frame(blurred(field(1), 4)), GATE, empty)
    assert reasons
    assert after is empty
    _, full = examine(frame(field(1)), GATE, empty)
    assert not empty.holds(frame(field(1)).digest, look_of(field(1)))
    assert full.holds(frame(field(1)).digest)


def test_a_crop_is_judged_by_its_light_and_its_bytes_alone() -> None:
    cell = field(1)[:80, :80]
    reasons, memory = examine_crop(frame(blurred(cell, 3)), FieldHistory())
    assert reasons == ()
    similar, memory = examine_crop(frame(noisy(blurred(cell, 3), 1)), memory)
    assert similar == ()
    again, _ = examine_crop(frame(blurred(cell, 3)), memory)
    assert [reason.code for reason in again] == ["duplicate"]
    black, _ = examine_crop(frame(np.zeros((80, 80, 3), np.uint8)), memory)
    assert [reason.code for reason in black] == ["black"]


def test_a_limit_that_is_not_reached_is_not_passed_by_nothing() -> None:
    assert light_reasons(field(1)) == ()
    strict = GateSpec(min_focus=99)
    reasons, _ = examine(frame(field(1)), strict, FieldHistory())
    assert [reason.code for reason in reasons] == ["unfocused"]


def one_cell(seed: int) -> UInt8:
    """A close field of one cell in the middle: in size and place alike in all, in shape not."""
    side, middle = 320, 160
    random = np.random.default_rng(seed)
    turn = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = [random.normal(0, 0.06) * np.cos(k * turn + random.uniform(0, 6)) for k in range(3, 8)]
    reach = 78 * (1 + np.sum(waves, axis=0))
    rim = np.stack([middle + reach * np.cos(turn), middle + reach * np.sin(turn)], axis=1)
    nucleus = np.zeros((side, side), np.float32)
    cv2.fillPoly(nucleus, [np.rint(rim).astype(np.int32)], 0.6)
    for _ in range(10):  # chromatin
        x, y = (int(value) for value in random.normal(middle, 34, 2))
        cv2.circle(nucleus, (x, y), int(random.integers(5, 10)), float(random.uniform(0.2, 1)), -1)
    stain = np.asarray(cv2.GaussianBlur(nucleus, (0, 0), 3), np.float32)[..., None]
    light = np.array([235, 228, 235]) * 10 ** -(stain * np.array([0.5, 0.8, 0.2]))
    seen = np.clip(light + random.normal(0, 1.5, light.shape), 0, 255)
    return np.asarray(seen, np.uint8)


def packed(pixels: UInt8) -> UInt8:
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def test_two_close_fields_of_one_cell_each_are_two_fields() -> None:
    looks = [look_of(one_cell(seed)) for seed in range(6)]
    memory = FieldHistory()
    alike = 0
    for number, look in enumerate(looks):
        likeness = [float(look.descriptor @ one.descriptor) for one in looks[:number]]
        alike += max(likeness, default=0) >= SAME_FIELD
        assert not memory.holds(str(number), look)
        memory = memory.with_field(str(number), look)
    assert alike >= 2  # by the coarse look alone they would be one
    for number in range(6):
        again = one_cell(number)
        moved_on = np.roll(again, (1, -1), (0, 1))
        blurrier = np.asarray(cv2.GaussianBlur(again, (0, 0), 2), np.uint8)
        for seen in (noisy(again, 6), again // 5 * 4, packed(again), blurrier, moved_on):
            assert memory.holds("another file", look_of(seen))
