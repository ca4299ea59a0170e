"""Where features are pooled, many cells hide neither a few suspicious ones nor another smear."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.bundle.specs import ReducerSpec, RoleSpec, RuleSpec
from edgeapl.engines.registry import open_engine
from edgeapl.errors import EngineError
from edgeapl.journal import Journal
from edgeapl.model import Model, open_model
from edgeapl.model.sealer import seal_bundle
from edgeapl.protocols import Engine
from edgeapl.scoring import ScoreListener, ScoreRequest, score_folder
from edgeapl.stages import sub_bags
from edgeapl.stages.domain import DomainModel
from edgeapl.stages.frame_descriptor import FrameDescriptor
from edgeapl.stages.populations import FALSE_ALARMS, apart, two_populations
from edgeapl.stages.reduce import Reducer
from edgeapl.stages.sub_bags import SubBags
from edgeapl.types import CellScores, UInt8
from tests.certified import proven
from tests.small_bundle import cell_network, drawn_field, head_network, png, settings

# Whole slides, from the images to the verdict. The head looks at the mean red of the cells.

PLAIN, REDDISH, DARK = (105, 55, 140), (180, 50, 130), (105, 25, 110)
SIDE = 320


def field(colours: Sequence[tuple[int, int, int]], seed: int) -> UInt8:
    """Draw cells with nuclei of these colours at places of their own; no two fields are alike."""
    generator = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE, 3), (235, 230, 232), np.uint8)
    for x, y in generator.integers(10, SIDE - 10, (25, 2)).tolist():
        cv2.circle(image, (x, y), 18, (222, 178, 172), -1)
    taken: list[tuple[int, int]] = []
    while len(taken) < len(colours):
        x, y = generator.integers(40, SIDE - 40, 2).tolist()
        if all((x - a) ** 2 + (y - b) ** 2 > 80**2 for a, b in taken):
            taken.append((x, y))
    for at, colour in zip(taken, colours, strict=True):
        cv2.circle(image, at, 32, (205, 195, 225), -1)
        cv2.circle(image, at, 24, colour, -1)
    noise = generator.normal(0, 3, image.shape)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    domain = io.BytesIO()
    DomainModel({}).save(domain)
    files = {
        "cells.onnx": cell_network(weights=np.zeros((3, 3), np.float32)),
        "head.onnx": head_network((60, 0, 0), bias=-30),
        "MODEL_CARD.md": b"# pools\n",
        "domain.npz": domain.getvalue(),
    }
    made = settings(
        reducer={"kind": "mean", "head": "head", "head_outputs": ["apl"]},
        rule={"flag_at": 0.5, "clear_below": 0.4, "min_scored": 20, "max_lost_share": 0.1},
        domain={"file": "domain.npz"},
    )
    folder = tmp_path_factory.mktemp("pools") / "bundle"
    seal_bundle(folder, made, files, png(drawn_field()))
    with open_model(folder) as opened:
        yield proven(opened)


SLIDES: dict[str, tuple[list[list[tuple[int, int, int]]], str, set[str]]] = {
    "all alike": ([[PLAIN] * 4] * 13, "CLEAR", {"clear", "certificate"}),
    "one suspicious cell in each frame": (
        [[REDDISH, PLAIN, PLAIN, PLAIN]] * 13,
        "REVIEW",
        {"suspicious_cells"},
    ),
    "suspicious frames one after another": (
        [[REDDISH] * 4] * 3 + [[PLAIN] * 4] * 12,
        "REVIEW",
        {"suspicious_cells", "suspicious_part"},
    ),
    "the last frames": (
        [[PLAIN] * 4] * 12 + [[REDDISH] * 4] * 2,
        "REVIEW",
        {"suspicious_cells", "suspicious_part"},
    ),
    "two stains": ([[PLAIN] * 4] * 8 + [[DARK] * 4] * 6, "REVIEW", {"two_populations"}),
}


@pytest.mark.parametrize("name", SLIDES)
def test_a_slide_is_cleared_only_when_its_parts_hold(
    name: str, model: Model, tmp_path: Path
) -> None:
    frames, verdict, codes = SLIDES[name]
    folder = tmp_path / "slide"
    folder.mkdir()
    for number, colours in enumerate(frames):
        (folder / f"{number:02d}.png").write_bytes(png(field(colours, number)))
    with Journal.open(tmp_path / "journal.db") as journal:
        request = ScoreRequest(folder, tmp_path / "out", um_per_px=0.2)
        (record,) = score_folder(request, model, journal, ScoreListener()).records
    assert record["tally"]["scored"] == 4 * len(frames)
    assert record["probability"] < 0.4
    assert (record["verdict"], {reason["code"] for reason in record["reasons"]}) == (verdict, codes)


# The parts.

RULE = RuleSpec(flag_at=0.5, clear_below=0.2, min_scored=20, max_lost_share=0.1, most_suspicious=5)
ROLE = RoleSpec(name="promyelocyte", network="cells", output="promyelocyte", threshold=0.5)


@pytest.fixture(scope="module")
def head() -> Iterator[Engine]:
    engine = open_engine("onnxruntime", "head", head_network((60, 0, 0), bias=-30))
    yield engine
    engine.close()


class Counting:
    """An engine that counts its runs and the rows in them, and fails while it is told to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.rows: list[int] = []
        self.broken = False

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        if self.broken:
            raise EngineError("head is gone")
        self.rows.append(len(next(iter(inputs.values()))))
        return self._engine.run(dict(inputs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def cells(reds: Sequence[float], first: int = 0) -> CellScores:
    features = np.zeros((len(reds), 3), np.float32)
    features[:, 0] = reds
    ids = np.arange(first, first + len(reds), dtype=np.int64)
    return CellScores(ids, {"promyelocyte": np.zeros(len(reds), np.float32)}, features)


def bags() -> SubBags:
    spec = ReducerSpec(kind="mean", head="head", head_outputs=("apl",))
    return SubBags(Reducer([ROLE], spec), RULE)


def codes(parts: SubBags, head: Any, *unfinished: CellScores) -> list[str]:
    return [found.code for found in parts.judge(head, [[scores] for scores in unfinished])]


def test_k_of_the_rule_decides_how_many_cells_can_not_be_hidden(head: Engine) -> None:
    for suspicious, expected in ((1, []), (4, ["suspicious_cells"])):
        parts = bags()
        scores = cells([0.6] * suspicious + [0.42] * 60)
        parts.add(scores, head)
        parts.close_frame([scores])
        assert codes(parts, head) == expected


def test_frames_not_closed_yet_count(head: Engine) -> None:
    parts = bags()
    plain, red = cells([0.4] * 30), cells([0.6] * 6, first=30)
    parts.add(plain, head)
    parts.close_frame([plain])
    parts.add(red, head)
    assert codes(parts, head) == ["suspicious_cells"]
    assert codes(parts, head, red) == ["suspicious_cells", "suspicious_part"]
    parts.close_frame([red])
    assert codes(parts, head) == ["suspicious_cells", "suspicious_part"]


def test_batches_change_nothing(head: Engine) -> None:
    reds = np.random.default_rng(1).uniform(0.3, 0.62, 80).tolist()
    said = []
    for size in (1, 7, 80):
        parts = bags()
        for start in range(0, len(reds), size):
            parts.add(cells(reds[start : start + size], first=start), head)
        said.append(parts.judge(head))
    assert said[0] == said[1] == said[2]
    (found,) = said[0]
    strongest = np.argsort(-np.array(reds))[:5].tolist()
    assert f"(numbers {', '.join(map(str, strongest))})" in found.text


def test_a_head_that_does_not_answer_bars_and_is_asked_again(head: Engine) -> None:
    counting = Counting(head)
    parts = bags()
    counting.broken = True
    for start in range(0, 2 * sub_bags.MOST_WAITING, 64):
        parts.add(cells([0.4] * 64, first=start), counting)
    assert codes(parts, counting) == ["parts_unknown"]
    counting.broken = False
    assert codes(parts, counting) == []


@pytest.mark.parametrize("size", [5, 64])
def test_the_work_is_bounded(size: int, head: Engine) -> None:
    """Each cell is shown once, each part once, the k cells once per answer; little is held."""
    counting = Counting(head)
    parts = bags()
    for start in range(0, 6400, size):
        scores = cells([0.4] * size, first=start)
        parts.add(scores, counting)
        parts.close_frame([scores])
        assert sum(map(len, parts._waiting)) < sub_bags.MOST_WAITING
        assert len(parts._frames) <= sub_bags.MOST_FRAMES
    parts.judge(counting)
    assert sum(counting.rows) == 6400 + 6400 // size + 2
    before = len(counting.rows)
    parts.judge(counting)
    assert len(counting.rows) == before + 2


# The populations.


@pytest.mark.parametrize("count", [10, 20, 50, 200])
def test_one_normal_population_is_seldom_taken_for_two(count: int) -> None:
    """The published limit is an approximation: at 1 of 100 it holds within a factor of 3."""
    generator = np.random.default_rng(count)
    rows = generator.normal(size=(3000, count))
    rate = np.mean([apart(row, 0.0, 0.01)[0] > 1 for row in rows])
    assert rate <= 0.03


def described(values: dict[str, list[float]], *, found: bool = True) -> FrameDescriptor:
    return FrameDescriptor(1, {name: np.array(row) for name, row in values.items()}, found)


def frames(count: int, seed: int, **shift: float) -> list[FrameDescriptor]:
    generator = np.random.default_rng(seed)
    spread = {"light": (0.002, 2), "stain": (0.03, 4), "size": (0.3, 1), "focus": (0.08, 1)}
    return [
        described({
            name: (shift.get(name, 0.0) + generator.normal(0, sd, numbers)).tolist()
            for name, (sd, numbers) in spread.items()
        })
        for _ in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shift", "said"),
    [
        ({"light": 0.2}, "empty field"),
        ({"stain": 0.25}, "stain"),
        ({"size": 2.5}, "size"),
        ({"focus": 0.7}, "sharpness"),
    ],
)
def test_two_smears_are_noticed(shift: dict[str, float], said: str) -> None:
    assert not two_populations(frames(52, 1))
    (found,) = two_populations([*frames(40, 2), *frames(12, 3, **shift)])
    assert found.code == "two_populations"
    assert said in found.text
    assert "12 and 40 images" in found.text


def test_strays_and_grey_levels_are_no_population() -> None:
    assert not two_populations([*frames(48, 4), *frames(4, 5, stain=0.3)])
    # A camera's white point moves by one grey level of 240 or not at all.
    two_levels = np.repeat([0.0, np.log10(240 / 239)], 26)
    assert apart(two_levels, 0.01, FALSE_ALARMS)[0] < 1


def test_images_without_a_cell_say_nothing_of_stain_and_size() -> None:
    missing = described(
        {"light": [0, 0], "stain": [0] * 4, "size": [7.0], "focus": [0]}, found=False
    )
    assert not two_populations([*frames(40, 6), *[missing] * 12])
    assert not two_populations([])
