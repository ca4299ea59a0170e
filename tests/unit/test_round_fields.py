"""Through an eyepiece a slide gets the verdict it gets without; what turned dark is still lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
import pytest

from edgeapl.examination import PreparedFrame, prepare_frame
from edgeapl.model import EMBEDDED, Model, open_model
from edgeapl.pipeline import Observer, SlideOptions, SlideOutcome, examine_slide
from edgeapl.pixel_size import SlideScale
from edgeapl.sources.demo import DemoSource
from edgeapl.stages.find_disc import find_disc
from edgeapl.stages.gate import FieldHistory
from edgeapl.stages.lit_view import evened
from edgeapl.testing import ScriptedSource
from edgeapl.types import Decision, ExaminedFrame, Frame, ScaleOrigin, TileState, UInt8
from tests.damage import DAMAGED, Change, dimmed, filled, left
from tests.eyepieces import EYEPIECES, Eyepiece
from tests.pictures import field, frame

HARD = EYEPIECES["hard"]
LEAST = 0.95


def drawn(kind: str, frames: int = 6) -> list[Frame]:
    source = DemoSource.from_address(f"demo://{kind}?seed=1&frames={frames}")
    return [source.read(1.0) for _ in range(frames)]


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with open_model(EMBEDDED) as opened:
        yield opened


@pytest.fixture(scope="module")
def fields() -> list[Frame]:
    return drawn("healthy", 4)


@pytest.mark.parametrize("name", EYEPIECES)
def test_the_disc_is_found_where_the_light_falls(fields: list[Frame], name: str) -> None:
    eyepiece = EYEPIECES[name]
    pixels = fields[0].pixels
    height, width = pixels.shape[:2]
    radius = eyepiece.radius * min(height, width)
    disc = find_disc(eyepiece(pixels))
    assert disc is not None
    assert disc.radius == pytest.approx(radius, rel=0.03)
    off = np.hypot(disc.x - eyepiece.x * width, disc.y - eyepiece.y * height)
    assert off < 0.02 * radius
    away, _ = eyepiece.distances(height, width)
    assert away[disc.core].max() < radius
    assert disc.core[0].stop - disc.core[0].start > radius / 2


def aslant(pixels: UInt8) -> UInt8:
    """Cover two corners with something straight."""
    out = pixels.copy()
    height, width = out.shape[:2]
    across, down = width // 3, height // 3
    corners = (
        [[0, 0], [across, 0], [0, down]],
        [[width, height], [width - across, height], [width, height - down]],
    )
    for corner in corners:
        cv2.fillPoly(out, [np.array(corner)], (0, 0, 0))
    return out


def bubble(pixels: UInt8) -> UInt8:
    out = pixels.copy()
    cv2.circle(out, (0, 0), min(out.shape[:2]) // 2, (0, 0, 0), -1)
    return out


def covered(pixels: UInt8) -> UInt8:
    """Cover a third of the picture behind a straight edge that lies aslant."""
    out = pixels.copy()
    height, width = out.shape[:2]
    part = np.array([[0, 0], [width * 0.6, 0], [0, height * 0.9]], np.int32)
    cv2.fillPoly(out, [part], (0, 0, 0))
    return out


NO_DISC: dict[str, Change] = {
    **DAMAGED,
    "corners cut off": aslant,
    "covered": covered,
    "round shadow": bubble,
    "none": lambda one: one,
}


@pytest.mark.parametrize("name", NO_DISC)
def test_what_lost_a_part_of_itself_is_no_disc(fields: list[Frame], name: str) -> None:
    change = NO_DISC[name]
    assert find_disc(change(fields[0].pixels)) is None
    if name != "none":
        # Nor does an eyepiece hide what is lost within it.
        seen = find_disc(change(HARD(fields[0].pixels)))
        assert seen is None or seen.radius > 0.97 * HARD.radius * fields[0].height


def test_beyond_the_rim_nothing_is_left_and_within_nothing_is_changed(fields: list[Frame]) -> None:
    pixels = EYEPIECES["soft"](fields[0].pixels)
    disc = find_disc(pixels)
    assert disc is not None
    view = evened(pixels, disc)
    away = disc.distances()
    inner, beyond = away < disc.radius - disc.rim - 10, away > disc.radius
    assert np.array_equal(view[inner], pixels[inner])
    ground = np.median(view[inner][:, 1])
    assert view[beyond].min() > 0.85 * ground
    rim = (away > disc.radius - disc.rim) & (away < 0.98 * disc.radius)
    assert np.quantile(view[rim][:, 1], 0.9) == pytest.approx(
        np.quantile(view[inner][:, 1], 0.9), rel=0.07
    )


def test_red_cells_at_the_rim_do_not_colour_the_surround(fields: list[Frame]) -> None:
    covered_rim = fields[0].pixels.copy()
    part = covered_rim[:, : covered_rim.shape[1] * 2 // 5]
    part[:] = (part * [0.93, 0.72, 0.74]).astype(np.uint8)
    pixels = HARD(covered_rim)
    disc = find_disc(pixels)
    assert disc is not None
    surround = evened(pixels, disc)[disc.distances() > disc.radius + 1].astype(float)
    usual = np.median(surround, axis=0)
    assert (np.abs(surround - usual) < 0.1 * usual).all()


def judged(model: Model, frames: Sequence[Frame]) -> tuple[SlideOutcome, list[ExaminedFrame]]:
    given: list[ExaminedFrame] = []
    source = ScriptedSource(frames, live=False, name="s")
    outcome = examine_slide(model, "s", source, SlideOptions(), Observer(given.append))
    return outcome, given


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "names"), [("apl", ("soft", "stamped")), ("healthy", ("hard", "dark corners"))]
)
def test_the_verdict_is_that_of_the_whole_frames(
    model: Model, kind: str, names: Sequence[str]
) -> None:
    frames = drawn(kind, 8)
    bare, _ = judged(model, frames)
    assert bare.verdict.decision is not Decision.REVIEW
    for name in names:
        outcome, given = judged(model, [EYEPIECES[name].of(one) for one in frames])
        assert outcome.verdict.decision is bare.verdict.decision, outcome.verdict.reasons
        assert not any(one.rejected for one in given)
        assert outcome.verdict.examined_share == pytest.approx(1, abs=0.02)
        assert "round_field" in {reason.code for reason in outcome.verdict.reasons}


@pytest.mark.parametrize("name", EYEPIECES)
def test_within_the_disc_the_same_cells_are_found(
    model: Model, fields: list[Frame], name: str
) -> None:
    same = of = 0
    for one in fields:
        bare, _ = prepare_frame(model, one, FieldHistory(), crops=False)
        seen, _ = prepare_frame(model, EYEPIECES[name].of(one), FieldHistory(), crops=False)
        assert seen.disc is not None
        assert seen.frame is not seen.judged
        middle = np.array([seen.disc.x, seen.disc.y])
        reach = 0.98 * (seen.disc.radius - seen.disc.rim)
        corners = np.abs(bare.detections.boxes.reshape(-1, 2, 2) - middle).max(axis=1)
        within = bare.detections.centres[np.hypot(*corners.T) < reach]
        low, high = seen.detections.boxes[:, :2], seen.detections.boxes[:, 2:]
        same += sum(((low <= at) & (at <= high)).all(axis=1).any() for at in within)
        of += len(within)
        assert not len(seen.hidden)
    assert of > 10
    assert same >= 0.98 * of


def share(model: Model, frames: Sequence[UInt8], last: Callable[[UInt8], UInt8]) -> PreparedFrame:
    """Prepare pictures of one source, the last one changed."""
    memory = FieldHistory()
    for number, pixels in enumerate((*frames[:-1], last(frames[-1]))):
        prepared, memory = prepare_frame(model, frame(pixels, number), memory, crops=False)
    return prepared


SHUTTER = Eyepiece(x=0.46, radius=0.4)

DARKENED: dict[str, Change] = {
    "half of the disc is black": left(0.5, filled(0)),
    "half of the disc is dim": left(0.5, dimmed(0.2)),
    "the disc is smaller than before": SHUTTER,
    "a part of the disc is covered": covered,
}


@pytest.mark.parametrize("name", DARKENED)
def test_what_turned_dark_within_a_known_disc_is_lost(
    model: Model, fields: list[Frame], name: str
) -> None:
    pictures = [HARD(one.pixels, number) for number, one in enumerate(fields[:2])]
    whole = share(model, pictures, lambda one: one)
    assert whole.tiles is not None
    assert whole.tiles.examined_share > LEAST
    dark = share(model, pictures, DARKENED[name])
    if not dark.rejected:
        assert dark.tiles is not None
        assert dark.tiles.examined_share < LEAST
        assert dark.tiles.shares()[TileState.DARK] > 0.05


def test_a_source_whose_field_filled_the_frame_has_no_surround(
    model: Model, fields: list[Frame]
) -> None:
    pictures = [fields[0].pixels, fields[1].pixels]
    prepared = share(model, pictures, HARD)
    assert prepared.disc is None
    assert prepared.rejected or (prepared.tiles and prepared.tiles.examined_share < LEAST)


@pytest.mark.parametrize(
    ("first", "others"), [(HARD, lambda pixels, number: pixels), (Eyepiece(radius=0.3), HARD)]
)
def test_a_slide_whose_fields_differ_is_not_cleared(
    model: Model, first: Eyepiece, others: Callable[[UInt8, int], UInt8]
) -> None:
    frames = drawn("healthy", 4)
    mixed = [first.of(frames[0])]
    for one in frames[1:]:
        pixels = others(one.pixels, one.index)
        mixed.append(
            Frame(pixels.copy(), one.index, 0, one.um_per_px, one.source, f"{one.index:064x}")
        )
    outcome, _ = judged(model, mixed)
    assert outcome.verdict.decision is Decision.REVIEW
    assert "fields_differ" in {reason.code for reason in outcome.verdict.reasons}


def test_a_disc_that_moves_is_followed(model: Model, fields: list[Frame]) -> None:
    memory = FieldHistory()
    for number, one in enumerate(fields):
        eyepiece = Eyepiece(x=0.44 + 0.04 * number, radius=0.42)
        prepared, memory = prepare_frame(model, eyepiece.of(one), memory, crops=False)
        assert prepared.disc is not None
        assert prepared.disc.x == pytest.approx(eyepiece.x * one.width, abs=4)
        assert not prepared.rejected


def test_the_scale_is_measured_within_the_disc() -> None:
    pixels = field(7, 960, 1280)
    for name in ("hard", "off centre", "dark corners"):
        scale, origin = SlideScale(None, 0.5)(EYEPIECES[name](pixels))
        bare, _ = SlideScale(None, 0.5)(pixels)
        assert origin is ScaleOrigin.MEASURED
        assert scale == pytest.approx(bare, rel=0.05)
