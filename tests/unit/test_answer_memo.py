"""A network is not asked twice about the same pixels, and the answer is the very same."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.inference import InferenceResult, scheduler_for
from edgeapl.inference.answer_memo import ENTRY_BYTES, AnswerMemo, digest_of
from edgeapl.inference.scheduler import Scheduler
from edgeapl.types import UInt8
from tests.unit.test_scheduler import APL, BENIGN, Hierarchy, cells, ids, manifest

NEW = (240, 30)


def answered(scheduler: Scheduler, images: UInt8, first: int = 0) -> InferenceResult:
    scheduler.enter(ids(images) + first, images)
    return scheduler.run(flush=True)


def rows_of(result: InferenceResult) -> NDArray[np.float32]:
    return np.stack([result.scores.roles[name] for name in sorted(result.scores.roles)])


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_pixels_that_were_seen_are_not_run_again(batch_size: int, workers: int) -> None:
    images = cells(BENIGN, APL, NEW, APL)
    hierarchy, plain = Hierarchy(), Hierarchy()
    with (
        closing(
            scheduler_for(manifest(), hierarchy.engines, batch_size, workers, memo=AnswerMemo())
        ) as scheduler,
        closing(scheduler_for(manifest(), plain.engines, batch_size, workers)) as without,
    ):
        first = answered(scheduler, images)
        runs = {name: sum(map(len, seen)) for name, seen in hierarchy.seen.items()}
        again = answered(scheduler, np.array(images[::-1]), first=len(images))
        wanted = answered(without, images)
    assert {name: sum(map(len, seen)) for name, seen in hierarchy.seen.items()} == runs
    np.testing.assert_array_equal(rows_of(first), rows_of(wanted))
    np.testing.assert_array_equal(rows_of(again), rows_of(first)[:, ::-1])
    assert again.scores.ids.tolist() == [4, 5, 6, 7]  # every one counts


def test_equal_cells_of_one_batch_are_run_once_and_one_other_pixel_is_another_cell() -> None:
    images = cells(APL, APL, APL)
    images[:, :, :, 2] = 0
    images[2, 31, 31, 0] += 1
    hierarchy = Hierarchy()
    scheduler = scheduler_for(manifest(), hierarchy.engines, 16, memo=AnswerMemo())
    result = answered(scheduler, images)
    assert len(result.scores) == 3
    assert len(hierarchy.seen["first"][0]) == 2


def test_an_answer_that_is_none_is_not_remembered() -> None:
    hierarchy = Hierarchy()
    scheduler = scheduler_for(manifest(), hierarchy.engines, 16, memo=AnswerMemo())
    images = cells((255, 60))  # the engine answers NaN
    assert answered(scheduler, images).failed.tolist() == [0]
    assert answered(scheduler, images, first=1).failed.tolist() == [1]
    assert len(hierarchy.seen["first"]) == 2


def test_the_longest_unused_answers_are_forgotten_first() -> None:
    answer = {"p": np.zeros(25, np.float32)}
    memo = AnswerMemo(most_bytes=3 * (ENTRY_BYTES + 100))
    for name in (b"a", b"b", b"c"):
        memo.keep("cells", name, answer)
    assert memo.find("cells", b"a") is not None
    memo.keep("cells", b"d", answer)
    memo.keep("cells", b"d", answer)
    assert [memo.find("cells", name) is None for name in (b"a", b"b", b"c", b"d")] == [
        *(False, True, False, False)
    ]
    assert memo.nbytes <= 3 * (ENTRY_BYTES + 100)
    assert memo.find("other", b"a") is None


def test_answers_do_not_keep_their_whole_batch() -> None:
    memo = AnswerMemo()
    batch = np.arange(1000, dtype=np.float32)
    memo.keep("cells", digest_of(batch[:1]), {"p": batch[:1]})
    kept = memo.find("cells", digest_of(batch[:1]))
    assert kept is not None
    assert not np.shares_memory(kept["p"], batch)
