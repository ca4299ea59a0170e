"""A build has few engines open at once, whatever the bundle; counted, not measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeapl.bundle.load import Bundle
from edgeapl.bundle.specs import LimitsSpec
from edgeapl.calibration.builder.build import BuildRequest, build_engine
from edgeapl.calibration.builder.files import write_network
from edgeapl.calibration.builder.paired_timing import (
    BATCHES,
    CELLS,
    TimingRun,
    best_settings,
    time_interleaved,
)
from edgeapl.calibration.builder.proof_slides import proof_slides
from edgeapl.calibration.validation.document import engine_proof_document
from edgeapl.calibration.validation.engine_proof import EngineProof, prove_engine
from edgeapl.calibration.validation.network_passes import SlidePass, networks_in_order
from edgeapl.engines import ort
from edgeapl.engines.exclusive import ExclusiveEngines, Opener
from edgeapl.engines.store.record import Settings
from edgeapl.errors import EngineError
from edgeapl.inference import classify
from edgeapl.protocols import Arrays, Engine
from edgeapl.sources.decode import decode_image
from edgeapl.stages.crop import cut_cells
from edgeapl.stages.segment import HsvWatershed
from edgeapl.types import Frame, UInt8
from tests.small_bundle import (
    SIZE,
    cell_network,
    drawn_field,
    head_network,
    png,
    settings,
    small_bundle,
)

CELL_NETWORKS = ("cells", "rare", "last")
NETWORKS = (*CELL_NETWORKS, "head")


class Count:
    """What was opened, and the most that was open at once."""

    def __init__(self) -> None:
        self.opened: Counter[str] = Counter()
        self.ran: Counter[str] = Counter()
        self.arenas: list[bool] = []
        self.most = 0
        self._open = 0

    def open(self, name: str) -> None:
        self.opened[name] += 1
        self._open += 1
        self.most = max(self.most, self._open)

    def close(self) -> None:
        self._open -= 1

    @property
    def left(self) -> int:
        return self._open


def counting(count: Count) -> type[ort.OrtEngine]:
    """Give an engine that tells when it is opened, run and closed."""

    class Counted(ort.OrtEngine):
        def __init__(self, name: str, model: bytes, **more: Any) -> None:
            super().__init__(name, model, **more)
            count.open(name)
            count.arenas.append(more.get("arena", True))
            self._counts = True

        def run(self, inputs: Arrays) -> dict[str, Any]:
            count.ran[self._name] += 1
            return super().run(inputs)

        def close(self) -> None:
            super().close()
            if self._counts:
                count.close()
            self._counts = False

    return Counted


def opener(count: Count, bias: float = -12) -> Opener:
    """Give what opens the networks of the routed bundle."""
    models = dict.fromkeys(CELL_NETWORKS, cell_network(bias=np.full(3, bias, dtype=np.float32)))
    models["head"] = head_network()
    kind = counting(count)
    return lambda name: kind(name, models[name])


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Give a bundle whose networks wait for each other, and a head."""
    networks = settings()["networks"]
    networks["cells"]["classes"] = ["promyelocyte", "myeloblast", "auer_rod"]
    networks["rare"] = {**networks["cells"], "when": "cells.promyelocyte"}
    networks["last"] = {**networks["cells"], "classes": [], "when": "rare.promyelocyte"}
    roles = settings()["roles"]
    roles[1]["network"], roles[2]["network"] = "rare", "last"
    folder = tmp_path_factory.mktemp("routed") / "bundle"
    return small_bundle(folder, networks=networks, roles=roles)


@pytest.fixture(scope="module")
def slides() -> list[tuple[str, UInt8]]:
    """Give slides of 21, 5 and 34 cells of many colours: batches of 16 do not come out even."""
    random = np.random.default_rng(4)
    colours = [random.integers(0, 256, (count, 1, 1, 3), dtype=np.uint8) for count in (21, 5, 34)]
    return [
        (f"slide {number}", np.broadcast_to(flat, (len(flat), SIZE, SIZE, 3)).copy())
        for number, flat in enumerate(colours)
    ]


def proven(bundle: Bundle, slides: list[tuple[str, UInt8]], one: Any, other: Any) -> EngineProof:
    return prove_engine(bundle.manifest, one, other, slides, LimitsSpec())


def test_cells_get_the_same_answers_as_slide_after_slide(
    routed: Bundle, slides: list[tuple[str, UInt8]]
) -> None:
    manifest = routed.manifest
    with ExclusiveEngines(NETWORKS, opener(Count())) as engines:
        ways = [SlidePass(manifest, engines, cells, 16) for _, cells in slides]
        for name in networks_in_order(manifest):
            for way in ways:
                way.run_network(name)
        for way, (_, cells) in zip(ways, slides, strict=True):
            have, want = way.answers(), classify(manifest, engines, cells, 16)
            assert list(have.scores.ids) == list(want.scores.ids) == list(range(len(cells)))
            for role, values in want.scores.roles.items():
                assert have.scores.roles[role].tobytes() == values.tobytes()
            assert have.scores.features.tobytes() == want.scores.features.tobytes()
            assert len(set(want.scores.roles["auer_rod"].tolist())) > 1


def test_a_proof_opens_each_network_once_and_one_of_each_side_at_a_time(
    routed: Bundle, slides: list[tuple[str, UInt8]]
) -> None:
    one, other = Count(), Count()
    with (
        ExclusiveEngines(NETWORKS, opener(one)) as first,
        ExclusiveEngines(NETWORKS, opener(other, -11)) as second,
    ):
        proof = proven(routed, slides, first, second)
    for count in (one, other):
        assert count.most == 1
        assert count.left == 0
        assert count.opened == dict.fromkeys(NETWORKS, 1)
    assert proof.cells.cells == 60
    assert proof.cells.flipped
    assert not proof.unproven


def test_the_record_is_the_same_with_all_engines_open(
    routed: Bundle, slides: list[tuple[str, UInt8]]
) -> None:
    def all_open(bias: float) -> dict[str, Engine]:
        return {name: opener(Count(), bias)(name) for name in NETWORKS}

    def in_turn(bias: float) -> ExclusiveEngines:
        return ExclusiveEngines(NETWORKS, opener(Count(), bias))

    wanted = engine_proof_document(proven(routed, slides, all_open(-12), all_open(-11)))
    with in_turn(-12) as one, in_turn(-11) as other:
        assert engine_proof_document(proven(routed, slides, one, other)) == wanted
    # Slides do not touch each other: what is counted is the sum of what each gives alone.
    alone = [
        engine_proof_document(proven(routed, [slide], all_open(-12), all_open(-11)))
        for slide in slides
    ]
    assert sum(part["flipped"] for part in alone) == wanted["flipped"] > 0
    assert [part["slides"][0] for part in alone] == wanted["slides"]
    for network, outputs in wanted["outputs"].items():
        for output, figures in outputs.items():
            parts = [part["outputs"][network][output] for part in alone]
            assert figures["largest"] == max(part["largest"] for part in parts)


def test_timing_has_the_engines_of_one_network_open(
    routed: Bundle, slides: list[tuple[str, UInt8]]
) -> None:
    count = Count()
    openers = {"bundle": opener(count), "fp16": opener(count), "int8": opener(count)}
    runs = {name: TimingRun(name, 4) for name in openers}
    seconds = time_interleaved(routed.manifest, openers, runs, slides[0][1], rounds=2)
    assert set(seconds) == set(runs)
    assert all(value > 0 for value in seconds.values())
    assert count.most == 3
    assert count.left == 0
    assert count.opened == dict.fromkeys(CELL_NETWORKS, 3)
    # Each of three ways: a run that does not count, and two rounds that do.
    assert count.ran["cells"] == 3 * (1 + 2 * CELLS // 4)


def test_the_race_of_settings_has_a_pair_of_engines_open(
    routed: Bundle, slides: list[tuple[str, UInt8]]
) -> None:
    count = Count()
    asked: list[tuple[int | None, int]] = []

    def with_settings(settings: Settings) -> Opener:
        asked.append((settings.workers, settings.threads))
        return opener(count)

    measured = best_settings(routed.manifest, with_settings, slides[0][1], 4)
    assert set(asked) == {(4, 1), (2, 2), (1, 4)}
    assert len(measured.seconds) == 3 * len(BATCHES)
    assert measured.settings.text in measured.seconds
    assert measured.evidence["chosen"] == measured.settings.text
    assert (count.most, count.left) == (2, 0)


@pytest.mark.slow
def test_a_whole_build_never_has_more_than_a_pair_open(
    routed: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Count()
    monkeypatch.setattr(ort, "OrtEngine", counting(count))
    stages: dict[str, int] = {}

    def say(text: str) -> None:
        stages[text] = len(count.arenas)

    request = BuildRequest(routed.folder, "fp16", "onnxruntime", tmp_path / "engines")
    built = build_engine(request, say)
    assert set(built.record.networks) == set(NETWORKS)
    assert (count.most, count.left) == (2, 0)
    proof = stages["fp16 for onnxruntime: prove"]
    timing = stages["fp16 onnxruntime: measure workers, threads and batch"]
    assert count.arenas[proof:timing] == [False] * 2 * len(NETWORKS)
    # What is timed is what serves.
    assert all(count.arenas[timing:])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engines"]


def test_cells_to_prove_on_are_on_disk_and_only_two_images_are_kept(
    routed: Bundle, tmp_path: Path
) -> None:
    pictures = [png(drawn_field([(60 + 4 * n, 60), (150, 130)])) for n in range(4)]
    for slide in range(3):
        folder = tmp_path / "slides" / f"s{slide}"
        folder.mkdir(parents=True)
        for number, data in enumerate(pictures):
            (folder / f"{number}.png").write_bytes(data)
        (folder / "half.png").write_bytes(pictures[0][:2000])
    (tmp_path / "work").mkdir()
    found = proof_slides(
        routed,
        HsvWatershed(),
        tmp_path / "slides",
        tmp_path / "work",
        cell_images=False,
        um_per_px=0.2,
    )
    assert found.words.startswith("24 cells of 3 slides")
    assert len(found.frames) == 2
    images = [decode_image(data, "drawn").pixels for data in pictures]
    frames = [Frame(image, 0, 0, 0.2, "drawn", "0" * 64) for image in images]
    spec = routed.manifest.crop
    wanted = np.concatenate([cut_cells(HsvWatershed().segment(one), spec) for one in frames])
    for _, cells in found.slides:
        assert isinstance(cells, np.memmap)
        assert np.array_equal(cells, wanted)


@pytest.mark.slow
def test_a_build_that_fails_leaves_none_of_its_files(routed: Bundle, tmp_path: Path) -> None:
    request = BuildRequest(routed.folder, "int8", "onnxruntime", tmp_path / "engines")
    with pytest.raises(EngineError, match="run edgeapl calibrate first"):
        build_engine(request, lambda text: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_network_that_changes_on_disk_is_refused(
    routed: Bundle, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    made = write_network(routed, "cells", "onnxruntime", "fp16", frozenset(), tmp_path)
    assert made.path.parent == tmp_path
    assert len(made.read()) == made.path.stat().st_size
    spoil(made.path)
    with pytest.raises(EngineError, match=r"network (was changed|cannot be read)"):
        made.read()
