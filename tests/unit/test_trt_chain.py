"""A chain on a GPU: what goes over the bus, in what order, and what comes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.bundle.specs import CropSpec
from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.trt.chain import TrtChain, open_chain
from edgeapl.engines.trt.crop_network import crop_network
from edgeapl.engines.trt.frames import PLACES
from edgeapl.engines.trt.plan import StoredPlan, record_of
from edgeapl.engines.trt.stages import BATCHES
from edgeapl.errors import EngineError
from edgeapl.protocols import CellChain, Link
from edgeapl.testing import FakeDriver, Work
from tests.fake_tensorrt import FakeTensorRt
from tests.gpu_chain import (
    LARGEST,
    LINKS,
    MASKED,
    NAMES,
    NETWORKS,
    OTHERS,
    RECOLOURED,
    SPEC,
    TURNED,
    Answers,
    Chained,
    Field,
    chain_on,
    chained,
    coloured,
    engines_on,
    field,
    plainly,
    same,
    turned,
)
from tests.small_bundle import SIZE
from tests.unit.test_trt_engine import pooling_network

ALL = slice(None)


def streams_of(made: Chained) -> dict[str, int]:
    """Numbers of the chain's streams, which are the first: the plans have not run."""
    assert made.driver.calls.count("Stream") == 4
    return {name: number for number, name in enumerate(("upload", "cut", "judge", "download"))}


def put(made: Chained, one: Field) -> int:
    place = made.chain.put(one.frame, one.labels)
    assert place is not None
    return place


def one_batch(made: Chained, one: Field) -> Answers:
    place = put(made, one)
    made.chain.start([one.on(place)], NAMES)
    made.chain.drop(place)
    return made.chain.finish()


def in_flight(made: Chained, fields: list[Field]) -> list[Answers]:
    """Run one batch per frame as a pipeline does: the next is started before one is awaited."""
    found = []
    for number, one in enumerate(fields):
        place = put(made, one)
        if number >= BATCHES:
            found.append(made.chain.finish())
        made.chain.start([one.on(place)], NAMES)
        made.chain.drop(place)
    while len(found) < len(fields):
        found.append(made.chain.finish())
    return found


def copies(made: Chained, call: str) -> list[Work]:
    return [work for work in made.driver.log if work.call == call]


def test_it_is_a_chain() -> None:
    assert isinstance(chained().chain, CellChain)


@pytest.mark.parametrize(
    "spec",
    [SPEC, MASKED, RECOLOURED, TURNED],
    ids=["plain", "masked", "recoloured", "turned"],
)
def test_the_answers_are_those_of_the_same_networks_alone(spec: CropSpec) -> None:
    made = chained(spec=spec)
    for seed in range(3):
        one = coloured(field(seed)) if spec is RECOLOURED else field(seed)
        one = turned(one) if spec is TURNED else one
        assert same(one_batch(made, one), plainly([(one, ALL)], spec))


def test_every_frame_is_moved_by_its_own_colours() -> None:
    made, one, other = chained(spec=RECOLOURED), coloured(field(0)), coloured(field(1))
    made.chain.warm_up()
    at, there = put(made, one), put(made, other)
    made.chain.start([one.on(at), other.on(there, slice(0, 3))], NAMES)
    wanted = [(one, ALL), (other, slice(0, 3))]
    assert same(made.chain.finish(), plainly(wanted, RECOLOURED))


@pytest.mark.parametrize("spec", [SPEC, RECOLOURED], ids=["plain", "recoloured"])
def test_a_plan_that_was_built_for_another_setting_is_refused(spec: CropSpec) -> None:
    one = field(0) if spec is RECOLOURED else coloured(field(0))
    with pytest.raises(EngineError, match="build the engines again"):
        put(chained(spec=spec), one)


def test_a_frame_goes_up_once_and_no_cell_does() -> None:
    made, one = chained(), field(0, cells=7)
    made.driver.log.clear()
    place = put(made, one)
    for rows in (slice(0, 3), slice(3, 7)):
        made.chain.start([one.on(place, rows)], NAMES)
        made.chain.finish()
    sizes = [work.size for work in copies(made, "memcpy_htod_async")]
    squares = [16 * 4, 16 * 4]  # three are padded to four
    assert sizes == [one.frame.pixels.nbytes, 8, *squares]


def test_only_answers_that_are_asked_for_come_down() -> None:
    made, one = chained(), field(0)
    one_batch(made, one)
    sizes = [work.size for work in copies(made, "memcpy_dtoh_async")]
    # Of five cells a probability, three features, and a probability of each other network.
    assert sizes == [20, 60, 20, 20]


def test_masked_cells_need_the_label_image_as_well_and_nothing_else() -> None:
    made, one = chained(spec=MASKED), field(0)
    made.driver.log.clear()
    one_batch(made, one)
    sizes = [work.size for work in copies(made, "memcpy_htod_async")]
    # Five are padded to eight.
    assert sizes == [one.frame.pixels.nbytes, one.labels.nbytes, 8, 16 * 8, 4 * 8]


def test_every_copy_is_from_or_to_page_locked_memory() -> None:
    made = chained(spec=MASKED)
    in_flight(made, [field(seed) for seed in range(4)])
    assert len(made.driver.log) > 50
    assert all(work.locked for work in made.driver.log)


def test_each_stage_has_a_stream_and_begins_with_the_event_of_the_one_before() -> None:
    made = chained()
    number = streams_of(made)
    made.driver.log.clear()
    place = put(made, field(0))
    del made.driver.log[:3]  # the frame, its extent and the event after them
    made.chain.start([field(0).on(place)], NAMES)
    log = [(work.call, work.stream, work.event) for work in made.driver.log]
    sent, cut, rested, judged, done = (event for call, _, event in log if call == "event_record")
    assert len({sent, cut, rested, judged, done}) == 5
    assert log == [
        ("memcpy_htod_async", number["upload"], -1),
        ("event_record", number["upload"], sent),
        ("wait_for_event", number["cut"], sent),
        ("enqueue", number["cut"], -1),
        ("event_record", number["cut"], cut),
        ("wait_for_event", number["judge"], cut),
        # The memory that networks work in is theirs from here on, and others' again at the end.
        ("wait_for_event", number["judge"], rested),
        *[("memset_d8_async", number["judge"], -1)] * 4,
        ("enqueue", number["judge"], -1),
        ("memset_d8_async", number["judge"], -1),
        ("enqueue", number["judge"], -1),
        *[("memset_d8_async", number["judge"], -1)] * 4,
        ("enqueue", number["judge"], -1),
        ("event_record", number["judge"], rested),
        ("event_record", number["judge"], judged),
        ("wait_for_event", number["download"], judged),
        *[("memcpy_dtoh_async", number["download"], -1)] * 4,
        ("event_record", number["download"], done),
    ]


def test_the_host_waits_once_for_a_batch() -> None:
    made = chained()
    made.driver.log.clear()
    in_flight(made, [field(seed) for seed in range(5)])
    waits = [work for work in made.driver.log if "synchronize" in work.call]
    assert [work.call for work in waits] == ["event_synchronize"] * 5


def test_a_frame_and_its_batch_are_on_their_way_before_the_batch_before_is_awaited() -> None:
    made = chained()
    made.driver.log.clear()
    in_flight(made, [field(seed) for seed in range(4)])
    large = field(0).frame.pixels.nbytes
    up = [n for n, work in enumerate(made.driver.log) if work.size == large]
    waits = [n for n, work in enumerate(made.driver.log) if work.call == "event_synchronize"]
    runs = [n for n, work in enumerate(made.driver.log) if work.call == "enqueue"]
    per_batch = 1 + len(NETWORKS)
    for number in range(3):
        assert up[number + 1] < waits[number]
        # All of a batch but the last two has been started when one is awaited.
        assert runs[min(number + 2, 4) * per_batch - 1] < waits[number]


ORDERS = [(), (0,), (1,), (2,), (3,), (0, 1), (2, 3), (0, 1, 2, 3), (3, 2, 1, 0)]


@pytest.mark.parametrize("ahead", ORDERS, ids=str)
def test_the_answers_do_not_depend_on_which_stream_is_fast(ahead: tuple[int, ...]) -> None:
    fields = [field(seed) for seed in range(6)]
    assert right_in(ahead, fields, lambda driver: None)


def right_in(
    ahead: tuple[int, ...], fields: list[Field], spoil: Callable[[FakeDriver], None]
) -> bool:
    driver = FakeDriver()
    made = chained(driver)
    driver.run_ahead(*ahead)
    spoil(driver)
    wanted = [plainly([(one, ALL)]) for one in fields]
    got = in_flight(made, fields)
    return all(same(one, other) for one, other in zip(got, wanted, strict=True))


@pytest.mark.parametrize("lost", range(3))
def test_each_event_between_streams_is_needed(lost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The waits of every batch come in this order: cut, judge, for scratch memory, download.
    def spoil(driver: FakeDriver) -> None:
        count, wait = iter(range(10_000)), driver.wait_for_event

        def skip(stream: int, event: int, state: object) -> None:
            if next(count) % 4 != (0, 1, 3)[lost]:
                wait(stream, event, state)  # type: ignore[arg-type]

        monkeypatch.setattr(driver, "wait_for_event", skip)

    def right(ahead: tuple[int, ...]) -> bool:
        try:
            return right_in(ahead, [field(seed) for seed in range(6)], spoil)
        except EngineError:  # what was cut was no cell at all
            return False

    assert not all(right(ahead) for ahead in ORDERS)


@pytest.mark.parametrize("ahead", ORDERS, ids=str)
def test_a_place_is_filled_again_only_when_nothing_uses_it(ahead: tuple[int, ...]) -> None:
    made, fields = chained(), [field(seed) for seed in range(PLACES + 2)]
    made.driver.run_ahead(*ahead)
    places = [put(made, one) for one in fields[:PLACES]]
    assert made.chain.put(fields[-1].frame, fields[-1].labels) is None
    made.chain.start([fields[0].on(places[0])], NAMES)
    made.chain.drop(places[0])
    made.chain.drop(places[1])  # of which nothing was cut
    first, second = put(made, fields[-2]), put(made, fields[-1])
    assert {first, second} == set(places[:2])
    made.chain.start([fields[-1].on(second)], NAMES)
    assert same(made.chain.finish(), plainly([(fields[0], ALL)]))
    assert same(made.chain.finish(), plainly([(fields[-1], ALL)]))


@pytest.mark.parametrize("seed", range(12))
def test_any_order_of_calls_on_streams_of_any_speed_gives_the_right_answers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = chained(spec=MASKED)
    made.driver.run_ahead(*rng.permutation(4)[: rng.integers(0, 5)].tolist())
    there: dict[int, Field] = {}
    under_way: list[list[tuple[Field, slice]]] = []
    for turn in range(40):
        work = rng.integers(0, 4)
        if work == 0:
            height, width = rng.integers(60, 190, 2).tolist()
            new = field(100 * seed + turn, int(rng.integers(1, 9)), height, width)
            place = made.chain.put(new.frame, new.labels)
            assert (place is None) == (len(there) == PLACES)
            if place is not None:
                there[place] = new
        elif work == 1 and there:
            gone = int(rng.choice(list(there)))
            del there[gone]
            made.chain.drop(gone)
        elif work == 2 and there and len(under_way) < BATCHES:
            parts, left = [], LARGEST
            for place in rng.permutation(list(there)).tolist():
                rows = slice(0, min(left, int(rng.integers(1, len(there[place].numbers) + 1))))
                if left:
                    parts.append((place, rows))
                left -= rows.stop
            made.chain.start([there[place].on(place, rows) for place, rows in parts], NAMES)
            under_way.append([(there[place], rows) for place, rows in parts])
        elif work == 3 and under_way:
            assert same(made.chain.finish(), plainly(under_way.pop(0), MASKED))
    while under_way:
        assert same(made.chain.finish(), plainly(under_way.pop(0), MASKED))
    made.close()
    assert not any(made.driver.live.values())


def test_cells_of_several_frames_make_one_batch() -> None:
    made, one, other = chained(spec=MASKED), field(0), field(1)
    places = [put(made, one), put(made, other)]
    made.driver.log.clear()
    rows = slice(1, 4)
    made.chain.start([one.on(places[0], rows), other.on(places[1])], NAMES)
    assert same(made.chain.finish(), plainly([(one, rows), (other, ALL)], MASKED))
    moved = [work.size for work in copies(made, "memcpy_dtod_async")]
    assert moved == [5 * SIZE * SIZE * 3]


def test_frames_may_lie_in_memory_in_any_order() -> None:
    made, one = chained(spec=MASKED), field(0)
    turned = np.asfortranarray(one.labels)
    every_other = np.repeat(one.frame.pixels, 2, axis=1)[:, ::2]
    assert not turned.flags.c_contiguous
    assert not every_other.flags.c_contiguous
    frame = dataclasses.replace(one.frame, pixels=every_other)
    odd = dataclasses.replace(one, frame=frame, labels=turned)
    assert same(one_batch(made, odd), plainly([(one, ALL)], MASKED))


def test_some_of_the_networks_may_be_asked_alone() -> None:
    made, one = chained(), field(0)
    place = put(made, one)
    made.chain.start([one.on(place)], ("more",))
    assert same(made.chain.finish(), plainly([(one, ALL)], networks=("more",)))


def test_a_larger_frame_gets_a_larger_place() -> None:
    made = chained()
    for number, (height, width) in enumerate([(60, 70), (120, 150), (200, 200), (50, 50)]):
        one = field(number, height=height, width=width)
        assert same(one_batch(made, one), plainly([(one, ALL)]))
        held = dict(made.driver.live)
    one_batch(made, field(9, height=200, width=200))
    assert dict(made.driver.live) == held


def test_a_place_grows_only_when_nothing_is_on_its_way_there() -> None:
    made, large = chained(), field(5, height=200, width=200)
    for place in [put(made, field(seed)) for seed in range(PLACES)]:
        made.chain.drop(place)
    assert same(one_batch(made, large), plainly([(large, ALL)]))


def test_what_is_too_large_is_not_taken() -> None:
    made, one = chained(), field(0)
    assert (made.chain.most_pixels, made.chain.widest_cut) == (OTHERS["frame"], OTHERS["steps"])
    assert made.chain.most_cells == LARGEST
    place = put(made, field(0, cells=LARGEST + 1))
    with pytest.raises(EngineError, match="does not fit"):
        made.chain.start([field(0, cells=LARGEST + 1).on(place)], NAMES)
    assert same(one_batch(made, one), plainly([(one, ALL)]))


def test_a_third_batch_is_refused_until_the_first_is_finished() -> None:
    made, one = chained(), field(0)
    place = put(made, one)
    for _ in range(BATCHES):
        made.chain.start([one.on(place)], NAMES)
    with pytest.raises(EngineError, match="finish the first"):
        made.chain.start([one.on(place)], NAMES)
    made.chain.finish()
    made.chain.start([one.on(place)], NAMES)


def test_an_answer_that_was_never_written_is_nan_and_not_the_one_before() -> None:
    made = chained()
    one_batch(made, field(0))
    one_batch(made, field(1))
    made.fake.silent = True
    for outputs in one_batch(made, field(2)).values():
        for values in outputs.values():
            assert np.isnan(values.astype(np.float64)).all()


def test_answers_stay_what_they_were() -> None:
    made = chained()
    first = one_batch(made, field(0))
    for seed in range(1, 4):
        one_batch(made, field(seed))
    assert same(first, plainly([(field(0), ALL)]))


def test_bytes_over_the_bus_are_counted_and_far_fewer_than_with_cells_uploaded() -> None:
    made, fields = chained(), [field(seed, LARGEST, 60, 70) for seed in range(3)]
    before = made.chain.moved
    assert before.up == OTHERS["steps"] * 4
    made.driver.log.clear()
    in_flight(made, fields)
    moved = made.chain.moved
    assert moved.up - before.up == sum(w.size for w in copies(made, "memcpy_htod_async"))
    assert moved.down == sum(w.size for w in copies(made, "memcpy_dtoh_async"))
    assert (moved.frames, moved.batches) == (3, 3)
    plain = engines_on(FakeTensorRt(FakeDriver(), LARGEST))
    crops = np.zeros((LARGEST, SIZE, SIZE, 3), np.uint8)
    for _ in fields:
        features = plain["cells"].run({"cells": crops})["features"]
        plain["second"].run({"ratios": features.astype(np.float32)})
        plain["more"].run({"cells": crops})
    uploaded = sum(engine.moved.up for engine in plain.values())
    downloaded = sum(engine.moved.down for engine in plain.values())
    assert uploaded == 3 * (2 * crops.nbytes + LARGEST * 12)
    per_frame = fields[0].frame.pixels.nbytes + 8 + 16 * LARGEST
    assert moved.up - before.up == 3 * per_frame < uploaded / 3
    assert moved.down < downloaded


RUNNING = (
    "memcpy_htod_async",
    "event_record",
    "wait_for_event",
    "execute_async_v3",
    "memcpy_dtod_async",
    "memset_d8_async",
    "memcpy_dtoh_async",
    "event_synchronize",
    "pagelocked_empty",
    "mem_alloc",
    "push",
)


@pytest.mark.parametrize("call", RUNNING)
@pytest.mark.parametrize("later", [0, 1])
def test_each_call_that_fails_is_one_error_and_the_last_and_all_is_freed(
    call: str, later: int
) -> None:
    made = chained()
    counted = made.driver.calls.count(call)
    made.driver.fail_on = {call: counted + later}

    def work() -> None:
        places = [put(made, field(0)), put(made, field(1))]
        for _ in range(2):
            made.chain.start([field(n).on(places[n], slice(0, 4)) for n in (0, 1)], NAMES)
        made.chain.finish()
        made.chain.finish()

    with pytest.raises(EngineError, match=f"failed while running: crop: {call} failed") as caught:
        work()
    assert "\n" not in str(caught.value)
    made.driver.fail_on = {}
    for refused in (
        lambda: put(made, field(0)),
        lambda: made.chain.start([field(0).on(0)], NAMES),
        made.chain.finish,
    ):
        with pytest.raises(EngineError, match="failed before: crop: open it again"):
            refused()
    made.close()
    assert not any(made.driver.live.values())
    assert not made.driver.contexts


@pytest.mark.parametrize("call", ["memcpy_dtod_async", "execute_async_v3", "memset_d8_async"])
def test_contexts_go_before_their_memory_though_the_error_is_still_held(call: str) -> None:
    made = chained()
    made.driver.fail_on = {call: made.driver.calls.count(call)}
    places = [put(made, field(n)) for n in (0, 1)]
    parts = [field(n).on(place, slice(0, 2)) for n, place in enumerate(places)]
    with pytest.raises(EngineError) as held:
        made.chain.start(parts, NAMES)
    made.chain.close()
    # Those of the plans are left.
    assert len(made.fake.alive) == len(NETWORKS)
    assert held.value.__cause__ is not None


@pytest.mark.parametrize(("call", "later"), [("Event", 2), ("mem_alloc", 9), ("Event", 9)])
def test_contexts_go_though_the_error_of_a_chain_that_was_not_made_is_still_held(
    call: str, later: int
) -> None:
    fake = FakeTensorRt(FakeDriver(), LARGEST, OTHERS)
    engines = engines_on(fake)
    fake.driver.fail_on = {call: fake.driver.calls.count(call) + later}
    with pytest.raises(EngineError) as held:
        chain_on(fake, engines)
    assert len(fake.contexts) > len(NETWORKS)
    assert len(fake.alive) == len(NETWORKS)
    assert held.value.__cause__ is not None


@pytest.mark.parametrize("call", ["set_input_shape", "set_tensor_address", "execute_async_v3"])
def test_a_refused_call_ends_in_an_error_with_the_librarys_reason(call: str) -> None:
    made = chained()
    made.fake.refuses = call
    with pytest.raises(EngineError, match=f"{call}: refused"):
        one_batch(made, field(0))
    made.fake.refuses = ""
    with pytest.raises(EngineError, match="failed before"):
        one_batch(made, field(0))


def test_an_error_that_the_library_only_logs_is_an_error() -> None:
    made = chained()
    made.fake.complains = True
    with pytest.raises(EngineError, match="kernel failed"):
        one_batch(made, field(0))


def test_an_interrupted_chain_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = chained()

    def interrupt(event: int, state: object, *, sleeps: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(made.driver, "synchronize_event", interrupt)
    with pytest.raises(KeyboardInterrupt):
        one_batch(made, field(0))
    with pytest.raises(EngineError, match="interrupted before"):
        made.chain.finish()


LOADING = ("Stream", "Event", "mem_alloc", "pagelocked_empty", "memcpy_htod_async", "push")


@pytest.mark.parametrize("call", LOADING)
@pytest.mark.parametrize("later", [0, 3])
def test_a_chain_that_can_not_be_made_leaves_nothing_behind(call: str, later: int) -> None:
    fake = FakeTensorRt(FakeDriver(), LARGEST, OTHERS)
    engines = engines_on(fake)
    held, counted = dict(fake.driver.live), fake.driver.calls.count(call)
    made_at_most = {"memcpy_htod_async": 1, "push": 1}
    fake.driver.fail_on = {call: counted + min(later, made_at_most.get(call, 9) - 1)}
    with pytest.raises(EngineError, match=f"chain could not be made: crop: {call} failed"):
        chain_on(fake, engines)
    assert dict(fake.driver.live) == held
    assert not fake.driver.contexts


@pytest.mark.parametrize("call", ["create_execution_context", "set_tensor_address"])
def test_a_library_that_refuses_while_a_chain_is_made_leaves_nothing_behind(call: str) -> None:
    fake = FakeTensorRt(FakeDriver(), LARGEST, OTHERS)
    engines = engines_on(fake)
    held = dict(fake.driver.live)
    fake.refuses = call
    with pytest.raises(EngineError, match="plan could not be loaded"):
        chain_on(fake, engines)
    assert dict(fake.driver.live) == held


def test_closing_frees_all_but_the_plans_and_a_closed_chain_refuses() -> None:
    fake = FakeTensorRt(FakeDriver(), LARGEST, OTHERS)
    engines = engines_on(fake)
    held = dict(fake.driver.live)
    chain = chain_on(fake, engines)
    made = Chained(fake, engines, chain)
    in_flight(made, [field(seed) for seed in range(3)])
    chain.close()
    chain.close()
    assert dict(fake.driver.live) == held
    with pytest.raises(EngineError, match="chain was closed"):
        put(made, field(0))
    crops: NDArray[np.generic] = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    assert engines["cells"].run({"cells": crops})["features"].shape == (2, 3)


def test_a_plan_that_was_changed_is_never_deserialised() -> None:
    fake = FakeTensorRt(FakeDriver(), LARGEST, OTHERS)
    engines, plan = engines_on(fake), crop_network(SPEC)
    count, built = fake.deserialised, record_of(plan, fake.place)
    elsewhere = dataclasses.replace(built, place=dataclasses.replace(built.place, machine="that"))
    for bad, record in ((plan[:-1] + bytes([plan[-1] ^ 1]), built), (plan, elsewhere)):
        stored = StoredPlan("tensorrt", "crop", bad, record, "this machine")
        with pytest.raises(EngineError, match=r"crop.*edgeapl build-engine"):
            open_chain(stored, LINKS, engines, driver=fake.driver, library=fake.library)
    assert fake.deserialised == count


@pytest.mark.parametrize(
    ("network", "link", "message"),
    [
        (pooling_network(), Link("pool", "cells", ("cells", "features"), ()), "each by itself"),
        (NETWORKS["more"], Link("pool", "cells", ("cells", "features"), ()), "takes uint8"),
        (NETWORKS["second"], Link("pool", "ratios", None, ()), "takes float32"),
    ],
)
def test_a_network_that_does_not_take_what_it_would_be_given_is_refused(
    network: bytes, link: Link, message: str
) -> None:
    fake = FakeTensorRt(FakeDriver(), LARGEST, OTHERS)
    engines = engines_on(fake, {"cells": NETWORKS["cells"], "pool": network})
    held = dict(fake.driver.live)
    with pytest.raises(EngineError, match=f"cannot be chained: pool.*{message}"):
        chain_on(fake, engines, (LINKS[0], link))
    assert dict(fake.driver.live) == held


def test_scratch_memory_is_shared_and_no_cell_has_a_host_side() -> None:
    made = chained()
    fresh = FakeTensorRt(FakeDriver(), LARGEST, OTHERS)
    engines_on(fresh)
    held = made.driver.live - fresh.driver.live
    answers = sum(len(engine.outputs) for engine in made.engines.values())
    # Answers of two batches; squares, labels of two; extents of three frames; the steps.
    assert held["host"] == 2 * answers + 2 * 2 + PLACES + 1
    # Besides: cells of two batches, a spare, and what the cut works in.
    assert held["device"] == held["host"] + 2 + 1 + 1


def test_networks_are_captured_as_graphs_where_the_library_offers_that() -> None:
    fake = FakeTensorRt(FakeDriver(), LARGEST, OTHERS)
    fake.offer_graphs()
    made = Chained(fake, engines_on(fake), chain_on(fake, engines_on(fake)))
    assert made.chain.runtime == "tensorrt 10.3.0 Fake GPU with CUDA graphs, cells cut there"
    # Of each network one to ask how large it is, one of its own, and two of the chain; cells lie
    # elsewhere each time.
    chain = [*["lent"] * BATCHES, *["lent, graphs"] * BATCHES * len(NETWORKS)]
    assert fake.contexts == [*["lent", "lent, graphs"] * 2 * len(NETWORKS), *chain]
    assert same(one_batch(made, field(0)), plainly([(field(0), ALL)]))


def test_the_runtime_says_where_cells_are_cut_and_whether_graphs_are_captured() -> None:
    chain: TrtChain = chained().chain
    assert chain.runtime == "tensorrt 10.3.0 Fake GPU without CUDA graphs, cells cut there"
    assert len(chain.digest) == 64
    assert OrtEngine("crop", crop_network(SPEC)).digest == chain.digest
