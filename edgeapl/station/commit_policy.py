"""When the answer of an open slide goes into the journal, and what is shown meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from edgeapl.pipeline import Progress
from edgeapl.types import Decision, Reason, Verdict

STEADY_FRAMES = 3
"""Consecutive frames that must agree before a slide is called clear, so that one field with few
suspicious cells does not make the answer flicker. FLAG and REVIEW are shown at once."""

SETTLING = "settling"


class Committer:
    """Commits the answer whenever it changes, and within the budget of every frame.

    Parameters
    ----------
    commit : stores a provisional verdict and returns the hash of its row; raises StorageError.
    budget_s : seconds from the capture of a frame to the commit that includes it. A finished frame
        waits up to half of that for others, so that they share a commit.
    now_ns : monotonic clock; tests pass their own.

    committed : newest committed verdict. record : hash of its row. slowest_s : longest time from a
    finished frame to its commit, seconds.
    """

    def __init__(
        self,
        commit: Callable[[Verdict], str],
        budget_s: float,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._commit = commit
        self._wait_ns = int(budget_s * 0.5e9)
        self._now_ns = now_ns
        self._clear_frames = 0
        self._pending: Verdict | None = None
        self._oldest_pending_ns: int | None = None
        self.committed: Verdict | None = None
        self.record = ""
        self.slowest_s = 0.0

    def update(self, progress: Progress) -> bool:
        """Take the current answer; True when it was committed.

        In the middle of a frame only a verdict that raises the flag is committed.
        """
        if progress.finished_ns is None:
            if progress.verdict.decision is Decision.FLAG and not self._is_flagged():
                self._store(progress.verdict)
                return True
            return False
        steady = self._debounced(progress.verdict)
        self._pending = steady
        self._oldest_pending_ns = min(
            self._oldest_pending_ns or progress.finished_ns, progress.finished_ns
        )
        changed = self.committed is None or steady.decision is not self.committed.decision
        if changed or progress.cut or self._is_due():
            self._store(steady)
            return True
        return False

    def tick(self) -> bool:
        """Commit a pending answer that is due; True when there was one."""
        if self._pending is None or not self._is_due():
            return False
        self._store(self._pending)
        return True

    def _store(self, verdict: Verdict) -> None:
        self.record = self._commit(verdict)
        self.committed = verdict
        if self._oldest_pending_ns is not None:
            self.slowest_s = max(self.slowest_s, (self._now_ns() - self._oldest_pending_ns) / 1e9)
        self._oldest_pending_ns = None
        self._pending = None

    def _is_due(self) -> bool:
        waits = self._oldest_pending_ns is not None
        return waits and self._now_ns() - (self._oldest_pending_ns or 0) > self._wait_ns

    def _is_flagged(self) -> bool:
        return self.committed is not None and self.committed.decision is Decision.FLAG

    def _debounced(self, verdict: Verdict) -> Verdict:
        """Hold CLEAR back as REVIEW until `STEADY_FRAMES` consecutive frames agree."""
        if verdict.decision is not Decision.CLEAR:
            self._clear_frames = 0
            return verdict
        self._clear_frames += 1
        if self._clear_frames >= STEADY_FRAMES:
            return verdict
        text = f"clear for {self._clear_frames} of {STEADY_FRAMES} frames in a row so far"
        reasons = (Reason(SETTLING, text), *verdict.reasons)
        return replace(verdict, decision=Decision.REVIEW, reasons=reasons)
