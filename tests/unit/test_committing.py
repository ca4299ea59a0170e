"""When answers about an open slide are committed, and what is shown meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeapl.pipeline import Progress
from edgeapl.station.commit_policy import STEADY_FRAMES, Committer
from edgeapl.types import Decision, Reason, Tally, Verdict

S = 10**9
BUDGET_S = 40.0


def verdict(decision: Decision, slide: str = "s") -> Verdict:
    return Verdict(
        slide=slide,
        decision=decision,
        probability=0.5,
        interval=None,
        tally=Tally(1, 1),
        reasons=(Reason("r", "because"),),
        counts=(),
        evidence=(),
        frames=(),
        timings={},
        bundle_digest="b",
        engine_digest="e",
        runtime="r",
    )


@dataclass
class CommitBench:
    """A committer with a clock that is set by hand."""

    now_s: float = 0.0
    rows: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.committer = Committer(self.store, BUDGET_S, lambda: int(self.now_s * S))

    def store(self, verdict: Verdict) -> str:
        self.rows.append(verdict.decision)
        return f"row {len(self.rows)}"

    def finish(self, decision: Decision, captured_s: float, *, cut: bool = False) -> bool:
        progress = Progress(verdict(decision), 1, finished_ns=int(captured_s * S), cut=cut)
        return self.committer.update(progress)

    def middle(self, decision: Decision) -> bool:
        return self.committer.update(Progress(verdict(decision), 1, waiting_ns=0))


def test_the_first_answer_and_every_change_are_committed_at_once() -> None:
    bench = CommitBench()
    assert bench.finish(Decision.REVIEW, 0)
    assert not bench.finish(Decision.REVIEW, 1)
    assert bench.finish(Decision.FLAG, 2)
    assert bench.rows == [Decision.REVIEW, Decision.FLAG]
    assert bench.committer.record == "row 2"


def test_every_finished_frame_is_committed_within_the_budget() -> None:
    """A frame every 3 s for ten minutes, each finished 1 s after its capture."""
    bench = CommitBench()
    waiting: list[float] = []
    slowest = 0.0
    for tick in range(2400):
        bench.now_s = tick * 0.25
        captured = bench.now_s - 1
        if tick % 12 == 0:
            waiting.append(captured)
            committed = bench.finish(Decision.REVIEW, captured)
        else:
            committed = bench.committer.tick()
        if committed:
            slowest = max([slowest, *(bench.now_s - at for at in waiting)])
            waiting.clear()
    assert slowest <= BUDGET_S / 2 + 1
    assert bench.committer.slowest_s == slowest
    assert len(bench.rows) < 40  # and not a row for every frame


def test_a_frame_that_was_cut_off_at_its_deadline_is_committed_at_once() -> None:
    bench = CommitBench()
    bench.finish(Decision.REVIEW, 0)
    bench.now_s = 38
    assert bench.finish(Decision.REVIEW, 0, cut=True)


def test_clear_is_shown_only_when_it_lasts_and_doubt_at_once() -> None:
    bench = CommitBench()
    for n in range(STEADY_FRAMES):
        bench.finish(Decision.CLEAR, n)
        shown = bench.committer.committed
        assert shown is not None
        steady = n + 1 >= STEADY_FRAMES
        assert shown.decision is (Decision.CLEAR if steady else Decision.REVIEW)
        assert steady or "in a row" in shown.reasons[0].text
    bench.finish(Decision.REVIEW, 9)
    assert bench.rows[-1] is Decision.REVIEW
    bench.finish(Decision.CLEAR, 10)
    assert bench.rows == [Decision.REVIEW, Decision.CLEAR, Decision.REVIEW]


def test_in_the_middle_of_a_frame_only_a_flag_is_committed() -> None:
    bench = CommitBench()
    assert not bench.middle(Decision.REVIEW)
    assert not bench.middle(Decision.CLEAR)
    assert bench.middle(Decision.FLAG)
    assert not bench.middle(Decision.FLAG)
    assert bench.rows == [Decision.FLAG]
