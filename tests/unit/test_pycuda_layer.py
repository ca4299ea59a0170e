"""Memory, copies and contexts through pycuda and cuda-bindings, over a driver of host memory."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cuda_stubs import INTERFACES, missing, stub_driver
from tests.probing import probe
from tests.pycuda_probe import CHAIN_OPENING, CHAINED, OPENING, RUNNING

FAULTS = {700: "an illegal memory access was encountered", 2: "out of memory"}


@pytest.fixture(scope="module", params=INTERFACES)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the probe found."""
    absent = missing(request.param)
    if absent:
        pytest.skip(absent)
    driver = stub_driver(request.param, tmp_path_factory.mktemp("driver"))
    # pycuda writes to stderr what it could not clean up.
    found = probe("tests.pycuda_probe", driver, request.param, silent=True)
    assert found["interface"] == request.param
    return found


def test_the_gpu_is_described_as_the_driver_says(found: Any) -> None:
    wanted = {"name": "Stub GPU 0", "compute_capability": "8.7", "driver": "12.6"}
    assert found["gpu"] == wanted
    assert found["answers"]["runtime"] == "tensorrt 10.3.0 Stub GPU 0 without CUDA graphs"


def test_a_machine_without_a_gpu_is_refused_in_one_line(found: Any) -> None:
    text = "GPU cannot be used: NVIDIA driver: cuInit failed: the stub says no"
    assert found["without a GPU"] == text


def test_the_answers_are_those_of_the_network_whatever_the_batch_and_thread(found: Any) -> None:
    answers = found["answers"]
    assert answers["same"] == [True] * 4
    assert answers["same on another thread"] is True


def test_an_answer_that_was_never_written_is_nan(found: Any) -> None:
    assert found["answers"]["never written is NaN"]


def test_a_plan_holds_five_buffers_one_stream_and_shares_what_it_works_in(found: Any) -> None:
    # Of the memory that networks share there is one, with a context and an event of its own.
    held = {"device": 5 + 1, "host": 5, "stream": 1, "event": 1 + 1, "context": 1 + 1}
    assert found["answers"]["while open"] == held
    assert found["answers"]["depth between"] == 0


@pytest.mark.parametrize("call", RUNNING)
def test_a_run_that_fails_says_why_and_is_the_last(found: Any, call: str) -> None:
    first, second = found["failing runs"][call]
    assert first == f"network failed while running: cells: {shown(call)} failed: {FAULTS[700]}"
    assert second == "network failed before: cells: open it again"


@pytest.mark.parametrize("call", OPENING)
def test_a_plan_that_can_not_be_loaded_says_why(found: Any, call: str) -> None:
    fault = FAULTS[OPENING[call][1]]
    wanted = f"plan could not be loaded: cells: {shown(call)} failed: {fault}"
    assert found["failing openings"][call] == wanted


def test_a_chain_answers_as_its_networks_alone_do(found: Any) -> None:
    assert found["chain"]["same"] == [True] * 6


def test_a_chain_moves_frames_and_answers_alone(found: Any) -> None:
    frame, labels, extent = 120 * 150 * 3, 120 * 150 * 2, 8
    # Squares and numbers of two parts, the second 64 rows after the first, padded to four.
    cells = (64 + 4) * (16 + 4)
    answers = 5 * (4 + 12 + 4 + 4)
    steps = 64 * 4
    wanted = {
        "up": 6 * (frame + labels + extent + cells) + steps,
        "down": 6 * answers,
        "frames": 6,
        "batches": 6,
    }
    assert found["chain"]["moved"] == wanted


def test_where_memory_is_shared_a_chain_copies_frames_alone(found: Any) -> None:
    there = found["chain in shared memory"]
    assert there["same"] == [True] * 6
    frame, labels = 120 * 150 * 3, 120 * 150 * 2
    assert (there["moved"]["up"], there["moved"]["down"]) == (6 * (frame + labels), 0)
    assert there["afterwards"] == {}


def test_a_chain_has_four_streams_and_is_gone_without_a_trace(found: Any) -> None:
    # Besides the contexts of three plans and of what they share; events of three frames, four of
    # each batch, one of each stream, and one for what is shared.
    held = {key: found["chain"]["while open"][key] for key in ("stream", "event", "context")}
    assert held == {"stream": 4, "event": 3 + 2 * 4 + 4 + 1, "context": 4 + 1}
    assert found["chain"]["afterwards"] == {}
    assert found["chain"]["depth between"] == 0


@pytest.mark.parametrize("call", CHAINED)
def test_a_chain_that_fails_says_why_and_does_nothing_more(found: Any, call: str) -> None:
    first, second = found["failing chains"][call]
    assert first == f"chain failed while running: crop: {shown(call)} failed: {FAULTS[700]}"
    assert second == "chain failed before: crop: open it again"


@pytest.mark.parametrize("call", CHAIN_OPENING)
def test_a_chain_that_can_not_be_made_says_why_and_leaves_nothing(found: Any, call: str) -> None:
    text, nothing_left = found["failing chain openings"][call]
    assert text == f"chain could not be made: crop: {shown(call)} failed: {FAULTS[700]}"
    assert nothing_left


def test_events_tell_time(found: Any) -> None:
    assert found["milliseconds"] == 1.0
    assert found["answers"]["bare seconds"] == 0.00025


def test_after_all_that_nothing_is_held_and_no_context_is_pushed(found: Any) -> None:
    assert found["left"] == {}
    assert found["depth"] == 0


def test_pycuda_autoinit_is_never_imported(found: Any) -> None:
    assert found["autoinit"] is False


def shown(call: str) -> str:
    """Write the name of a call as pycuda does in its messages."""
    return call.removesuffix("_v2")
