"""The verdict on a slide, the figures behind it, and a flag that stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from edgeapl.types.counts import Interval, RoleCount, Tally, check_probability
from edgeapl.types.origin import Certificate, Limits, Origin, Signer


class Decision(str, Enum):
    """The answer for a slide."""

    FLAG = "FLAG"  # APL suspected
    CLEAR = "CLEAR"  # enough was examined and nothing was suspicious
    REVIEW = "REVIEW"  # a person must look


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a verdict is what it is: a stable code for machines, a plain sentence for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a slide at one moment; the fields are those of `Verdict`."""

    probability: float | None
    interval: Interval | None
    counts: tuple[RoleCount, ...]
    evidence: tuple[int, ...]

    def __post_init__(self) -> None:
        check_probability("Figures", self.probability)


@dataclass(frozen=True, slots=True)
class RaisedFlag:
    """A flag that was raised on a slide; it is never taken back.

    since : when it was first raised: UTC, ISO 8601. Empty when that was not noted.
    figures : of the last moment at which they gave the flag; None when they were not noted.
    bundle_digest : of the bundle that gave them; empty when that was not noted.
    limits : that they were compared with; None when they were not noted.
    """

    since: str = ""
    figures: Figures | None = None
    bundle_digest: str = ""
    limits: Limits | None = None


NOT_NOTED = RaisedFlag()
"""A flag without further information."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a slide looks, in numbers.

    groups : of `edgeapl.stages.slide_descriptor.describe_slide`, without features.
    distances : group to its distance from the slides that the model was made for, and the limit.
    """

    groups: Mapping[str, tuple[float, ...]]
    distances: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for one slide, with what is needed to explain and reproduce it.

    A flag that was raised on an open slide stays. Its verdict has the figures that gave it last:
    probability, interval, counts and evidence; what the cells give now is in `current`.

    slide : identifier of the slide.
    decision : FLAG, CLEAR or REVIEW.
    probability : of APL by the bundle's head, 0 to 1; None when nothing could be scored, and for a
        flag that was kept without its figures.
    interval : confidence interval of the probability; None when the reducer has none.
    tally : what became of every cell.
    reasons : why; a REVIEW always has at least one, and so has a FLAG without a probability.
    counts : per role, how many cells were positive.
    evidence : numbers of the cells that weigh most for APL, strongest first.
    frames : (source, SHA-256) of every frame that was used.
    timings : stage name to seconds spent in it.
    bundle_digest, engine_digest : SHA-256 (hex) of the bundle and of the networks as run.
    runtime : what ran the networks, e.g. ``"onnxruntime 1.31.1 CPUExecutionProvider"``.
    frame_shares : per frame of `frames`, the share of its field that was examined, 0 to 1; empty
        in records of older versions.
    examined_share : the same of all used frames together; None when no frame was used, and in
        records of older versions.
    hidden_cells : of the cells that were not examined, those that lie where the image cannot be
        judged.
    limits : that probability and counts were compared with; None in records of older versions.
    flagged_since : when the open slide was first flagged: UTC, ISO 8601; empty when it was not, or
        that was not noted.
    flagged_by : SHA-256 (hex) of the bundle that gave the flag, where it was another one.
    current : what the cells give now, for a flag that these would not give; None for all others.
    signer : who signed the bundle; None when nobody did.
    origin : which bundle by its name, which examination, and where its results lie.
    certificate : what proves that the bundle may clear; None without one.
    look : of the slide; None where nothing was scored, the bundle does not know which slides it was
        made for, or the record is of an older version.
    """

    slide: str
    decision: Decision
    probability: float | None
    interval: Interval | None
    tally: Tally
    reasons: tuple[Reason, ...]
    counts: tuple[RoleCount, ...]
    evidence: tuple[int, ...]
    frames: tuple[tuple[str, str], ...]
    timings: Mapping[str, float]
    bundle_digest: str
    engine_digest: str
    runtime: str
    frame_shares: tuple[float, ...] = ()
    examined_share: float | None = None
    hidden_cells: int = 0
    limits: Limits | None = None
    flagged_since: str = ""
    flagged_by: str = ""
    current: Figures | None = None
    signer: Signer | None = None
    origin: Origin = Origin()  # noqa: RUF009 - frozen
    certificate: Certificate | None = None
    look: Look | None = None
    research_use_only: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        check_probability("Verdict", self.probability)
        if self.decision is Decision.REVIEW and not self.reasons:
            raise ValueError("Verdict.reasons: a REVIEW needs at least one reason")
        if self.decision is Decision.CLEAR and self.probability is None:
            raise ValueError("Verdict.probability: CLEAR needs a probability")
        if self.decision is Decision.FLAG and self.probability is None and not self.reasons:
            raise ValueError("Verdict.reasons: a FLAG without a probability needs a reason")
        if self.decision is not Decision.FLAG and (self.flagged_since or self.current):
            raise ValueError("Verdict.decision: a slide that was flagged stays flagged")
        if self.decision is Decision.CLEAR and self.tally.not_needed:
            raise ValueError("Verdict.tally: no slide is cleared with cells left out on purpose")
        if not 0 <= self.hidden_cells <= self.tally.not_examined:
            raise ValueError("Verdict.hidden_cells: expected some of the cells not examined")
        if self.frame_shares and len(self.frame_shares) != len(self.frames):
            raise ValueError("Verdict.frame_shares: expected one share per frame, or none")
        shares = (*self.frame_shares, 1.0 if self.examined_share is None else self.examined_share)
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"Verdict.examined_share: expected 0 to 1, got {shares}")


def raised_flag(verdict: Verdict) -> RaisedFlag | None:
    """Return the flag of a verdict; None when it is no FLAG."""
    if verdict.decision is not Decision.FLAG:
        return None
    figures = None
    if verdict.probability is not None:
        figures = Figures(verdict.probability, verdict.interval, verdict.counts, verdict.evidence)
    by = verdict.flagged_by or ("" if figures is None else verdict.bundle_digest)
    return RaisedFlag(verdict.flagged_since, figures, by, verdict.limits)
