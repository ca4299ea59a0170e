"""Each shortcut that makes the front end fast gives what the long way gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.stages import frame_descriptor
from edgeapl.stages.segment import (
    cells,
    cytoplasm,
    hsv_watershed,
    illumination,
    nuclei,
    reconstruction,
)


def blobs(seed: int, count: int = 60) -> NDArray[np.uint8]:
    """Draw ellipses of all sizes, many of them touching."""
    random = np.random.default_rng(seed)
    mask = np.zeros((260, 320), np.uint8)
    for x, y, a, b, turn in zip(
        random.integers(0, 320, count),
        random.integers(0, 260, count),
        random.integers(2, 22, count),
        random.integers(2, 22, count),
        random.integers(0, 180, count),
        strict=True,
    ):
        cv2.ellipse(mask, (int(x), int(y)), (int(a), int(b)), float(turn), 0, 360, 1, -1)
    return mask


@pytest.mark.parametrize("seed", range(8))
def test_pieces_with_one_top_are_those_that_reconstruction_leaves_whole(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = blobs(seed, count=20 + 15 * seed)
    asked: list[bool] = []
    one_top = nuclei._has_one_top

    def noted(heights: NDArray[np.float32]) -> bool:
        asked.append(one_top(heights))
        return asked[-1]

    monkeypatch.setattr(nuclei, "_has_one_top", noted)
    short = nuclei.split_touching(mask, 0.25, 0.9)
    assert any(asked)
    monkeypatch.setattr(nuclei, "_has_one_top", lambda heights: False)
    assert np.array_equal(short, nuclei.split_touching(mask, 0.25, 0.9))


def test_pieces_are_numbered_alike_in_16_and_in_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = blobs(4)
    short = nuclei.split_touching(mask, 0.25, 0.9)
    monkeypatch.setattr(nuclei, "MOST_LABELS", 1)
    assert np.array_equal(short, nuclei.split_touching(mask, 0.25, 0.9))


@pytest.mark.parametrize("um_per_px", [0.1, 0.25, 0.6])
def test_no_opened_mask_has_more_pieces_than_are_reckoned_with(um_per_px: float) -> None:
    disc = nuclei.disc(nuclei.SMOOTHING, um_per_px)
    full = np.zeros((200, 200), np.uint8)
    step = len(disc) + 1
    for down in range(0, 200 - step, step):
        for right in range(0, 200 - step, step):
            full[down : down + len(disc), right : right + len(disc)] |= disc
    noise = (np.random.default_rng(0).random((200, 200)) > 0.3).astype(np.uint8)
    for mask in (full, noise):
        opened = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc), np.uint8)
        count = cv2.connectedComponents(opened)[0] - 1
        assert count <= nuclei._most_components(opened, um_per_px)


@pytest.mark.parametrize("seed", range(5))
def test_the_edge_of_a_mask_has_the_hull_of_all_of_it(seed: int) -> None:
    mask = blobs(seed)[:, 40:300]
    everywhere = cv2.convexHull(np.asarray(cv2.findNonZero(mask)))
    assert np.array_equal(cells._hull(mask), everywhere)
    assert np.array_equal(cells._hull(np.ones((1, 1), np.uint8)), [[[0, 0]]])


def raised_alone(marker: NDArray[np.float32], limit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reconstruct one image by the definition: dilate and cut until nothing changes."""
    while True:
        higher = np.minimum(cv2.dilate(marker, np.ones((3, 3), np.uint8)), limit)
        if np.array_equal(higher, marker):
            return marker
        marker = np.asarray(higher, dtype=np.float32)


@pytest.mark.parametrize("width", [1, 300, 5000])
def test_images_that_are_reconstructed_together_are_as_if_alone(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconstruction, "_WIDTH", width)  # one below the other, or all in a row
    cut = [(0, 260, 0, 320), (20, 90, 5, 200), (100, 101, 0, 320), (50, 220, 60, 64)]
    limits = [
        np.asarray(cv2.distanceTransform(blobs(3), cv2.DIST_L2, 5)[y0:y1, x0:x1], np.float32)
        for y0, y1, x0, x1 in cut
    ]
    markers = [np.maximum(limit - np.float32(3.6), 0) for limit in limits]
    together = reconstruction.reconstructed(markers, limits)
    for marker, limit, raised in zip(markers, limits, together, strict=True):
        assert np.array_equal(raised, raised_alone(marker, limit))
    assert reconstruction.reconstructed([], []) == []


@pytest.mark.parametrize(
    ("small", "large"),
    [((768, 576), (1280, 960)), ((684, 513), (2560, 1920)), ((100, 80), (100, 80))]
    + [((w, h), (W, H)) for w, h, W, H in [(8, 8, 33, 29), (300, 200, 171, 123), (7, 9, 6, 4)]],
)
def test_labels_are_enlarged_to_the_pixels_that_they_were_found_in(
    small: tuple[int, int], large: tuple[int, int]
) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 65536, small[::-1]).astype(np.uint16)
    rows = np.arange(large[1]) * small[1] // large[1]
    columns = np.arange(large[0]) * small[0] // large[0]
    enlarged = hsv_watershed._enlarged(labels, rows, columns)
    assert enlarged.dtype == np.uint16
    assert np.array_equal(enlarged, labels[rows][:, columns])


def test_boxes_hold_all_of_each_cell_and_nothing_else() -> None:
    mask = blobs(1)
    everywhere = np.ones(mask.shape, dtype=np.float32)
    fragments = cells.fragments_of(nuclei.split_touching(mask, 0.25, 0.9), 0.25)
    groups = [fragments[at : at + 2] for at in range(0, len(fragments), 2)]
    limits = cells.CellLimits()
    body = cytoplasm.Body(everywhere, everywhere)
    grown, boxes = cytoplasm.add_cytoplasm(groups, body, 0.25, limits)
    for row, box in enumerate(boxes):
        y, x = np.nonzero(grown == row + 1)
        assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


@pytest.mark.parametrize("most", [65535, 3])
def test_pieces_are_measured_pixel_by_pixel(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "MOST_LABELS", most)  # more labels than that are sorted as they are
    labels = nuclei.split_touching(blobs(2), 0.25, 0.9)
    fragments = cells.fragments_of(labels, 0.5)
    assert [fragment.number for fragment in fragments] == list(range(1, int(labels.max()) + 1))
    for fragment in fragments:
        y, x = np.nonzero(labels == fragment.number)
        assert fragment.box == (x.min(), y.min(), x.max() + 1, y.max() + 1)
        assert fragment.centre == pytest.approx((x.mean(), y.mean()))
        assert fragment.area == pytest.approx(len(x) * 0.25)
        assert fragment.pixels.tolist() == (y * labels.shape[1] + x).tolist()


@pytest.mark.parametrize("degree", [1, 2, 4])
def test_sums_for_the_background_fit_are_those_of_the_products(degree: int) -> None:
    height, width = 17, 23
    values = np.random.default_rng(0).random((height, width))
    x = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, width), degree)
    y = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, height), degree)
    pairs = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    terms = np.stack([np.outer(y[:, j], x[:, i]).ravel() for i, j in pairs], axis=-1)
    surface = illumination._Surface(height, width, degree)
    products = (terms * values.reshape(-1, 1)).T @ terms
    two = np.stack([values, 3 * values])
    assert surface._products(two) == pytest.approx(np.stack([products, 3 * products]), abs=1e-9)
    weights = np.arange(len(pairs), dtype=np.float64)
    fitted = surface._at(np.stack([weights, -weights])).reshape(2, -1)
    assert fitted == pytest.approx(np.outer([1, -1], terms @ weights), abs=1e-9)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_percentiles_of_counted_values_are_those_of_the_values(size: int) -> None:
    values = np.random.default_rng(size).integers(0, 256, size)
    spread = frame_descriptor._Spread(np.arange(256.0), np.bincount(values, minlength=256))
    assert spread.mean == pytest.approx(values.mean())
    for percent in (0, 10, 33.3, 50, 90, 95, 100):
        assert spread.percentile(percent) == pytest.approx(np.percentile(values, percent))
