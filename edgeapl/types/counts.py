"""Counts of cells, and shares with their intervals."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """Cells seen, and what became of them; the parts always add up.

    not_examined : their time was up, or they lie where the image cannot be judged.
    failed : a network gave no usable answer. not_needed : left out on purpose, because the
    slide's flag was decided without them.
    """

    seen: int = 0
    scored: int = 0
    not_examined: int = 0
    failed: int = 0
    not_needed: int = 0

    def __post_init__(self) -> None:
        parts = (self.scored, self.not_examined, self.failed, self.not_needed)
        if min(self.seen, *parts) < 0 or self.seen != sum(parts):
            raise ValueError(
                f"Tally: seen {self.seen} must equal scored {self.scored} + not examined "
                f"{self.not_examined} + failed {self.failed} + not needed {self.not_needed}, "
                "none below 0"
            )

    @property
    def lost(self) -> int:
        """Cells that should have got a score and have none."""
        return self.not_examined + self.failed

    @property
    def unscored(self) -> int:
        """Cells seen but without a score, whatever the cause."""
        return self.lost + self.not_needed

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.seen + other.seen,
            self.scored + other.scored,
            self.not_examined + other.not_examined,
            self.failed + other.failed,
            self.not_needed + other.not_needed,
        )


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a share or probability, 0 <= low <= high <= 1."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:  # NaN fails every comparison
            raise ValueError(
                f"Interval: expected 0 <= low <= high <= 1, got {self.low}, {self.high}"
            )

    @property
    def ends(self) -> tuple[float, float]:
        """Low and high."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class RoleCount:
    """How many scored cells of a slide reached the threshold of one role."""

    role: str
    positive: int
    scored: int
    share: float
    interval: Interval


def check_probability(owner: str, probability: float | None) -> None:
    """Raise ValueError unless a probability is None or 0 to 1. owner : names the value."""
    if probability is not None and not 0 <= probability <= 1:  # NaN fails both
        raise ValueError(f"{owner}.probability: expected 0 to 1, got {probability}")
