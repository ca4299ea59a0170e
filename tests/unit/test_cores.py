"""Threads that compute keep to a core each, when there are as many of them as cores."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from edgeapl.cores import OwnCores, cores_allowed, cpu_cores
from edgeapl.inference.workers import WorkerThreads

pytestmark = pytest.mark.skipif(not cores_allowed(), reason="this system tells no cores")


def kept_to(threads: int, own: OwnCores) -> list[set[int]]:
    """Let so many threads take a core at the same time; gives where each of them may run then."""
    all_here = threading.Barrier(threads)

    def take(_: int) -> set[int]:
        all_here.wait(timeout=10)
        own.take()
        return os.sched_getaffinity(0)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(take, range(threads)))


ALLOWED = set(cores_allowed())


@pytest.mark.skipif(len(ALLOWED) < 2, reason="there is one core alone")
def test_each_of_as_many_threads_as_cores_has_one_to_itself() -> None:
    found = kept_to(len(ALLOWED), OwnCores(len(ALLOWED)))
    assert sorted(found, key=min) == [{core} for core in sorted(ALLOWED)]
    assert os.sched_getaffinity(0) == ALLOWED


@pytest.mark.parametrize(
    ("threads", "named"),
    [(1, [0]), (1, [0, 1]), (3, [0, 1]), (2, []), (2, [4000, 4001])],
    ids=["one core", "fewer", "more", "not told", "taken away"],
)
def test_otherwise_threads_run_where_the_system_puts_them(threads: int, named: list[int]) -> None:
    assert kept_to(threads, OwnCores(threads, named)) == [ALLOWED] * threads


def test_a_thread_that_keeps_to_one_core_still_knows_of_all() -> None:
    def count() -> int:
        os.sched_setaffinity(0, {min(ALLOWED)})
        return cpu_cores()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(count).result() == len(ALLOWED)


def test_workers_of_all_cores_keep_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(OwnCores, "take", lambda self: given.append(threading.get_ident()))
    workers: WorkerThreads[int, int] = WorkerThreads(lambda work: work, 2)
    workers.start(1)
    assert [result() for _, result in workers.ended(10)] == [1]
    workers.close()
    assert len(given) == 1
