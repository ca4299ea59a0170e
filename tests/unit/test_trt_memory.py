"""What plans take on a GPU: memory, shapes that they meet, kernels kept for the next start."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.trt import device
from edgeapl.engines.trt.batch_limit import TAKEN
from edgeapl.engines.trt.engine import TrtEngine
from edgeapl.engines.trt.memory import GpuMemory
from edgeapl.engines.trt.scratch import Scratch
from edgeapl.engines.trt.stages import BATCHES
from edgeapl.engines.trt.tensors import padded, sizes_of
from edgeapl.errors import EngineError
from edgeapl.testing import FakeDriver
from tests.fake_tensorrt import FakeTensorRt
from tests.gpu_chain import (
    LARGEST,
    NAMES,
    NETWORKS,
    OTHERS,
    Chained,
    chain_on,
    chained,
    engines_on,
    field,
    plainly,
    same,
)
from tests.small_bundle import SIZE, cell_network
from tests.unit.test_trt_chain import in_flight

ALL = slice(None)
MIB = 1 << 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where kernels are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "edgeapl" / "kernels"


def cells(count: int) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(count)
    return {"cells": rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)}


def right(engine: TrtEngine, count: int) -> bool:
    wanted, got = OrtEngine("cells", cell_network()).run(cells(count)), engine.run(cells(count))
    return all(np.allclose(got[key], wanted[key], atol=1e-6) for key in wanted)


def greedy(scratch: int, capacity: int = 8 << 30) -> FakeTensorRt:
    fake = FakeTensorRt(FakeDriver(capacity=capacity), LARGEST, OTHERS)
    fake.scratch = scratch
    return fake


def test_networks_and_chain_of_a_process_work_in_one_memory() -> None:
    fake = greedy(16 * MIB)
    engines = engines_on(fake)
    made = Chained(fake, engines, chain_on(fake, engines))
    buffers = sum(engine.layout.bytes for engine in engines.values())
    # Not one for each of three networks and of two batches under way.
    assert 16 * MIB < fake.driver.taken < 16 * MIB + 10 * buffers + 2 * MIB
    assert same(in_flight(made, [field(0)])[0], plainly([(field(0), ALL)]))
    made.close()
    assert not any(fake.driver.live.values())
    assert fake.driver.taken == 0


def test_segmentation_cells_and_head_take_turns_within_a_process() -> None:
    fake = greedy(16 * MIB)
    segmenting = fake.open(cell_network(), "detector")
    engines = engines_on(fake)
    made = Chained(fake, engines, chain_on(fake, engines))
    everything = [segmenting, *engines.values()]
    assert len({id(engine.scratch) for engine in everything}) == 1
    assert segmenting.scratch.size == 16 * MIB
    buffers = sum(engine.layout.bytes for engine in everything)
    assert 16 * MIB < fake.driver.taken < 16 * MIB + 10 * buffers + 2 * MIB
    # While a batch of cells is under way the next frame is segmented, and neither spoils the other.
    for seed in range(6):
        one = field(seed)
        place = made.chain.put(one.frame, one.labels)
        assert place is not None
        made.chain.start([one.on(place, ALL)], NAMES)
        assert right(segmenting, 1 + seed)
        assert same(made.chain.finish(), plainly([(one, ALL)]))
        made.chain.drop(place)
    # The device's primary context, and none of anybody's own beside it.
    assert "retain_primary_context" in fake.driver.calls
    assert not {"make_context", "Context"} & set(fake.driver.calls)
    segmenting.close()
    made.close()
    assert fake.driver.taken == 0
    assert not any(fake.driver.live.values())


def test_a_greedier_network_gets_more_and_the_others_work_in_it_too() -> None:
    fake = greedy(MIB)
    small = fake.open(cell_network(), "small")
    fake.scratch = 5 * MIB
    large = fake.open(cell_network(), "large")
    assert all(right(engine, count) for count in (3, 8) for engine in (small, large, small))
    taken = fake.driver.taken - small.layout.bytes - large.layout.bytes
    assert taken == 5 * MIB
    large.close()
    assert right(small, 5)
    small.close()
    assert fake.driver.taken == 0


def test_who_works_in_the_memory_waits_for_the_one_before() -> None:
    driver = FakeDriver()
    first, second, scratch = GpuMemory(driver), GpuMemory(driver), Scratch(driver)
    done: list[str] = []
    with first.active():
        scratch.reserve(MIB)
        one, other = first.new_stream(), second.new_stream()
        for name, stream in (("one", one), ("other", other)):
            with scratch.lease(stream):
                driver.enqueue(stream.raw.handle, lambda name=name: done.append(name))  # type: ignore[misc]
        other.over.raw.record(other.raw)
        other.over.raw.synchronize()
    assert done == ["one", "other"]


def test_memory_that_is_short_is_lent_again_when_somebody_asks() -> None:
    driver = FakeDriver(capacity=3 * MIB)
    memory, scratch = GpuMemory(driver), Scratch(driver)
    with memory.active():
        scratch.reserve(MIB)
        with pytest.raises(FakeDriver.Error, match="out of memory"):
            scratch.reserve(5 * MIB)
        with scratch.lease(memory.stream) as lent:
            assert lent[1] == MIB
        scratch.release(MIB)
    assert driver.taken == 0


@pytest.mark.parametrize(("free_mib", "most"), [(200, 8), (64, 4), (40, 2), (20, 1), (8, 0)])
def test_the_largest_batch_is_one_that_there_is_memory_for(free_mib: int, most: int) -> None:
    fake = greedy(80 * MIB, free_mib * MIB)
    if not most:
        with pytest.raises(EngineError, match=r"GPU memory is short: cells: 10 MiB .* end other"):
            fake.open(cell_network())
        assert not any(fake.driver.live.values())
        return
    engine = fake.open(cell_network())
    assert engine.layout.batches == (1, most)
    assert fake.driver.most_taken <= free_mib * MIB * TAKEN
    assert right(engine, 8)
    assert right(engine, 3)
    assert right(engine, 1)
    engine.close()
    assert fake.driver.taken == 0


def test_a_chain_takes_no_more_cells_than_its_networks_have_memory_for() -> None:
    fake = greedy(80 * MIB, 150 * MIB)
    fake.driver.capacity = 100 * MIB
    engines = engines_on(fake)
    fake.driver.capacity = 1 << 30
    made = Chained(fake, engines, chain_on(fake, engines))
    assert made.chain.most_cells == 4
    place = made.chain.put(field(0, 4).frame, field(0, 4).labels)
    assert place is not None
    for rows in (ALL, slice(0, 1), slice(1, 4)):
        made.chain.start([field(0, 4).on(place, rows)], NAMES)
        assert same(made.chain.finish(), plainly([(field(0, 4), rows)]))


def test_sizes_are_few_and_hold_every_batch() -> None:
    assert sizes_of((1, 32)) == (4, 8, 16, 32)
    assert sizes_of((1, 8)) == (1, 2, 4, 8)
    assert sizes_of((4, 16)) == (4, 8, 16)
    assert sizes_of((1, 1)) == (1,)
    assert sizes_of((0, 0)) == ()
    assert [padded(rows, (4, 8)) for rows in (1, 4, 5, 8)] == [4, 4, 8, 8]
    assert padded(5, ()) == 5


def test_a_plan_meets_four_shapes_and_its_warm_up_is_where_it_meets_them() -> None:
    fake = FakeTensorRt(FakeDriver())
    engine = fake.open(cell_network())
    engine.warm_up()
    met = set(fake.shapes)
    assert {shape[0] for _, shape in met} == {1, 2, 4, 8}
    assert all(right(engine, count) for count in range(1, 25))
    assert fake.shapes == met


def test_a_chain_meets_its_shapes_in_the_warm_up_and_counts_nothing_of_it() -> None:
    made = chained()
    made.chain.warm_up()
    met = {(key, shape) for key, shape in made.fake.shapes if key in ("cells", "ratios", "places")}
    assert {shape[0] for _, shape in met} == {1, 2, 4, 8}
    assert made.chain.moved.frames == made.chain.moved.batches == made.chain.moved.up == 0
    for count in range(1, 9):
        one = field(count, count)
        assert same(in_flight(made, [one])[0], plainly([(one, ALL)]))
    now = {(key, shape) for key, shape in made.fake.shapes if key in ("cells", "ratios", "places")}
    assert now == met
    assert made.chain.moved.frames == 8


def test_a_head_is_warmed_up_in_the_shape_that_it_has() -> None:
    engine = FakeTensorRt(FakeDriver()).open(NETWORKS["second"], "head")
    engine.warm_up()
    assert engine.run({"ratios": np.zeros((1, 3), np.float32)})["apl"].shape == (1,)


@pytest.mark.parametrize("capturable", [True, False])
def test_graphs_are_captured_only_where_the_library_says_that_they_can_be(capturable: bool) -> None:
    fake = FakeTensorRt(FakeDriver(), LARGEST, OTHERS)
    fake.offer_graphs()
    fake.capturable = capturable
    engines = engines_on(fake)
    made = Chained(fake, engines, chain_on(fake, engines))
    kept = sum("graphs" in how for how in fake.contexts)
    assert kept == len(NETWORKS) * (1 + BATCHES)
    words = "with" if capturable else "without"
    assert made.chain.runtime == f"tensorrt 10.3.0 Fake GPU {words} CUDA graphs, cells cut there"
    assert len([one for one in fake.alive if one.graphs]) == (kept if capturable else 0)
    assert same(in_flight(made, [field(0)])[0], plainly([(field(0), ALL)]))


def test_nobody_who_waits_for_the_gpu_keeps_a_core_busy() -> None:
    made = chained()
    in_flight(made, [field(seed) for seed in range(3)])
    made.engines["cells"].run(cells(2))
    made.close()
    waits = [work for work in made.driver.log if "synchronize" in work.call]
    assert waits
    assert all(work.sleeps for work in waits)


def test_where_memory_is_shared_with_the_processor_only_frames_are_copied() -> None:
    made = chained(FakeDriver(integrated=True))
    assert right(made.engines["cells"], 5)
    assert made.engines["cells"].moved.up == 0
    fields = [field(seed) for seed in range(4)]
    got = in_flight(made, fields)
    assert all(same(one, plainly([(two, ALL)])) for one, two in zip(got, fields, strict=True))
    copies = [work for work in made.driver.log if work.call.startswith("memcpy_")]
    assert [work.size for work in copies] == [math.prod(field(0).frame.pixels.shape)] * 4
    made.fake.silent = True
    assert np.isnan(made.engines["cells"].run(cells(2))["features"]).all()
    made.close()
    assert not any(made.driver.live.values())


def rtx() -> FakeTensorRt:
    """TensorRT-RTX in a process that has just started."""
    fake = FakeTensorRt(FakeDriver(), LARGEST, OTHERS)
    fake.offer_graphs()
    return fake


def started() -> tuple[int, FakeTensorRt]:
    """Start a process with a chain; gives how many kernels were compiled."""
    fake = rtx()
    engines = engines_on(fake)
    for engine in engines.values():
        engine.warm_up()
    made = chain_on(fake, engines)
    made.warm_up()
    (compiled,) = fake.caches
    return compiled.compiled, fake


def test_the_second_start_compiles_nothing(cache: Path) -> None:
    first, _ = started()
    assert first > 8
    (file,) = cache.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert started()[0] == 0


@pytest.mark.parametrize(
    "harm",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-1] + b"~"),
        lambda file: file.write_bytes(b""),
        lambda file: file.chmod(0o666),
        lambda file: file.unlink(),
    ],
    ids=["changed", "empty", "others may write it", "gone"],
)
def test_kernels_that_are_not_what_this_user_kept_are_compiled_again(
    cache: Path, harm: object
) -> None:
    first, _ = started()
    (file,) = cache.iterdir()
    harm(file)  # type: ignore[operator]
    assert started()[0] == first
    assert started()[0] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_kernels_of_another_user_are_not_used(cache: Path) -> None:
    first, _ = started()
    (file,) = cache.iterdir()
    os.chown(file, 65534, -1)
    assert started()[0] == first


def test_a_folder_that_can_not_be_written_costs_only_time(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("read-only file system")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    first, fake = started()
    assert first
    assert not list(cache.iterdir())
    assert device.plan_resources(fake.driver, fake.library).kernels


def test_the_cache_outlives_the_plans_that_it_was_made_for(cache: Path) -> None:
    fake = rtx()
    for _ in range(3):
        engine = fake.open(cell_network())
        engine.warm_up()
        engine.close()
    assert len(fake.caches) == 1
