"""A chain in another process is used as one that is here, and its process may die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.specs import CropSpec
from edgeapl.engines.hosted import process
from edgeapl.engines.hosted.chain import PLACES, HostedChain
from edgeapl.engines.hosted.client import Client
from edgeapl.engines.hosted.host import EngineHost
from edgeapl.engines.hosted.networks import MOST_BATCHES, ChainFile, NetworkFile
from edgeapl.engines.hosted.requests import Limit, PendingRequest
from edgeapl.engines.registry import Origin
from edgeapl.engines.store.folder import open_engines
from edgeapl.engines.trt import frames as trt_frames
from edgeapl.engines.trt import local_runtime
from edgeapl.engines.trt import stages as trt_stages
from edgeapl.engines.trt.crop_network import crop_network
from edgeapl.engines.trt.plan import record_of
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.model import Model, ModelRequest
from edgeapl.pipeline import Observer, SlideOptions, SlideOutcome, examine_slide
from edgeapl.process.restart import RestartBudget
from edgeapl.protocols import CellChain
from edgeapl.station.hosted_model import HostedModel, open_hosted
from edgeapl.testing import FakeDriver, ScriptedSource
from edgeapl.types import CellStatus, Decision, ExaminedFrame
from tests import gpu_child
from tests.fake_tensorrt import FakeTensorRt
from tests.gpu_chain import (
    LINKS,
    MASKED,
    NAMES,
    NETWORKS,
    OTHERS,
    RECOLOURED,
    SPEC,
    TURNED,
    Field,
    coloured,
    field,
    plainly,
    same,
    turned,
)
from tests.gpu_child import Trouble
from tests.gpu_engines import write_plans
from tests.small_bundle import SIZE, small_bundle
from tests.unit.test_model_on_device import FIELDS, Station, frames

pytestmark = pytest.mark.slow

ALL = slice(None)
SOON_S = 0.2


@pytest.fixture
def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(process, "CHILD", gpu_child.__name__)
    (tmp_path / "flags").mkdir()
    monkeypatch.setenv(gpu_child.FLAGS, str(tmp_path / "flags"))
    return tmp_path / "flags"


@dataclass(frozen=True, slots=True, eq=False)
class Hosted:
    """A host, its chain, and the frames that lie there."""

    host: EngineHost
    flags: Path

    @property
    def chain(self) -> HostedChain:
        assert self.host.chain is not None
        return self.host.chain

    def put(self, one: Field) -> int:
        place = self.chain.put(one.frame, one.labels)
        assert place is not None
        return place

    def soon(self) -> None:
        self.host.deadline(time.monotonic_ns() + int(SOON_S * 1e9))


def files(folder: Path, spec: CropSpec = SPEC) -> tuple[tuple[NetworkFile, ...], ChainFile]:
    """Write what a host opens; what the fake takes for a plan is an ONNX file."""
    place = FakeTensorRt(FakeDriver()).place

    def origin(plan: bytes) -> Origin:
        return Origin(record_of(plan, place), "this machine")

    folder.mkdir(exist_ok=True)
    networks = []
    for name, plan in NETWORKS.items():
        path = folder / f"{name}.plan"
        path.write_bytes(plan)
        networks.append(NetworkFile(name, "tensorrt", path, sha256(plan), origin=origin(plan)))
    cutter = crop_network(spec)
    path = folder / "cutter.plan"
    path.write_bytes(cutter)
    return tuple(networks), ChainFile("tensorrt", path, sha256(cutter), LINKS, origin(cutter))


@pytest.fixture
def hosted(tmp_path: Path, flags: Path) -> Iterator[Hosted]:
    networks, chained = files(tmp_path / "plans")
    with EngineHost.open(networks, chain=chained) as host:
        yield Hosted(host, flags)


def test_there_is_room_for_what_a_chain_holds() -> None:
    assert (MOST_BATCHES, PLACES) == (trt_stages.BATCHES, trt_frames.PLACES)


def test_batches_get_the_answers_of_the_networks_alone(hosted: Hosted) -> None:
    assert isinstance(hosted.chain, CellChain)
    one, other = field(0), field(1, cells=3)
    at, there = hosted.put(one), hosted.put(other)
    hosted.chain.start([one.on(at, slice(0, 2))], NAMES)
    hosted.chain.start([one.on(at, slice(2, 5)), other.on(there)], NAMES)
    assert same(hosted.chain.finish(), plainly([(one, slice(0, 2))]))
    hosted.chain.drop(at)
    hosted.chain.start([other.on(there)], NAMES[:1])
    assert same(hosted.chain.finish(), plainly([(one, slice(2, 5)), (other, ALL)]))
    assert same(hosted.chain.finish(), plainly([(other, ALL)], networks=NAMES[:1]))
    assert (hosted.chain.moved.frames, hosted.chain.moved.batches) == (2, 3)


def test_label_images_go_there_where_cells_are_masked(tmp_path: Path, flags: Path) -> None:
    networks, chained = files(tmp_path / "plans", MASKED)
    with EngineHost.open(networks, chain=chained) as host:
        masked, one = Hosted(host, flags), field(2)
        assert masked.chain.labelled
        masked.chain.start([one.on(masked.put(one))], NAMES)
        assert same(masked.chain.finish(), plainly([(one, ALL)], MASKED))


def test_views_of_cells_go_there_where_there_are_several(tmp_path: Path, flags: Path) -> None:
    networks, chained = files(tmp_path / "plans", TURNED)
    with EngineHost.open(networks, chain=chained) as host:
        turning, one, other = Hosted(host, flags), turned(field(2)), turned(field(1, cells=3))
        turning.chain.start([one.on(turning.put(one)), other.on(turning.put(other))], NAMES)
        assert same(turning.chain.finish(), plainly([(one, ALL), (other, ALL)], TURNED))


def test_colours_of_frames_go_there_where_cells_are_brought_to_others(
    tmp_path: Path, flags: Path
) -> None:
    networks, chained = files(tmp_path / "plans", RECOLOURED)
    with EngineHost.open(networks, chain=chained) as host:
        moving, one, other = Hosted(host, flags), coloured(field(2)), coloured(field(1, cells=3))
        moving.chain.start([one.on(moving.put(one)), other.on(moving.put(other))], NAMES)
        assert same(moving.chain.finish(), plainly([(one, ALL), (other, ALL)], RECOLOURED))


def test_a_frame_has_a_place_until_it_is_dropped(hosted: Hosted) -> None:
    one = field(0)
    for _ in range(3):
        places = [hosted.put(one) for _ in range(PLACES)]
        assert hosted.chain.put(one.frame, one.labels) is None
        for place in places:
            hosted.chain.start([one.on(place)], NAMES)
            assert same(hosted.chain.finish(), plainly([(one, ALL)]))
            hosted.chain.drop(place)


@pytest.mark.parametrize("again", [False, True])
def test_a_frame_that_came_when_nobody_waited_any_more_keeps_no_place(
    hosted: Hosted, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = field(0)
    answer = Client.answer

    def too_late(self: Client, pending: PendingRequest, limit: Limit) -> None:
        answer(self, pending, limit)
        raise DeadlineError("told to by the test")

    for _ in range(PLACES + 1):
        place = hosted.put(one)
        with monkeypatch.context() as late:
            late.setattr(Client, "answer", too_late)
            with pytest.raises(DeadlineError):
                hosted.chain.start([one.on(place)], NAMES)
        if again:
            hosted.chain.start([one.on(place)], NAMES)
            assert same(hosted.chain.finish(), plainly([(one, ALL)]))
        hosted.chain.drop(place)
    place = hosted.put(one)
    hosted.chain.start([one.on(place)], NAMES)
    assert same(hosted.chain.finish(), plainly([(one, ALL)]))
    assert hosted.host.health.deaths == 0


def test_a_network_can_be_asked_by_itself_while_batches_are_under_way(hosted: Hosted) -> None:
    one = field(0)
    place = hosted.put(one)
    for _ in range(MOST_BATCHES):
        hosted.chain.start([one.on(place)], NAMES)
    cells = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    assert set(hosted.host.engines["cells"].run({"cells": cells})) >= {"features"}
    for _ in range(MOST_BATCHES):
        assert same(hosted.chain.finish(), plainly([(one, ALL)]))


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (Trouble.FAILS_ONCE, "^chain failed while running: .*launch failed"),
        (Trouble.CRASHES_ONCE, "process died"),
    ],
)
def test_a_gpu_that_fails_costs_its_batch_and_the_next_process_goes_on(
    hosted: Hosted, trouble: Trouble, said: str
) -> None:
    one = field(0)
    place = hosted.put(one)
    hosted.chain.start([one.on(place)], NAMES)
    trouble.begin(hosted.flags)
    with pytest.raises(EngineError, match=said):
        hosted.chain.finish()
    for _ in range(2):
        hosted.chain.start([one.on(place)], NAMES)
        assert same(hosted.chain.finish(), plainly([(one, ALL)]))
    assert hosted.host.health.deaths == 1
    assert hosted.chain.moved.frames == 2


def test_a_gpu_that_fails_outside_the_chain_costs_one_run_and_the_next_process_goes_on(
    hosted: Hosted,
) -> None:
    engine, one = hosted.host.engines["cells"], field(0)
    place = hosted.put(one)
    cells = {"cells": np.zeros((2, SIZE, SIZE, 3), np.uint8)}
    wanted = engine.run(cells)
    for deaths in (1, 2, 3):
        Trouble.FAILS_ONCE.begin(hosted.flags)
        with pytest.raises(EngineError, match="network failed while running: cells: launch failed"):
            engine.run(cells)
        hosted.chain.start([one.on(place)], NAMES)
        assert same(hosted.chain.finish(), plainly([(one, ALL)]))
        np.testing.assert_array_equal(engine.run(cells)["features"], wanted["features"])
        assert hosted.host.health.deaths == deaths
        assert "launch failed" in hosted.host.health.text
    assert hosted.chain.moved.frames == 3


def test_runs_beside_one_that_broke_the_gpu_are_asked_again(tmp_path: Path, flags: Path) -> None:
    networks, _ = files(tmp_path / "plans")
    with EngineHost.open(networks, workers=2) as host, ThreadPoolExecutor(2) as pool:
        Trouble.HANGS.begin(flags)
        Trouble.FAILS_ONCE.begin(flags)
        cells = {"cells": np.zeros((2, SIZE, SIZE, 3), np.uint8)}
        asked = [pool.submit(host.engines[name].run, cells) for name in ("cells", "more")]
        while host.health.running < 2:
            time.sleep(0.01)
        Trouble.HANGS.end(flags)
        errors = [future.exception(timeout=20) for future in asked]
        assert sum(error is None for error in errors) == 1
        assert host.health.deaths == 1


def test_a_gpu_that_never_works_again_is_given_up_in_words(tmp_path: Path, flags: Path) -> None:
    networks, _ = files(tmp_path / "plans")
    with EngineHost.open(networks, budget=RestartBudget(restarts=1)) as host:
        cells = {"cells": np.zeros((1, SIZE, SIZE, 3), np.uint8)}
        for _ in range(2):
            Trouble.FAILS_ONCE.begin(flags)
            with pytest.raises(EngineError, match="launch failed"):
                host.engines["cells"].run(cells)
        with pytest.raises(EngineError, match=r"stay down: .*launch failed.* start the station"):
            host.engines["cells"].run(cells)


def test_a_gpu_with_less_memory_at_a_later_start_is_named_in_words(
    tmp_path: Path, flags: Path
) -> None:
    networks, chained = files(tmp_path / "plans")
    with EngineHost.open(networks, chain=chained, budget=RestartBudget(restarts=1)) as host:
        cells = {"cells": np.zeros((1, SIZE, SIZE, 3), np.uint8)}
        Trouble.SHORT.begin(flags)
        Trouble.FAILS_ONCE.begin(flags)
        with pytest.raises(EngineError, match="launch failed"):
            host.engines["cells"].run(cells)
        short = r"GPU memory is short: .* 4 cells at once, 8 at the start: end other programs"
        with pytest.raises(EngineError, match=short):
            host.engines["cells"].run(cells)


def test_a_gpu_with_more_memory_at_a_later_start_goes_on(tmp_path: Path, flags: Path) -> None:
    networks, chained = files(tmp_path / "plans")
    Trouble.SHORT.begin(flags)
    with EngineHost.open(networks, chain=chained, budget=RestartBudget(restarts=1)) as host:
        hosted, one = Hosted(host, flags), field(0)
        assert hosted.chain.most_cells == 4
        Trouble.SHORT.end(flags)
        Trouble.FAILS_ONCE.begin(flags)
        cells = {"cells": np.zeros((1, SIZE, SIZE, 3), np.uint8)}
        with pytest.raises(EngineError, match="launch failed"):
            host.engines["cells"].run(cells)
        host.engines["cells"].run(cells)
        hosted.chain.start([one.on(hosted.put(one), slice(0, 4))], NAMES)
        assert same(hosted.chain.finish(), plainly([(one, slice(0, 4))]))
        assert hosted.chain.most_cells == 4


def test_a_process_that_dies_between_batches_costs_nothing(hosted: Hosted) -> None:
    one = field(0)
    place = hosted.put(one)
    for _ in range(3):
        hosted.chain.start([one.on(place)], NAMES)
        assert same(hosted.chain.finish(), plainly([(one, ALL)]))
        pid = hosted.host.health.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while hosted.host.health.pid in (pid, None):
            time.sleep(0.01)
    hosted.chain.drop(place)
    assert hosted.host.health.deaths == 3


def test_a_gpu_that_hangs_is_left_at_the_deadline(hosted: Hosted) -> None:
    one = field(0)
    place = hosted.put(one)
    hosted.chain.start([one.on(place)], NAMES)
    hosted.chain.start([one.on(place, slice(0, 1))], NAMES)
    Trouble.HANGS.begin(hosted.flags)
    hosted.soon()
    for _ in range(MOST_BATCHES):
        with pytest.raises(DeadlineError, match="by the deadline"):
            hosted.chain.finish()
    with pytest.raises(DeadlineError, match="by the deadline"):
        hosted.chain.start([one.on(place)], NAMES)
    Trouble.HANGS.end(hosted.flags)
    hosted.host.deadline(None)
    hosted.chain.start([one.on(place)], NAMES)
    assert same(hosted.chain.finish(), plainly([(one, ALL)]))


def test_a_batch_behind_one_that_hangs_is_asked_again_for_the_frames_still_there(
    hosted: Hosted,
) -> None:
    one, other = field(0), field(1)
    at, there = hosted.put(one), hosted.put(other)
    hosted.chain.start([one.on(at)], NAMES)
    hosted.chain.start([one.on(at, slice(0, 2)), other.on(there)], NAMES)
    Trouble.HANGS.begin(hosted.flags)
    hosted.soon()
    with pytest.raises(DeadlineError):
        hosted.chain.finish()
    hosted.chain.drop(at)
    hosted.host.deadline(None)
    while not hosted.host.health.ended_late:
        time.sleep(0.01)
    Trouble.HANGS.end(hosted.flags)
    answers = hosted.chain.finish()
    wanted = plainly([(other, ALL)])
    for network, outputs in wanted.items():
        for key, values in outputs.items():
            assert np.isnan(answers[network][key][:2].astype(np.float64)).all()
            np.testing.assert_array_equal(answers[network][key][2:], values)


def test_a_batch_whose_frames_were_all_dropped_is_not_asked_again(hosted: Hosted) -> None:
    one = field(0)
    place = hosted.put(one)
    hosted.chain.start([one.on(place)], NAMES)
    hosted.chain.start([one.on(place)], NAMES)
    Trouble.HANGS.begin(hosted.flags)
    hosted.soon()
    with pytest.raises(DeadlineError):
        hosted.chain.finish()
    hosted.chain.drop(place)
    hosted.host.deadline(None)
    while not hosted.host.health.ended_late:
        time.sleep(0.01)
    Trouble.HANGS.end(hosted.flags)
    with pytest.raises(EngineError, match="given up"):
        hosted.chain.finish()


def test_a_plan_that_was_changed_since_it_was_checked_is_refused(
    tmp_path: Path, flags: Path
) -> None:
    networks, chained = files(tmp_path / "plans")
    chained.path.write_bytes(b"other")
    with pytest.raises(EngineError, match="changed since it was checked"):
        EngineHost.open(networks, chain=chained)


@pytest.fixture
def station(tmp_path: Path, flags: Path, monkeypatch: pytest.MonkeyPatch) -> Station:
    """A station whose GPU is here and in the processes of networks, one each."""
    small_bundle(tmp_path / "bundle")
    fake = FakeTensorRt(FakeDriver(), largest=8, others=OTHERS)
    monkeypatch.setattr(local_runtime, "find_library", lambda target: fake.library)
    monkeypatch.setattr(local_runtime, "load_driver", lambda: fake.driver)
    written = write_plans(tmp_path, tmp_path / "engines", fake)
    return Station(tmp_path / "bundle", written.folder, fake)


def open_station(station: Station) -> HostedModel:
    return open_hosted(ModelRequest(station.bundle, engines=open_engines(station.engines)))


def examined(
    model: Model, options: SlideOptions | None = None
) -> tuple[SlideOutcome, list[ExaminedFrame]]:
    found: list[ExaminedFrame] = []
    source = ScriptedSource(frames())
    outcome = examine_slide(model, "s", source, options or SlideOptions(), Observer(found.append))
    return outcome, found


def test_a_slide_at_the_station_gets_the_answers_that_it_gets_in_one_process(
    station: Station,
) -> None:
    with station.open() as here, open_station(station) as hosted:
        (wanted, there), (outcome, got) = examined(here), examined(hosted.model)
        assert hosted.model.chain is not None
        assert hosted.model.chain.moved == here.chain.moved  # type: ignore[union-attr]
        assert hosted.model.engine_digest == here.engine_digest
        assert hosted.model.runtime == here.runtime
    assert outcome.verdict.tally == wanted.verdict.tally
    assert outcome.verdict.tally.scored == sum(len(cells) for cells in FIELDS)
    for one, other in zip(got, there, strict=True):
        assert one.status == other.status
        for role, values in other.roles.items():
            np.testing.assert_array_equal(one.roles[role], values)


def test_a_gpu_that_hangs_ends_in_review_at_the_deadline_and_the_next_slide_is_examined(
    station: Station, flags: Path
) -> None:
    with open_station(station) as hosted:
        Trouble.HANGS.begin(flags)
        options = SlideOptions(budget=hosted.budget(1.0))
        outcome, got = examined(hosted.model, options)
        assert outcome.verdict.decision is Decision.REVIEW
        assert outcome.verdict.tally.not_examined == sum(len(cells) for cells in FIELDS)
        statuses = {status for one in got for status in one.status}
        assert statuses == {CellStatus.NOT_EXAMINED}
        Trouble.HANGS.end(flags)
        hosted.deadline(None)
        again, _ = examined(hosted.model)
    assert again.verdict.tally.scored == sum(len(cells) for cells in FIELDS)
    assert not again.errors
