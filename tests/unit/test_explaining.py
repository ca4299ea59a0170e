"""A picture shows what the networks did, keeps memory bounded and never changes the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from edgeapl.bundle.load import Bundle
from edgeapl.explanation import explain_or_say_why, make_explainer
from edgeapl.explanation.contributions import ContributionsExplainer, empty_top_two, updated_top_two
from edgeapl.explanation.maps import MapExplainer
from edgeapl.explanation.occlusion import OcclusionExplainer
from edgeapl.journal import Journal
from edgeapl.model import Model, open_model
from edgeapl.pipeline import Observer, SlideOptions, examine_slide
from edgeapl.report.explanation import Explanation
from edgeapl.scoring import ScoreListener, ScoreRequest, score_folder
from edgeapl.testing import FakeEngine
from edgeapl.types import ExaminedFrame, UInt8
from tests.explaining_bundles import map_bundle, pooled_bundle, ratio_bundle
from tests.small_bundle import drawn_field, png, scripted, small_bundle

FIELDS = [drawn_field(((60, 60), (150, 130))), drawn_field(((50, 140), (140, 50), (60, 60)))]
KINDS: dict[str, Callable[[Path], Bundle]] = {
    "map": map_bundle,
    "occlusion": ratio_bundle,
    "contributions": pooled_bundle,
}


def examine(model: Model, fields: Sequence[UInt8]) -> tuple[Explanation, list[ExaminedFrame]]:
    explainer = make_explainer(model, crops=False, batch_size=4)
    assert explainer is not None
    frames: list[ExaminedFrame] = []

    def take(examined: ExaminedFrame) -> None:
        frames.append(examined)
        if not examined.rejected:
            explainer.add(examined)

    script = scripted(fields)
    examine_slide(model, "s", script, SlideOptions(batch_size=4), Observer(take))
    return explainer.explain(), frames


def picture(jpeg: bytes) -> UInt8:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize(
    ("kind", "explainer"),
    [
        ("map", MapExplainer),
        ("occlusion", OcclusionExplainer),
        ("contributions", ContributionsExplainer),
    ],
)
def test_the_bundle_chooses_its_picture(kind: str, explainer: type, tmp_path: Path) -> None:
    KINDS[kind](tmp_path / "b")
    with open_model(tmp_path / "b") as model:
        assert isinstance(make_explainer(model, crops=False, batch_size=4), explainer)
        explanation, frames = examine(model, FIELDS)
    assert sum(len(frame.detections) for frame in frames) >= 5
    assert explanation.pictures
    assert len(explanation.caption) > 100
    for shown in explanation.pictures:
        assert picture(shown.jpeg).std() > 5


def test_a_bundle_without_explanation_gets_none_and_pays_nothing(tmp_path: Path) -> None:
    small_bundle(tmp_path / "b")
    with open_model(tmp_path / "b") as model:
        assert make_explainer(model, crops=False, batch_size=4) is None
        assert explain_or_say_why(None) is None


def test_the_map_of_the_last_network_on_the_way_is_shown(tmp_path: Path) -> None:
    """Cells whose red is weak were shown to the second network, so its map counts."""
    map_bundle(tmp_path / "b")
    with open_model(tmp_path / "b") as model:
        explanation, frames = examine(model, FIELDS)
    roles = {int(i): f.roles for f in frames for i in f.ids}
    assert len(explanation.pictures) == sum(len(frame.detections) for frame in frames)
    for shown in explanation.pictures:
        number = int(shown.caption.split(",")[0].removeprefix("cell "))
        row = next(
            int(np.flatnonzero(f.ids == number)[0]) for f in frames if number in f.ids.tolist()
        )
        went_on = float(roles[number]["first"][row]) < 0.5
        assert ("second:" in shown.caption) is went_on


def two_largest(values: NDArray[np.float32]) -> tuple[Any, Any, Any]:
    """The slow and obvious way."""
    order = np.argsort(-values, axis=0, kind="stable")
    columns = np.arange(values.shape[1])
    return values[order[0], columns], values[order[1], columns], order[0]


@pytest.mark.parametrize("split", [1, 3, 50])
def test_the_two_largest_of_each_feature_are_those_of_a_sort(split: int) -> None:
    random = np.random.default_rng(split)
    values = random.integers(0, 9, (50, 7)).astype(np.float32)  # with many ties
    state = empty_top_two(7)
    for start in range(0, 50, split):
        rows = np.arange(start, min(start + split, 50))
        state = updated_top_two(state, rows, values[rows])
    largest, second, winner = two_largest(values)
    np.testing.assert_array_equal(state.largest, largest)
    np.testing.assert_array_equal(state.second, second)
    np.testing.assert_array_equal(state.winner, winner)
    for cell in range(50):
        left = np.delete(values, cell, axis=0).max(axis=0)
        np.testing.assert_array_equal(state.without(cell), left)


def test_what_a_cell_is_worth_is_the_slide_without_it(tmp_path: Path) -> None:
    pooled_bundle(tmp_path / "b")
    with open_model(tmp_path / "b") as model:
        explanation, frames = examine(model, FIELDS)
        features = np.concatenate([frame.features for frame in frames])
        assert model.head is not None
        for shown in explanation.pictures:
            cell = int(shown.caption.split(",")[0].removeprefix("cell "))
            left = np.delete(features, cell, axis=0).max(axis=0, keepdims=True)
            wanted = float(model.head.run({"ratios": left})["apl"][0])
            assert f"without it {wanted:.3f}" in shown.caption
    scores = [float(s.caption.split("alone ")[1].split(";")[0]) for s in explanation.pictures]
    assert scores == sorted(scores, reverse=True)


def test_the_occlusion_map_is_highest_where_the_cells_are(tmp_path: Path) -> None:
    ratio_bundle(tmp_path / "b")
    field = drawn_field(((50, 100),))  # the left half holds the only cell
    with open_model(tmp_path / "b") as model:
        explanation, frames = examine(model, [field])
    assert len(frames[0].detections) == 1
    shown = picture(explanation.pictures[0].jpeg).astype(int)
    plain = cv2.cvtColor(field, cv2.COLOR_RGB2BGR).astype(int)
    # Viridis ends in yellow: much green and red, little blue.
    yellow = shown[..., 1] + shown[..., 2] - shown[..., 0] - (plain[..., 1] + plain[..., 2]) // 2
    y, x = np.unravel_index(int(cv2.blur(yellow.astype(np.float32), (15, 15)).argmax()), (200, 200))
    assert abs(int(x) - 50) < 25
    assert abs(int(y) - 100) < 25
    fall = float(explanation.caption.split("largest fall is ")[1].split(",")[0])
    assert fall > 0.01


def test_the_verdict_is_the_same_bit_for_bit_with_and_without_a_picture(tmp_path: Path) -> None:
    (tmp_path / "slide").mkdir()
    for number, field in enumerate(FIELDS):
        (tmp_path / "slide" / f"{number}.png").write_bytes(png(field))
    rows = []
    for name, explanation in (("plain", None), ("explains", {"kind": "occlusion", "title": "O"})):
        ratio_bundle(tmp_path / name, explanation=explanation)
        request = ScoreRequest(tmp_path / "slide", tmp_path / f"out-{name}", um_per_px=0.2)
        with (
            open_model(tmp_path / name) as model,
            Journal.open(tmp_path / f"{name}.db") as journal,
        ):
            result = score_folder(request, model, journal, ScoreListener())
        record = json.loads(json.dumps(result.records[0]))
        for changing in ("timings", "bundle_digest", "journal_record", "slide_key", "results"):
            record.pop(changing)
        rows.append(record)
    assert rows[0] == rows[1]
    pages = [
        (tmp_path / f"out-{n}/slides/slide/report.html").read_text() for n in ("plain", "explains")
    ]
    assert "moved over the" not in pages[0]
    assert "moved over the" in pages[1]
    assert 'alt="O: Occlusion map"' in pages[1]


def test_a_picture_that_fails_is_said_and_loses_nothing(tmp_path: Path) -> None:
    map_bundle(tmp_path / "b")
    with open_model(tmp_path / "b") as model:
        explainer = make_explainer(model, crops=False, batch_size=4)
        assert explainer is not None
        _, frames = examine(model, FIELDS)
        for frame in frames:
            explainer.add(frame)
        first = model.engines["first"]
        broken = FakeEngine(lambda given: {}, first.inputs, first.outputs, fail_on=range(99))
        explainer._model = replace(model, engines={**model.engines, "first": broken})  # type: ignore[attr-defined]
        explanation = explain_or_say_why(explainer)
    assert explanation is not None
    assert not explanation.pictures
    assert "could not be drawn: engine failed" in explanation.caption


@pytest.mark.parametrize(
    ("explanation", "word"),
    [
        ({"kind": "contributions", "title": "x"}, "reducer 'max'"),
        ({"kind": "map", "title": "x"}, "go together"),
        ({"kind": "map", "title": "x", "maps": ["nobody.map"]}, "not listed"),
        ({"kind": "occlusion", "title": "x", "maps": ["cells.map"]}, "go together"),
    ],
)
def test_an_explanation_that_does_not_fit_the_bundle_is_refused(
    explanation: dict[str, Any], word: str, tmp_path: Path
) -> None:
    with pytest.raises(ValidationError, match=word):
        ratio_bundle(tmp_path / "b", explanation=explanation)
