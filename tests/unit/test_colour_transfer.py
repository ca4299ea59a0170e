"""Cells are shown in the colours that a bundle asks for, wherever they are cut."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.specs import NO_COLOURS, ColoursSpec, CropSpec
from edgeapl.calibration.validation.chain_replay import tiled
from edgeapl.cli.main import run
from edgeapl.errors import InputError
from edgeapl.examination.preparation import prepare_frame
from edgeapl.model import ModelRequest, open_model
from edgeapl.report.context import report_context
from edgeapl.stages.colour_transfer import (
    LEAST_DEVIATION,
    NO_SPREAD,
    as_colours,
    cell_colours,
    colours_of,
    move_between,
    moved,
    with_colours,
)
from edgeapl.stages.crop import cut_cells, cut_windows, uncut_cells
from edgeapl.stages.gate import FieldHistory
from edgeapl.stages.segment import HsvWatershed
from edgeapl.types import Colours, Detections, Frame, UInt8
from tests.small_bundle import SIZE, drawn_field, settings, small_bundle

WANTED = ColoursSpec(mean=(-1.1, 0.15, 0.03), deviation=(0.4, 0.12, 0.03))
SPEC = CropSpec(window_um=6.4, size_px=SIZE, colour_transfer="reinhard", colours=WANTED)
PLAIN = CropSpec(window_um=6.4, size_px=SIZE)


def frame_of(pixels: UInt8) -> Frame:
    return Frame(pixels, 0, 0, 0.2, "drawn.png", "0" * 64)


def found_on(pixels: UInt8) -> Detections:
    return HsvWatershed().segment(frame_of(pixels))


def transferring(**more: Any) -> dict[str, Any]:
    """Return a bundle's crop settings."""
    return SPEC.model_dump(mode="json", exclude_none=True) | more


def test_the_cells_of_a_frame_get_the_wanted_mean_and_deviation() -> None:
    pixels = drawn_field()
    found = found_on(pixels)
    given = cell_colours(found)
    assert given is not None
    got = colours_of(np.rint(moved(pixels, move_between(given, WANTED)))[found.labels > 0])
    np.testing.assert_allclose(got.mean, WANTED.mean, atol=0.02)
    np.testing.assert_allclose(got.deviation, WANTED.deviation, rtol=0.1)


def test_what_has_the_wanted_colours_stays_as_it_is_to_the_last_bit() -> None:
    every = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    same = moved(every, move_between(as_colours(WANTED), WANTED))
    np.testing.assert_array_equal(np.rint(same), every)


def test_cells_that_were_moved_before_are_not_moved_again_when_they_are_laid_out_as_tiles() -> None:
    cells = cut_cells(with_colours(found_on(drawn_field()), SPEC), SPEC)
    for rows, uncut in tiled(cells, SPEC, 100_000):
        np.testing.assert_array_equal(uncut.cut(), cells[rows])


def test_a_part_of_the_cells_is_moved_as_all_are() -> None:
    """The colours are those of the frame, so that no cell depends on which others are looked at."""
    found = with_colours(found_on(drawn_field()), SPEC)
    every = cut_cells(found, SPEC)
    last = np.array([len(found) - 1], dtype=np.int64)
    np.testing.assert_array_equal(cut_cells(found.only(last), SPEC), every[last])
    np.testing.assert_array_equal(uncut_cells(found, SPEC)[last].cut(), every[last])
    assert np.abs(every.astype(int) - cut_cells(found, PLAIN)).mean() > 5


def test_two_cameras_show_the_same_cell_alike_once_it_is_moved() -> None:
    pixels = drawn_field()
    warm = np.clip(pixels * np.array([1.0, 0.8, 0.7]), 0, 255).astype(np.uint8)
    found = found_on(pixels)
    other = replace(found, frame=frame_of(warm))
    one, two = (cut_cells(with_colours(each, SPEC), SPEC).astype(int) for each in (found, other))
    before = np.abs(cut_cells(found, PLAIN).astype(int) - cut_cells(other, PLAIN)).mean()
    assert np.abs(one - two).mean() < before / 10


@pytest.mark.parametrize("pixels", ["one colour", "grey", "black", "white"])
def test_cells_without_a_spread_of_colours_are_refused_in_words(pixels: str) -> None:
    image = {
        "one colour": np.full((200, 200, 3), (90, 40, 120), np.uint8),
        "grey": np.repeat(drawn_field()[..., :1], 3, axis=2),
        "black": np.zeros((200, 200, 3), np.uint8),
        "white": np.full((200, 200, 3), 255, np.uint8),
    }[pixels]
    found = with_colours(replace(found_on(drawn_field()), frame=frame_of(image)), SPEC)
    assert found.frame.colours is not None
    with pytest.raises(InputError, match=NO_SPREAD):
        cut_cells(found, SPEC)


def test_cells_without_a_pixel_of_their_own_have_no_spread_either() -> None:
    found = found_on(drawn_field())
    found = with_colours(replace(found, labels=np.zeros_like(found.labels)), SPEC)
    with pytest.raises(InputError, match=NO_SPREAD):
        cut_cells(found, SPEC)


def test_no_number_is_lost_at_the_least_spread() -> None:
    least = Colours(np.full(3, -3, np.float32), np.full(3, LEAST_DEVIATION, np.float32))
    far = ColoursSpec(mean=(40.0, -40.0, 40.0), deviation=(9.0, 9.0, 9.0))
    every = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = moved(every, move_between(least, far))
    assert np.isfinite(values).all()
    assert values.min() >= 0
    assert values.max() <= 255


def test_a_cut_without_the_frames_colours_is_never_made_silently() -> None:
    found = found_on(drawn_field())
    with pytest.raises(ValueError, match="measured before"):
        cut_cells(found, SPEC)
    with pytest.raises(ValueError, match="nowhere else"):
        cut_windows(found.frame.pixels, found.centres, 0.2, SPEC)


def test_a_bundle_is_sealed_and_opens_with_its_colours_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = small_bundle(tmp_path / "plain")
    moving = small_bundle(tmp_path / "moving", crop=transferring())
    assert plain.manifest.subject != moving.manifest.subject
    assert plain.digest != moving.digest
    assert b"colour" not in (plain.folder / "bundle.toml").read_bytes()
    answers = [np.load(one.folder / "golden.npz")["promyelocyte"] for one in (plain, moving)]
    assert np.abs(answers[0] - answers[1]).max() > 0.05
    shown = report_context(moving.manifest, crops=False).cells_shown
    assert "Reinhard" in shown
    assert run(["inspect", str(moving.folder)]) == 0
    assert "Reinhard" in capsys.readouterr().out


def test_golden_answers_of_the_same_bundle_without_colours_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = small_bundle(tmp_path / "plain")
    from edgeapl.bundle.write import write_bundle  # noqa: PLC0415 - only here

    files = {name: (plain.folder / name).read_bytes() for name in plain.manifest.files}
    forged = write_bundle(tmp_path / "forged", settings(crop=transferring()), files)
    assert run(["inspect", str(forged.folder)]) == 4
    assert "self-test failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("crop", "words"),
    [
        ({"colour_transfer": "reinhard"}, NO_COLOURS),
        ({"colours": WANTED.model_dump()}, "not set"),
        ({"colour_transfer": "macenko", "colours": WANTED.model_dump()}, "reinhard"),
    ],
)
def test_settings_that_do_not_go_together_make_no_manifest(
    crop: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        CropSpec.model_validate({"window_um": 6.4, "size_px": SIZE, **crop})


class Painted:
    """Finds a cell wherever told to."""

    def segment(self, frame: Frame) -> Detections:
        labels = np.zeros((frame.height, frame.width), np.uint16)
        labels[20:60, 20:60] = 1
        box = np.array([[20, 20, 60, 60]], np.float32)
        return Detections(frame, box, labels, np.ones(1, np.float32))


def test_a_frame_whose_cells_have_no_spread_is_passed_over_with_its_reason(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "moving", crop=transferring())
    pixels = drawn_field()
    with open_model(ModelRequest(bundle.folder)) as model:
        prepared, _ = prepare_frame(model, frame_of(pixels), FieldHistory(), crops=False)
        assert not prepared.rejected
        assert prepared.frame.colours is not None
        flat = pixels.copy()
        flat[20:60, 20:60] = (90, 40, 120)
        painted = replace(model, segmenter=Painted())
        prepared, _ = prepare_frame(painted, frame_of(flat), FieldHistory(), crops=False)
    assert [reason.code for reason in prepared.rejected] == ["no_spread"]
    assert len(prepared.detections) == 0


def test_the_manifest_of_old_bundles_has_neither_setting(tmp_path: Path) -> None:
    old = small_bundle(tmp_path / "old").manifest
    dumped = old.model_dump(mode="json", exclude_defaults=True)["crop"]
    assert set(dumped) == {"window_um", "size_px"}
    written = set(old.crop.model_dump())
    assert written.isdisjoint({"colour_transfer", "colours", "views"})
    assert isinstance(old, Manifest)
