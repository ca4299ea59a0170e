"""Random changes of cells: each does what it says, within 0 and 1, and the same for a seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from torch import Tensor  # noqa: E402

from edgeapl.export.training.augmentation import Augmentation  # noqa: E402

NONE = Augmentation(turn=False, mirror=False)
ALL = Augmentation(
    zoom=0.15, shift=0.05, hue=0.05, gamma=0.4, stain=0.4, light=0.15, noise=0.05, blur=0.3
)


def cells(count: int = 6) -> Tensor:
    return torch.rand((count, 3, 32, 32), generator=torch.Generator().manual_seed(3))


def changed(how: Augmentation, seed: int = 1) -> Tensor:
    return how(cells(), torch.Generator().manual_seed(seed))


def test_nothing_asked_changes_nothing() -> None:
    assert torch.allclose(changed(NONE), cells(), atol=1e-5)


@pytest.mark.parametrize(
    "part", ["turn", "mirror", "zoom", "shift", "hue", "gamma", "stain", "light", "noise", "blur"]
)
def test_each_part_changes_something_and_all_stay_within_range(part: str) -> None:
    given: dict[str, Any] = {part: True if part in ("turn", "mirror") else 0.4}
    how = replace(NONE, **given)
    made = changed(how)
    assert not torch.allclose(made, cells(), atol=1e-3)
    assert made.shape == cells().shape
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    assert torch.equal(made, changed(how))
    assert not torch.equal(made, changed(how, 2))


def test_images_are_changed_each_in_its_own_way() -> None:
    one = cells(1).expand(4, -1, -1, -1).contiguous()
    made = ALL(one, torch.Generator().manual_seed(1))
    assert all(not torch.allclose(made[0], made[at], atol=1e-3) for at in (1, 2, 3))


def test_hue_keeps_brightness() -> None:
    grey = torch.tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)
    pale = 0.4 + 0.2 * cells()
    made = replace(NONE, hue=0.05)(pale, torch.Generator().manual_seed(1))
    assert torch.allclose((made * grey).sum(1), (pale * grey).sum(1), atol=2e-3)
    assert not torch.allclose(made, pale, atol=1e-3)


def test_mirroring_alone_gives_the_image_or_its_mirror() -> None:
    made = changed(replace(NONE, mirror=True))
    for image, before in zip(made, cells(), strict=True):
        assert any(torch.allclose(image, each, atol=1e-4) for each in (before, before.flip(2)))
