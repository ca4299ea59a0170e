"""When the answer about an open slide goes into the journal, and what is shown meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from edgeapl.pipeline import Progress
from edgeapl.types import Decision, Reason, Verdict

STEADY_FRAMES = 3
"""Frames in a row after which a slide that may be cleared is called so: one field with few
suspicious cells must not make the answer flicker. A flag and a doubt are told at once."""

SETTLING = "settling"


class Committer:
    """Commits the answer whenever it changes, and in time for every frame; shows only that.

    Parameters
    ----------
    commit : stores a provisional verdict and gives the hash of its row; raises StorageError.
    budget_s : seconds from the capture of a frame to the commit that takes it into account. A
        frame that was finished waits for company until half of it has passed.
    now_ns : monotonic clock; tests give their own.
    """

    def __init__(
        self,
        commit: Callable[[Verdict], str],
        budget_s: float,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._commit = commit
        self._patience_ns = int(budget_s * 0.5e9)
        self._now_ns = now_ns
        self._clear_frames = 0
        self._newest: Verdict | None = None
        self._oldest_ns: int | None = None
        self.committed: Verdict | None = None
        self.record = ""
        self.slowest_s = 0.0

    def progress(self, progress: Progress) -> bool:
        """Take the answer as it stands; True when it was committed.

        A verdict in the middle of a frame is committed only when it raises the flag.
        """
        if progress.finished_ns is None:
            if progress.verdict.decision is Decision.FLAG and not self._is_flagged():
                self._store(progress.verdict)
                return True
            return False
        steady = self._steadied(progress.verdict)
        self._newest = steady
        self._oldest_ns = min(self._oldest_ns or progress.finished_ns, progress.finished_ns)
        changed = self.committed is None or steady.decision is not self.committed.decision
        if changed or progress.cut or self._is_due():
            self._store(steady)
            return True
        return False

    def tick(self) -> bool:
        """Commit what is due; True when something was."""
        if self._newest is None or not self._is_due():
            return False
        self._store(self._newest)
        return True

    def _store(self, verdict: Verdict) -> None:
        self.record = self._commit(verdict)
        self.committed = verdict
        if self._oldest_ns is not None:
            self.slowest_s = max(self.slowest_s, (self._now_ns() - self._oldest_ns) / 1e9)
        self._oldest_ns = None
        self._newest = None

    def _is_due(self) -> bool:
        waits = self._oldest_ns is not None
        return waits and self._now_ns() - (self._oldest_ns or 0) > self._patience_ns

    def _is_flagged(self) -> bool:
        return self.committed is not None and self.committed.decision is Decision.FLAG

    def _steadied(self, verdict: Verdict) -> Verdict:
        """Call a slide clear only when it would have been for some frames in a row."""
        if verdict.decision is not Decision.CLEAR:
            self._clear_frames = 0
            return verdict
        self._clear_frames += 1
        if self._clear_frames >= STEADY_FRAMES:
            return verdict
        text = f"clear for {self._clear_frames} of {STEADY_FRAMES} frames in a row so far"
        reasons = (Reason(SETTLING, text), *verdict.reasons)
        return replace(verdict, decision=Decision.REVIEW, reasons=reasons)
