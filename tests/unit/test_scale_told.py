"""A scale that nobody stated is told with its interval, and what is guessed clears no slide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeapl.bundle.specs import RuleSpec
from edgeapl.model import open_model
from edgeapl.pipeline import Observer, SlideOptions, examine_slide
from edgeapl.pixel_size import SlideScale
from edgeapl.slide_findings import of_scale
from edgeapl.sources.frames import frame_of_pixels
from edgeapl.stages.judge import decide
from edgeapl.stages.reduce import Reduced
from edgeapl.testing import ScriptedSource
from edgeapl.types import Decision, ScaleOrigin, Tally, UInt8
from tests.small_bundle import drawn_field, small_bundle
from tests.unit.drawn_field import Field, close_field

ASSUMED = 0.2
TOLD = {
    ScaleOrigin.STATED: (Decision.CLEAR, None, ()),
    ScaleOrigin.MEASURED: (Decision.CLEAR, "scale_measured", ("0.100", "0.080", "0.125")),
    ScaleOrigin.ESTIMATED: (Decision.REVIEW, "scale_estimated", ("0.100", "0.050", "0.200")),
    ScaleOrigin.ASSUMED: (Decision.REVIEW, "scale_assumed", ("0.100", "assumed", "--um-per-px")),
}


@pytest.mark.parametrize("origin", ScaleOrigin)
def test_only_a_stated_or_measured_scale_lets_a_slide_be_clear(origin: ScaleOrigin) -> None:
    decision, code, words = TOLD[origin]
    rule = RuleSpec(
        flag_at=0.5, clear_below=0.5, suspicious_share=0.2, min_scored=5, max_lost_share=0.1
    )
    nothing_found = Reduced(0.001, None, (), 0, 0.0, ("apl",), True, ())
    findings = of_scale({(origin, 0.1): 3})
    decided, reasons = decide(rule, nothing_found, Tally(200, 200), findings)
    assert decided is decision
    assert [finding.code for finding in findings] == ([code] if code else [])
    text = " ".join(reason.text for reason in reasons)
    assert all(word in text for word in words), text


def with_red_cells() -> UInt8:
    field = Field()
    field.red_cells()
    return field.draw(0.12)


def nuclei() -> UInt8:
    field = Field()
    for x, y in ((14, 14), (44, 14), (30, 34)):
        field.cell(x, y, [(0, 0, 4.0)])
    return field.draw(0.12)


NOTHING = np.full((300, 300, 3), 230, np.uint8)


@pytest.mark.parametrize(
    ("pixels", "um_per_px", "origin"),
    [
        (with_red_cells(), 0.12, ScaleOrigin.MEASURED),
        (close_field(), 0.055, ScaleOrigin.ESTIMATED),
        (nuclei(), 0.12, ScaleOrigin.ESTIMATED),
        (NOTHING, ASSUMED, ScaleOrigin.ASSUMED),
    ],
    ids=["red cells", "cut red cells", "nuclei", "nothing"],
)
def test_the_scale_lies_in_the_interval_that_is_told(
    pixels: UInt8, um_per_px: float, origin: ScaleOrigin
) -> None:
    found, told = SlideScale(None, ASSUMED)(pixels)
    assert told is origin
    assert um_per_px / origin.within <= found <= um_per_px * origin.within


def test_a_slide_with_an_assumed_scale_says_so_in_its_verdict(tmp_path: Path) -> None:
    small_bundle(tmp_path / "b")
    frames = [
        frame_of_pixels(
            drawn_field([(60, 60)]),
            index=0,
            captured_ns=0,
            source="a.png",
            scale_for=lambda pixels: (ASSUMED, ScaleOrigin.ASSUMED),
        )
    ]
    with open_model(tmp_path / "b") as model:
        source = ScriptedSource(frames)
        outcome = examine_slide(model, "s", source, SlideOptions(batch_size=4), Observer())
    assert "scale_assumed" in {reason.code for reason in outcome.verdict.reasons}
    assert outcome.verdict.decision is not Decision.CLEAR
