"""What of a frame nobody could see is found, whatever hid it; what is only empty is not lost."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgeapl.sources.demo import DemoSource
from edgeapl.stages.area import hidden_cells, judge_tiles
from edgeapl.stages.gate import FieldHistory
from edgeapl.stages.repeats import TileSample, copied_tiles, tile_prints
from edgeapl.stages.tile_lines import lines_of
from edgeapl.stages.tiling import sample_tiles, tile_grid
from edgeapl.types import Detections, Frame, Tiles, TileState, UInt8
from tests.damage import DAMAGED, blurred, filled, left
from tests.pictures import field

LEAST = 0.95
MIN_FOCUS = 1.4


@pytest.fixture(scope="module")
def drawn() -> Frame:
    return DemoSource.from_address("demo://healthy?seed=1&frames=1").read(1.0)


def examined(pixels: UInt8, um_per_px: float = 0.15) -> float:
    return judge_tiles(pixels, um_per_px, MIN_FOCUS).examined_share


@pytest.mark.parametrize("name", DAMAGED)
def test_a_part_that_nobody_can_see_is_not_examined(drawn: Frame, name: str) -> None:
    assert examined(DAMAGED[name](drawn.pixels)) < LEAST


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("black third", TileState.DARK),
        ("grey", TileState.FROZEN),
        ("blurred", TileState.UNFOCUSED),
        ("without red", TileState.COLOURLESS),
        ("noise", TileState.NOISE),
        ("glare", TileState.OVEREXPOSED),
        ("veiled", TileState.VEILED),
        ("coarse", TileState.TORN),
        ("blocks shuffled", TileState.TORN),
        ("median", TileState.SMOOTHED),
        ("doubled", TileState.DOUBLED),
        ("doubled, packed again", TileState.DOUBLED),
        ("colours shifted", TileState.SHIFTED),
        ("blue shifted", TileState.SHIFTED),
    ],
)
def test_it_is_said_what_is_wrong_and_where(drawn: Frame, name: str, state: TileState) -> None:
    tiles = judge_tiles(DAMAGED[name](drawn.pixels), drawn.um_per_px, MIN_FOCUS)
    shares = tiles.shares()
    del shares[TileState.EXAMINED]
    assert max(shares, key=lambda one: shares[one]) is state
    assert not tiles.states[:, -3:].any()


@pytest.mark.parametrize(
    "pixels",
    [
        field(1, 480, 640),
        field(2, 960, 1280),
        field(1, 480, 640) // 2,
        np.asarray(np.pad(field(3, 240, 320), ((0, 400), (0, 400), (0, 0)), "reflect"), np.uint8),
    ],
)
def test_a_good_frame_loses_nothing(pixels: UInt8) -> None:
    assert examined(pixels) == 1


def test_red_cells_beside_one_dark_nucleus_are_not_pale() -> None:
    pixels = field(6, 480, 640)
    pale = np.asarray(255 - (255 - pixels.astype(np.float32)) * 0.4, np.uint8)
    pale[:120, :120] = pixels[:120, :120]
    states = judge_tiles(pale, 0.15, MIN_FOCUS).states
    assert not (states == TileState.VEILED.value).any()


def test_empty_ground_in_uneven_light_is_not_pale() -> None:
    """As behind a drop of stain: light and colour run across it, and there is nothing but noise."""
    pixels = field(7, 480, 640).astype(np.float32)
    ground = np.full((240, 640, 3), (236, 230, 234), np.float32)
    ground += np.random.default_rng(1).normal(0, 1.5, ground.shape)
    pixels[:240] = ground
    light = np.hypot(*np.mgrid[-1:1:480j, -1:1:640j])[..., None]
    lit = np.asarray(blurred(0.8)(pixels.astype(np.uint8)) * (0.6 + 0.3 * light))
    states = judge_tiles(np.clip(lit, 0, 255).astype(np.uint8), 0.15, MIN_FOCUS).states
    assert not (states == TileState.VEILED.value).any()


def test_empty_ground_is_examined_even_without_noise() -> None:
    ground = np.array([236, 230, 234], np.uint8)
    sparse = np.tile(ground, (960, 1280, 1))
    cells = field(4, 400, 600)
    sparse[300:700, 400:1000] = np.where(cells[..., 1:2] < 222, cells, ground)
    part = np.zeros((960, 1280), np.float32)
    part[310:690, 410:990] = 1
    shown = np.asarray(cv2.GaussianBlur(part, (0, 0), 3))[..., None]  # a straight cut is no picture
    sparse = np.asarray(sparse * shown + ground * (1 - shown) + 0.5, np.uint8)
    assert examined(sparse) == 1
    assert examined(left(0.4, filled(128))(sparse)) < LEAST


def test_what_an_earlier_frame_showed_in_the_same_place_is_no_picture() -> None:
    frames = DemoSource.from_address("demo://healthy?seed=1&frames=2&width=640&height=480")
    first, second = frames.read(1.0), frames.read(1.0)
    memory, shares = FieldHistory(), []
    half = second.pixels.copy()
    half[:, :320] = first.pixels[:, :320]
    for pixels in (first.pixels, half, second.pixels):
        sampled = sample_tiles(pixels, tile_grid(*pixels.shape[:2]))
        prints = tile_prints(sampled)
        shown = TileSample(sampled, memory.showed(prints))
        memory = memory.with_tiles(prints)
        shares.append(judge_tiles(pixels, 0.15, MIN_FOCUS, shown=shown).examined_share)
    assert shares[0] == 1
    assert 0.4 < shares[1] < 0.7
    assert shares[2] < 0.7  # the other half was shown by the second


def test_lines_that_were_doubled_or_enlarged_are_no_copies(drawn: Frame) -> None:
    doubled = np.repeat(np.repeat(drawn.pixels[::2, ::2], 2, 0), 2, 1)
    assert not copied_tiles(lines_of(doubled, tile_grid(*doubled.shape[:2]))).any()


def test_tiles_outside_the_field_count_neither_way(drawn: Frame) -> None:
    pixels = left(0.5, filled(0))(drawn.pixels)
    lost = judge_tiles(pixels, drawn.um_per_px, MIN_FOCUS)
    outside = lost.states == TileState.DARK.value
    assert lost.examined_share < 0.6
    assert judge_tiles(pixels, drawn.um_per_px, MIN_FOCUS, outside).examined_share == 1


def test_a_round_field_is_not_its_own_mirror_image(drawn: Frame) -> None:
    height, width = drawn.pixels.shape[:2]
    lit = np.zeros((height, width), np.float32)
    cv2.circle(lit, (width // 2, height // 2), height // 2, 1.0, -1)
    shown = np.asarray(cv2.GaussianBlur(lit, (0, 0), 8))[..., None]
    pixels = np.asarray(drawn.pixels * shown + 8 * (1 - shown), np.uint8)
    rows, columns = tile_grid(height, width)
    lit_share = np.asarray(cv2.resize(lit, (columns, rows), interpolation=cv2.INTER_AREA))
    tiles = judge_tiles(pixels, drawn.um_per_px, MIN_FOCUS, lit_share < 0.5)
    assert not {TileState.FROZEN, TileState.DOUBLED, TileState.TORN} & set(tiles.shares())


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (16, 16), (7, 5), (64, 9)])
def test_the_smallest_image_has_tiles(shape: tuple[int, int]) -> None:
    assert 0 <= examined(np.full((*shape, 3), 90, np.uint8)) <= 1


def test_a_cell_of_which_a_part_is_hidden_is_hidden(drawn: Frame) -> None:
    boxes = np.array([[10, 10, 60, 60], [610, 10, 670, 70], [700, 20, 760, 80]], np.float32)
    labels = np.zeros((drawn.height, drawn.width), np.uint16)
    cells = Detections(drawn, boxes, labels, np.ones(3, np.float32))
    states = np.zeros((6, 8), np.uint8)
    states[:, :4] = TileState.DARK.value  # up to 640 px
    assert hidden_cells(cells, Tiles(states)).tolist() == [True, True, False]
    assert not hidden_cells(cells, Tiles(np.zeros((6, 8), np.uint8))).any()
    assert not judge_tiles(blurred(0.6)(drawn.pixels), 0.15, MIN_FOCUS).states.any()
