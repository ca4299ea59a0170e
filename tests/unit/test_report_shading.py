"""What was not examined is hatched where it lies, and said beside the picture."""

from __future__ import annotations

import numpy as np
import pytest

from edgeapl.report.unexamined_area import COLOUR, lost_parts, shade
from edgeapl.types import Tiles, TileState
from edgeapl.wording.verdicts import describe_field


def test_only_what_was_not_examined_is_hatched() -> None:
    picture = np.full((80, 120, 3), 230, np.uint8)
    states = np.zeros((4, 6), np.uint8)
    states[:, :2] = TileState.DARK.value
    shade(picture, Tiles(states))
    assert (picture[:, :38] != 230).any(axis=2).all()
    assert (picture[:, 44:] == 230).all()
    assert 0.1 < (picture[:, :38] == COLOUR).all(axis=2).mean() < 0.5
    assert lost_parts(Tiles(states)) == "33.3 % is dark"


def test_a_frame_that_was_examined_whole_stays_as_it_is() -> None:
    picture = np.full((80, 120, 3), 230, np.uint8)
    for tiles in (None, Tiles(np.zeros((4, 6), np.uint8))):
        shade(picture, tiles)
        assert (picture == 230).all()
        assert lost_parts(tiles) == ""


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (None, ""),
        (1.0, "100 % of the field was examined."),
        (0.94999, "94.9 % of the field was examined."),
        (0.95, "95.0 % of the field was examined."),
        (0.0, "0 % of the field was examined."),
    ],
)
def test_a_share_is_never_rounded_up(share: float | None, words: str) -> None:
    assert describe_field(share) == words
