"""Drawn smears are repeatable and their ground truth is exact."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edgeapl.errors import ConfigError, EndOfSource
from edgeapl.protocols import Interruptible
from edgeapl.sources.demo import DemoSource
from edgeapl.sources.synthetic import CELL_TYPES, SlideRecipe, draw_frame, slide_recipe
from edgeapl.stages.segment import HsvWatershed
from edgeapl.types import Frame


def small(kind: str = "apl", seed: int = 3) -> SlideRecipe:
    return slide_recipe(kind, seed, width=500, height=400, cells=8)


def test_the_same_seed_draws_the_same_pixels_and_another_does_not() -> None:
    one, again, other = draw_frame(small(), 0), draw_frame(small(), 0), draw_frame(small(), 1)
    np.testing.assert_array_equal(one.pixels, again.pixels)
    assert one.classes == again.classes
    assert not np.array_equal(one.pixels, other.pixels)
    assert not np.array_equal(one.pixels, draw_frame(small(seed=4), 0).pixels)


@pytest.mark.parametrize("kind", ["apl", "aml", "healthy"])
def test_every_cell_has_a_box_a_label_and_a_class(kind: str) -> None:
    drawn = draw_frame(small(kind), 0)
    assert len(drawn.boxes) == len(drawn.classes) == len(drawn.auer_rods) > 0
    assert set(np.unique(drawn.labels)) == set(range(len(drawn.classes) + 1))
    for row, (x0, y0, x1, y1) in enumerate(drawn.boxes.astype(int)):
        rows, columns = np.nonzero(drawn.labels == row + 1)
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)
    assert set(drawn.classes) <= set(CELL_TYPES)


def test_kinds_differ_in_what_they_are_made_of() -> None:
    shares = {kind: slide_recipe(kind, 1).mix for kind in ("apl", "aml", "healthy")}
    apl = shares["apl"]
    assert apl["apl_hypergranular"] + apl["apl_microgranular"] > 0.3
    assert shares["aml"]["myeloblast"] > 0.3
    assert shares["healthy"]["promyelocyte"] < 0.06
    for mix in shares.values():
        assert sum(mix.values()) == pytest.approx(1)
    with pytest.raises(ValueError, match="apl, aml, healthy"):
        slide_recipe("flu", 1)


def test_the_segmenter_finds_the_drawn_cells() -> None:
    hits = cells = found = 0
    for index in range(3):
        drawn = draw_frame(slide_recipe("aml", 2, width=900, height=700, cells=12), index)
        seen = HsvWatershed().segment(Frame(drawn.pixels, 0, 0, 0.15, "drawn", "0" * 64))
        owners = {
            int(drawn.labels[int(y), int(x)])
            for x, y in seen.centres
            if drawn.labels[int(y), int(x)]
        }
        hits += len(owners)
        cells += len(drawn.classes)
        found += len(seen)
    assert hits >= 0.9 * cells
    assert found <= 1.1 * cells


def test_a_demonstration_ends_after_its_frames() -> None:
    with DemoSource.from_address(
        "demo://aml?seed=2&frames=2&width=320&height=240&cells=2"
    ) as source:
        frames = [source.read(1.0), source.read(1.0)]
        with pytest.raises(EndOfSource):
            source.read(1.0)
    assert [frame.index for frame in frames] == [0, 1]
    assert frames[0].pixels.shape == (240, 320, 3)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("demo://flu", "demo://{apl,aml,healthy}"),
        ("demo://", "demo://{apl,aml,healthy}"),
        ("demo://apl?sead=1", "sead"),
        ("demo://apl?seed=one", "seed=one"),
        ("demo://apl?frames=0", "frames=0"),
        ("demo://apl?um_per_px=nan", "um_per_px=nan"),
    ],
)
def test_a_wrong_address_is_refused_by_name(address: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DemoSource.from_address(address)
    assert said in str(caught.value)


def test_a_drawing_that_is_interrupted_ends_in_the_middle_of_a_frame() -> None:
    with DemoSource.from_address("demo://apl?width=2000&height=1500&cells=200") as source:
        assert isinstance(source, Interruptible)
        threading.Timer(0.1, source.interrupt).start()
        with pytest.raises(EndOfSource):
            source.read(1.0)
