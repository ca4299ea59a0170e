"""A bundle with plans on a GPU that is not there: opened, proven, and used for a whole slide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from edgeapl.bench.instrumented_engine import ON_DEVICE, WorkLog, instrumented
from edgeapl.engines.registry import open_chain
from edgeapl.engines.store.folder import open_engines
from edgeapl.engines.store.record import CUTTER, RECORD, EngineRecord
from edgeapl.engines.trt import chain, local_runtime
from edgeapl.errors import EngineError
from edgeapl.examination import prepare_frame
from edgeapl.inference import scheduler_for
from edgeapl.model import Model, ModelRequest, open_model
from edgeapl.model.opener import OpenNetworks, open_resolved
from edgeapl.model.resolution import resolve
from edgeapl.pipeline import Observer, SlideOptions, SlideOutcome, examine_slide
from edgeapl.protocols import CellChain, TransferCounts
from edgeapl.stages.crop import UncutCells, cut_cells
from edgeapl.stages.gate import FieldHistory
from edgeapl.testing import FakeDriver, ScriptedSource
from edgeapl.types import CellStatus, ExaminedFrame, Frame
from tests.data.measure_gpu import measured, noise
from tests.fake_tensorrt import FakeTensorRt
from tests.gpu_engines import write_plans
from tests.small_bundle import drawn_field, small_bundle

FIELDS = [
    ((60, 60), (150, 130)),
    ((50, 140), (140, 50)),
    ((100, 100),),
    (),
    ((60, 150), (150, 150), (100, 50)),
    ((40, 40), (160, 60), (100, 150)),
]


@dataclass(frozen=True, slots=True, eq=False)
class Station:
    """A bundle, its plans, and the GPU."""

    bundle: Path
    engines: Path
    fake: FakeTensorRt

    def open(self, *, planned: bool = True) -> Model:
        return open_model(
            ModelRequest(self.bundle, engines=open_engines(self.engines) if planned else "none")
        )


@pytest.fixture
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Station:
    small_bundle(tmp_path / "bundle")
    others = {"frame": 40_000, "steps": 64}
    fake = FakeTensorRt(FakeDriver(), largest=8, others=others)
    monkeypatch.setattr(local_runtime, "find_library", lambda target: fake.library)
    monkeypatch.setattr(local_runtime, "load_driver", lambda: fake.driver)
    engines = write_plans(tmp_path, tmp_path / "engines", fake)
    return Station(tmp_path / "bundle", engines.folder, fake)


def frames() -> list[Frame]:
    return [
        Frame(drawn_field(cells), number, number, 0.2, f"{number}.png", f"{number:064d}")
        for number, cells in enumerate(FIELDS)
    ]


def examined(model: Model) -> tuple[SlideOutcome, list[ExaminedFrame]]:
    found: list[ExaminedFrame] = []
    source = ScriptedSource(frames())
    return examine_slide(model, "s", source, SlideOptions(), Observer(found.append)), found


def test_a_slide_gets_the_answers_that_it_gets_on_the_processor(station: Station) -> None:
    with station.open() as model, station.open(planned=False) as usual:
        (outcome, got), (expected, wanted) = examined(model), examined(usual)
        assert model.chain is not None
        cells = sum(len(cells) for cells in FIELDS)
        assert model.chain.moved.frames == 1 + sum(1 for cells in FIELDS if cells)
    assert outcome.verdict.tally == expected.verdict.tally
    assert outcome.verdict.tally.scored == cells
    assert outcome.verdict.decision == expected.verdict.decision
    assert not outcome.errors
    for one, other in zip(got, wanted, strict=True):
        assert one.status == other.status
        for role, values in other.roles.items():
            # A grey level here and there, as the crops may differ.
            np.testing.assert_allclose(one.roles[role], values, atol=0.01)


def test_the_bench_counts_cells_on_the_device_and_what_went_over_the_bus(station: Station) -> None:
    ledger = WorkLog()
    with station.open() as model:
        assert model.chain is not None
        before = model.chain.moved
        counted = instrumented(model, ledger)
        assert isinstance(counted.chain, CellChain)
        examined(counted)
        work, moved = ledger.work[ON_DEVICE], model.chain.moved
    assert set(ledger.work) == {ON_DEVICE, "head"}
    assert work.rows == sum(len(cells) for cells in FIELDS)
    assert work.runs == moved.batches - before.batches
    assert (work.bytes_in, work.bytes_out) == (moved.up - before.up, moved.down - before.down)
    # Five frames of 200 x 200 px with what says how large they are, and where each cell lies.
    assert work.bytes_in >= 5 * (200 * 200 * 3 + 8) + 16 * work.rows
    assert work.seconds > 0


def test_the_bench_hears_of_a_device_that_fails(station: Station) -> None:
    heard: list[int] = []
    ledger = WorkLog(on_error=lambda: heard.append(1))
    with station.open() as model:
        driver = station.fake.driver
        driver.fail_on = {"event_synchronize": driver.calls.count("event_synchronize")}
        examined(instrumented(model, ledger))
    assert heard


def test_what_measures_a_real_gpu_runs_on_this_one(station: Station) -> None:
    with station.open() as model:
        found = measured(model, noise(model, 11, 200, 200), frames=2)
    assert found.difference < 0.01
    # Where 11 cells lie, and one more that fills the batch, a frame and how large it is; one
    # number per role, three features.
    assert found.moved == TransferCounts(16 * 12 + 200 * 200 * 3 + 8, 11 * (3 + 3) * 4, 1)
    # Three batches, two full and one not, and the driver's 1 ms for two runs of each.
    assert found.bare_s == pytest.approx(3 * 0.0005)


def test_the_verdict_names_what_cut_the_cells(station: Station) -> None:
    with station.open() as model, station.open(planned=False) as usual:
        assert "cells cut there" in model.runtime
        assert model.engine_digest != usual.engine_digest
        without = write_plans(
            station.bundle.parent, station.bundle.parent / "two", station.fake, cutter=False
        )
        with open_model(ModelRequest(station.bundle, engines=without)) as plain:
            assert plain.chain is None
            assert plain.engine_digest == usual.engine_digest


def test_a_gpu_that_fails_ends_in_review_with_every_cell_accounted_for(station: Station) -> None:
    with station.open() as model:
        station.fake.driver.fail_on = {
            "event_synchronize": station.fake.driver.calls.count("event_synchronize")
        }
        outcome, got = examined(model)
    assert outcome.verdict.decision.value == "REVIEW"
    tally = outcome.verdict.tally
    assert tally.seen == sum(len(cells) for cells in FIELDS) == tally.failed
    assert {status for one in got for status in one.status} == {CellStatus.FAILED}
    assert outcome.errors


def test_everything_is_freed_when_the_model_is_closed(station: Station) -> None:
    with station.open() as model:
        examined(model)
        assert any(station.fake.driver.live.values())
    assert not any(station.fake.driver.live.values())
    assert not station.fake.driver.contexts


def test_the_chain_must_pass_the_self_test_as_well(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: chain.TrtChain) -> dict[str, dict[str, np.ndarray]]:
        answers = finish(self)
        return {n: {k: 1 - v for k, v in outputs.items()} for n, outputs in answers.items()}

    finish = chain.TrtChain.finish
    monkeypatch.setattr(chain.TrtChain, "finish", wrong)
    with pytest.raises(EngineError, match="self-test failed"):
        station.open()
    assert not any(station.fake.driver.live.values())


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (spoil, "changed since it was built"),
        (Path.unlink, "is missing"),
        (lambda path: path.write_bytes(b"x"), "another size than when it was built"),
    ],
)
def test_a_plan_that_cuts_cells_and_is_not_what_was_built_is_refused(
    station: Station, harm: Callable[[Path], object], message: str
) -> None:
    opened = open_engines(station.engines)
    harm(station.engines / f"{CUTTER}.plan")
    with pytest.raises(EngineError, match=message):
        open_engines(station.engines)
    before = station.fake.deserialised
    with pytest.raises(EngineError, match="build-engine"):
        open_model(ModelRequest(station.bundle, engines=opened))
    # The networks were loaded before it, and it was not.
    assert station.fake.deserialised - before == len(opened.record.networks)
    assert not any(station.fake.driver.live.values())


def test_plans_from_before_there_was_one_that_cuts_still_open(station: Station) -> None:
    without = write_plans(
        station.bundle.parent, station.bundle.parent / "two", station.fake, cutter=False
    )
    text = (without.folder / RECORD).read_bytes()
    old = text.replace(b' "cutter": null,\n', b"")
    assert old != text
    assert EngineRecord.model_validate_json(old) == without.record


def test_a_frame_that_is_too_large_or_too_fine_for_the_device_is_cut_here(station: Station) -> None:
    small = frames()[0]
    wide = Frame(np.tile(small.pixels, (1, 2, 1)), 0, 0, 0.2, "wide.png", "1" * 64)
    # As many pixels, but its cells are four times as wide.
    near = np.repeat(np.repeat(small.pixels[35:85, 35:85], 4, axis=0), 4, axis=1)
    fine = Frame(near, 0, 0, 0.05, "fine.png", "2" * 64)
    with station.open() as model:
        assert model.chain is not None
        for frame, on_device in ((small, 1), (wide, 0), (fine, 0)):
            prepared, _ = prepare_frame(model, frame, FieldHistory(), crops=False)
            assert isinstance(prepared.crops, UncutCells)
            put = model.chain.moved.frames
            scheduler = scheduler_for(
                model.bundle.manifest, model.engines, model.batch_size, chain=model.chain
            )
            scheduler.enter(np.arange(len(prepared.crops)), prepared.crops)
            assert len(scheduler.run(flush=True).scores) == len(prepared.crops) > 0
            assert model.chain.moved.frames - put == on_device
        prepared, _ = prepare_frame(model, small, FieldHistory(), crops=True)
        assert isinstance(prepared.crops, np.ndarray)


def test_cells_of_a_prepared_frame_can_be_had_as_images(station: Station) -> None:
    with station.open() as model:
        for crops in (False, True):
            prepared, _ = prepare_frame(model, frames()[0], FieldHistory(), crops=crops)
            spec = model.bundle.manifest.crop
            wanted = cut_cells(prepared.detections, spec, cell_image=crops)
            last = np.array([len(wanted) - 1])
            np.testing.assert_array_equal(prepared.images(last), wanted[last])


def test_a_chain_is_made_of_plans_alone(station: Station) -> None:
    with pytest.raises(EngineError, match="cannot be chained: onnxruntime"):
        open_chain("onnxruntime", b"", (), {}, None)


def test_engines_that_were_opened_elsewhere_have_the_chain_that_was_opened_with_them(
    station: Station,
) -> None:
    with station.open(planned=False) as usual:
        lent = dict(usual.engines)
        resolved = resolve(ModelRequest(station.bundle, engines=open_engines(station.engines)))
        with open_resolved(resolved, lambda _: OpenNetworks(lent)) as model:
            assert model.chain is None
            assert replace(model, workers=2).chain is None
