"""Threads that run networks."""

from __future__ import annotations

import threading

import pytest

from edgeapl.inference.workers import WorkerThreads


def test_no_more_run_at_once_than_there_are_workers_and_each_has_its_next() -> None:
    gate = threading.Event()
    at_work = threading.Semaphore(0)

    def do(number: int) -> int:
        at_work.release()
        gate.wait(20)
        return number * number

    workers = WorkerThreads(do, 2)
    try:
        assert not workers
        for number in range(4):
            assert workers.all_busy == (number >= 2)
            assert not workers.full
            workers.start(number)
        assert workers.full
        assert at_work.acquire(timeout=20)
        assert at_work.acquire(timeout=20)
        assert not at_work.acquire(timeout=0.05)  # a third would run beside two
        assert workers.ended(0.0) == []
        gate.set()
        found: dict[int, int] = {}
        while workers:
            found.update({number: result() for number, result in workers.ended(None)})
        assert found == {0: 0, 1: 1, 2: 4, 3: 9}
    finally:
        gate.set()
        workers.close()


def test_what_a_worker_raises_is_told_with_its_work() -> None:
    def do(number: int) -> float:
        return 1 / number

    workers = WorkerThreads(do, 1)
    workers.start(0)
    ((number, result),) = workers.ended(None)
    assert number == 0
    with pytest.raises(ZeroDivisionError):
        result()
    workers.close()


def test_nothing_is_waited_for_where_nothing_runs() -> None:
    workers: WorkerThreads[int, int] = WorkerThreads(abs, 1)
    assert workers.ended(None) == []
    workers.close()
