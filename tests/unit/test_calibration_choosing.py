"""The set is spread over slides and kinds, and holds no cell twice."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import cv2
import numpy as np
import pytest

from edgeapl.calibration.cell_selection import (
    HASH_BITS,
    Stratum,
    picture_hashes,
    select_diverse,
    with_length_one,
    without_near_duplicates,
)
from edgeapl.calibration.sampling import evenly_spaced, spread_order
from edgeapl.types import Float32, UInt8
from tests.conv_bundle import smear


def crop(seed: int) -> UInt8:
    return np.ascontiguousarray(smear(seed)[20:100, 20:100])


def bits(one: UInt8, other: UInt8) -> int:
    hashes = picture_hashes(np.stack([one, other]))
    return bin(int(hashes[0]) ^ int(hashes[1])).count("1")


def again(image: UInt8, how: str) -> UInt8:
    """The same cell, as it comes back from another exposure, another file or a moved stage."""
    if how == "exposure":
        return np.asarray(np.clip(image.astype(np.float32) * 0.85, 0, 255), np.uint8)
    if how == "noise":
        noise = np.random.default_rng(9).normal(0, 3, image.shape)
        return np.asarray(np.clip(image + noise, 0, 255), np.uint8)
    if how == "jpeg":
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(np.roll(image, 1, axis=1), np.uint8)


@pytest.mark.parametrize("how", ["exposure", "noise", "jpeg", "shift"])
def test_the_same_cell_again_has_nearly_the_same_hash(how: str) -> None:
    same = [bits(crop(seed), again(crop(seed), how)) for seed in range(20)]
    assert np.median(same) <= HASH_BITS
    other = [bits(crop(seed), crop(seed + 1)) for seed in range(20)]
    assert np.mean(np.array(other) <= HASH_BITS) <= 0.1


def test_only_what_looks_the_same_to_eye_and_network_is_dropped() -> None:
    hashes = np.array([0, 1, 1, 2**64 - 1, 0], dtype=np.uint64)
    features = with_length_one(np.array([[1, 0], [1, 0.01], [0, 1], [1, 0], [1, 0]], np.float32))
    # 1 and 4 look like 0 to both; 2 only to the eye, 3 only to the network.
    assert without_near_duplicates(hashes, features).tolist() == [0, 2, 3]


def random_cells(count: int = 120) -> tuple[Float32, list[Stratum]]:
    random = np.random.default_rng(0)
    features = with_length_one(random.normal(0, 1, (count, 8)).astype(np.float32))
    kinds = [
        Stratum(f"slide{random.choice(4, p=[0.7, 0.1, 0.1, 0.1])}", str(random.choice(["a", "b"])))
        for _ in range(count)
    ]
    return features, kinds


def test_slides_and_kinds_give_alike_however_many_cells_they_have() -> None:
    features, kinds = random_cells()
    chosen = select_diverse(features, kinds, 24)
    assert len(set(chosen.tolist())) == 24
    slides = Counter(kinds[row].slide for row in chosen)
    assert set(slides.values()) == {6}
    predicted = Counter(kinds[row].predicted for row in chosen)
    assert abs(predicted["a"] - predicted["b"]) <= 2


def test_every_beginning_of_the_order_is_the_choice_of_its_length() -> None:
    features, kinds = random_cells()
    whole = select_diverse(features, kinds, 500)
    assert sorted(whole.tolist()) == list(range(120))
    for count in (1, 7, 30):
        assert select_diverse(features, kinds, count).tolist() == whole[:count].tolist()


def test_within_one_kind_the_farthest_come_first() -> None:
    features, _ = random_cells()
    kinds = [Stratum("one", "a")] * len(features)
    order = select_diverse(features, kinds, 60)
    gaps = [
        float(np.linalg.norm(features[order[:place]] - features[order[place]], axis=1).min())
        for place in range(1, len(order))
    ]
    assert all(before >= after - 1e-6 for before, after in pairwise(gaps))


def test_taking_some_reaches_from_the_first_to_the_last() -> None:
    assert evenly_spaced(range(100), 3) == [0, 50, 99]
    assert evenly_spaced([7], 5) == [7]
    assert evenly_spaced([], 5) == []
    order = spread_order(list(range(10)))
    assert sorted(order) == list(range(10))
    assert order[:4] == [0, 8, 4, 2]
