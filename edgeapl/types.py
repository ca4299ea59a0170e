"""The values that flow through the pipeline, checked when they are made.

Every array is a numpy array; shapes are written (rows, columns). Values are frozen: a stage
returns a new one and never changes what it was given. Array fields are compared by identity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
UInt16 = NDArray[np.uint16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]


class ScaleOrigin(str, Enum):
    """Where a frame's µm per pixel comes from."""

    STATED = "stated"  # by the user, the slide list or the station file
    MEASURED = "measured"  # from the size of the red cells in the image
    ESTIMATED = "estimated"  # from few or cut red cells or from nuclei, where nothing was better
    ASSUMED = "assumed"  # the bundle's own scale, because nothing better was known

    @property
    def within(self) -> float:
        """The factor by which 19 of 20 such scales are wrong at most; 1 where none can be told."""
        return {ScaleOrigin.MEASURED: 1.25, ScaleOrigin.ESTIMATED: 2.0}.get(self, 1.0)


class Decision(str, Enum):
    """The answer for a slide."""

    FLAG = "FLAG"  # APL suspected
    CLEAR = "CLEAR"  # enough was examined and nothing was suspicious
    REVIEW = "REVIEW"  # a person must look


class CellStatus(str, Enum):
    """What became of one cell."""

    SCORED = "scored"
    NOT_EXAMINED = "not_examined"  # its time was up, or it can not be seen well enough
    FAILED = "failed"
    NOT_NEEDED = "not_needed"  # left out on purpose: the flag was decided without it


class TileState(int, Enum):
    """What became of one tile of a frame; all but EXAMINED keep a slide from being clear."""

    EXAMINED = 0
    DARK = 1  # black, or far darker than the rest of the frame
    OVEREXPOSED = 2
    FROZEN = 3  # constant, or rows, columns or a part that was there before: no picture
    COLOURLESS = 4  # one or all colours are missing where there is something to see
    UNFOCUSED = 5
    NOISE = 6
    OUTSIDE = 7  # not part of the field, so it counts neither way
    CUT = 8  # of an image of one cell: the cell is not whole
    VEILED = 9  # all that is to be seen is far paler than in the rest of the frame
    TORN = 10  # put together of pieces, or of coarse pixels
    SMOOTHED = 11  # without the grain that the rest of the frame has
    SHIFTED = 12  # the colours do not lie on each other
    DOUBLED = 13  # two pictures, one upon the other

    @property
    def text(self) -> str:
        """Plain words that follow "so much of the field is"."""
        return _TILE_WORDS[self.value]


_TILE_WORDS = (
    "examined",
    "dark",
    "overexposed",
    "without a picture of its own (constant or repeated)",
    "without its colours",
    "out of focus or moved",
    "noise",
    "outside the field",
    "of cells cut by the edge of their image",
    "pale, as behind a veil (glare, oil or condensation)",
    "torn, or of coarse blocks",
    "smoothed, without fine detail",
    "with colours that do not lie on each other",
    "seen double",
)


def _check_array(name: str, value: object, dtype: type, shape: tuple[int | None, ...]) -> None:
    """Raise when an array is not of the dtype and shape a value promises; None is any length."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name}: expected a numpy array, got {type(value).__name__}")
    if value.dtype != np.dtype(dtype):
        raise TypeError(f"{name}: expected dtype {np.dtype(dtype)}, got {value.dtype}")
    fits = len(value.shape) == len(shape) and all(
        want is None or want == have for want, have in zip(shape, value.shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if n is None else n for n in shape)
        raise ValueError(f"{name}: expected shape {wanted}, got {value.shape}")


def _read_only(array: NDArray[np.generic]) -> None:
    array.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody should know about how an image was read.

    code : stable, for machines. text : a plain sentence without the image's name.
    doubtful : the image may not be what it seems, so a slide with it is not cleared.
    """

    code: str
    text: str
    doubtful: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One RGB image of one field of view.

    pixels : uint8 (H, W, 3) RGB; made read-only.
    index : position in its source, from 0; a gap means that a frame was dropped.
    captured_ns : monotonic clock at capture, ns.
    um_per_px : µm per pixel, above 0.
    scale : where um_per_px comes from.
    source : the file or the camera it came from.
    digest : SHA-256 (hex) of the bytes it was decoded from, or of the pixels for a camera; of the
        text ``SHA256#1`` for one of several pictures of a file, so that no two share one.
    remarks : how it was read, where that is worth saying.
    """

    pixels: UInt8
    index: int
    captured_ns: int
    um_per_px: float
    source: str
    digest: str
    scale: ScaleOrigin = ScaleOrigin.STATED
    remarks: tuple[Remark, ...] = ()

    def __post_init__(self) -> None:
        _check_array("Frame.pixels", self.pixels, np.uint8, (None, None, 3))
        if 0 in self.pixels.shape:
            raise ValueError(f"Frame.pixels: empty image, shape {self.pixels.shape}")
        if not (math.isfinite(self.um_per_px) and self.um_per_px > 0):
            raise ValueError(f"Frame.um_per_px: expected a number above 0, got {self.um_per_px}")
        if self.index < 0:
            raise ValueError(f"Frame.index: expected 0 or more, got {self.index}")
        _read_only(self.pixels)

    @property
    def height(self) -> int:
        """Rows, px."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns, px."""
        return int(self.pixels.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """A frame in R rows and C columns of tiles of one size, and what became of each.

    states : uint8 (R, C), values of `TileState`.
    """

    states: UInt8

    def __post_init__(self) -> None:
        _check_array("Tiles.states", self.states, np.uint8, (None, None))
        if 0 in self.states.shape or int(self.states.max()) >= len(TileState):
            raise ValueError("Tiles.states: expected at least one tile, each a TileState")
        _read_only(self.states)

    @property
    def examined_share(self) -> float:
        """Share of the field that was examined, 0 to 1."""
        return self.shares().get(TileState.EXAMINED, 0.0)

    def shares(self) -> dict[TileState, float]:
        """Give the share of the field in each state that occurs, 0 to 1."""
        counts = np.bincount(self.states.ravel(), minlength=len(TileState)).tolist()
        field_tiles = sum(counts) - counts[TileState.OUTSIDE.value]
        return {
            state: counts[state.value] / field_tiles
            for state in TileState
            if counts[state.value] and state is not TileState.OUTSIDE
        }


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The nucleated cells found in one frame, one row each.

    frame : the frame they were found in.
    boxes : float32 (N, 4), x0 y0 x1 y1 in px, half-open, inside the frame.
    labels : uint16 (H, W); pixels of the cell in row i are i + 1, all others 0.
    scores : float32 (N,), confidence that the row is a nucleated cell, 0 to 1.
    """

    frame: Frame
    boxes: Float32
    labels: UInt16
    scores: Float32

    def __post_init__(self) -> None:
        _check_array("Detections.boxes", self.boxes, np.float32, (None, 4))
        _check_array(
            "Detections.labels", self.labels, np.uint16, (self.frame.height, self.frame.width)
        )
        _check_array("Detections.scores", self.scores, np.float32, (len(self.boxes),))
        if len(self.boxes):
            x0, y0, x1, y1 = self.boxes.T
            inside = (x0 >= 0) & (y0 >= 0) & (x1 <= self.frame.width) & (y1 <= self.frame.height)
            if not bool(np.all(inside & (x0 < x1) & (y0 < y1))):
                raise ValueError("Detections.boxes: every box must have an area inside the frame")
        if int(self.labels.max(initial=0)) > len(self.boxes):
            raise ValueError(
                f"Detections.labels: expected labels up to {len(self.boxes)}, "
                f"got {int(self.labels.max())}"
            )
        for array in (self.boxes, self.labels, self.scores):
            _read_only(array)

    def __len__(self) -> int:
        return len(self.boxes)

    def only(self, rows: Int64) -> Detections:
        """Keep some rows, int64 (K,), in the order given; labels are numbered anew."""
        number = np.zeros(len(self) + 1, dtype=np.uint16)
        number[rows + 1] = np.arange(1, len(rows) + 1)
        return Detections(
            frame=self.frame,
            boxes=self.boxes[rows],
            labels=number[self.labels],
            scores=self.scores[rows],
        )

    @property
    def centres(self) -> Float32:
        """Box centres, float32 (N, 2), x y in px."""
        return np.asarray((self.boxes[:, :2] + self.boxes[:, 2:]) / 2, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class CellScores:
    """What the networks said about some cells of a slide, one row per cell.

    ids : int64 (N,), numbers of the cells within the slide.
    roles : role name to float32 (N,) probabilities, finite, 0 to 1.
    features : float32 (N, D), finite; D is 0 when the networks give none.
    """

    ids: Int64
    roles: Mapping[str, Float32]
    features: Float32

    def __post_init__(self) -> None:
        _check_array("CellScores.ids", self.ids, np.int64, (None,))
        count = len(self.ids)
        for role, values in self.roles.items():
            name = f"CellScores.roles[{role!r}]"
            _check_array(name, values, np.float32, (count,))
            if not bool(np.all((values >= 0) & (values <= 1))):
                raise ValueError(f"{name}: expected finite probabilities from 0 to 1")
            _read_only(values)
        _check_array("CellScores.features", self.features, np.float32, (count, None))
        if not bool(np.all(np.isfinite(self.features))):
            raise ValueError("CellScores.features: expected finite numbers")
        _read_only(self.ids)
        _read_only(self.features)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class ExaminedFrame:
    """One frame after examination, with a row for every cell found in it.

    frame, detections : the frame and its N cells; N is 0 for a rejected frame.
    ids : int64 (N,), numbers of the cells within the slide.
    status : N entries, what became of each cell.
    roles : role name to float32 (N,) probabilities; NaN where the status is not SCORED.
    suspicion : float32 (N,), how strongly a cell speaks for APL, 0 to 1; NaN where not scored.
    features : float32 (N, D), what the slide's answer is pooled from, NaN where not scored; D is 0
        unless they are needed to explain the answer.
    rejected : why the gate did not let the frame pass; empty for a frame that was used.
    tiles : which parts of the frame were examined; None when they were not judged.
    """

    frame: Frame
    detections: Detections
    ids: Int64
    status: tuple[CellStatus, ...]
    roles: Mapping[str, Float32]
    suspicion: Float32
    rejected: tuple[Reason, ...] = ()
    features: Float32 = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    tiles: Tiles | None = None

    @property
    def examined_share(self) -> float:
        """Share of the frame that was examined, 0 to 1; 0 for a rejected frame."""
        if self.rejected:
            return 0.0
        return 1.0 if self.tiles is None else self.tiles.examined_share

    def __post_init__(self) -> None:
        count = len(self.detections)
        _check_array("ExaminedFrame.ids", self.ids, np.int64, (count,))
        _check_array("ExaminedFrame.suspicion", self.suspicion, np.float32, (count,))
        for role, values in self.roles.items():
            _check_array(f"ExaminedFrame.roles[{role!r}]", values, np.float32, (count,))
        if self.features.size:
            _check_array("ExaminedFrame.features", self.features, np.float32, (count, None))
        if len(self.status) != count:
            raise ValueError(f"ExaminedFrame.status: expected {count} rows, got {len(self.status)}")
        scored = np.array([status is CellStatus.SCORED for status in self.status], dtype=bool)
        if not np.array_equal(scored, np.isfinite(self.suspicion)):
            raise ValueError("ExaminedFrame.suspicion: expected a number for scored cells only")


@dataclass(frozen=True, slots=True)
class Tally:
    """Cells seen, and what became of them; the parts always add up.

    not_examined : their time was up, or they lie where the image can not be judged.
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


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a verdict is what it is: a stable code for machines, a plain sentence for people."""

    code: str
    text: str


UNSIGNED = "unsigned"
"""What stands for the signer where there is none."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed a bundle or engines; only what was verified becomes one.

    name : given at signing. key : fingerprint, SHA-256 (hex) of the public key.
    """

    name: str
    key: str

    @property
    def text(self) -> str:
        """Name and the start of the fingerprint, for people."""
        return f"{self.name} (key {self.key[:16]})"


def signer_text(signer: Signer | None) -> str:
    """Say who signed, or that nobody did."""
    return UNSIGNED if signer is None else signer.text


@dataclass(frozen=True, slots=True)
class Limits:
    """What a slide's figures are compared with; 0 to 1, as in the bundle's rule.

    flag_at, clear_below : of the probability. suspicious_share : of the share of suspicious cells;
    None where it does not count.
    """

    flag_at: float
    clear_below: float
    suspicious_share: float | None = None

    @property
    def of_probability(self) -> tuple[float, float]:
        """The two that the probability is compared with."""
        return self.flag_at, self.clear_below


@dataclass(frozen=True, slots=True)
class Figures:
    """What the cells of a slide give at one moment; the fields are those of `Verdict`."""

    probability: float | None
    interval: Interval | None
    counts: tuple[RoleCount, ...]
    evidence: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_probability("Figures", self.probability)


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
"""A flag of which nothing more is known."""


def _check_probability(owner: str, probability: float | None) -> None:
    if probability is not None and not 0 <= probability <= 1:  # NaN fails both
        raise ValueError(f"{owner}.probability: expected 0 to 1, got {probability}")


@dataclass(frozen=True, slots=True)
class Origin:
    """What made a verdict and where its results lie; all empty in records of older versions.

    bundle, version : as in the bundle's manifest.
    demonstration : the bundle is the demonstration, or the slide is drawn: no patient's.
    sitting : stands for this one examination of the slide, also over a restart; two slides that
        share an identifier have two.
    results : the result folder.
    """

    bundle: str = ""
    version: str = ""
    demonstration: bool = False
    sitting: str = ""
    results: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What proves that a bundle may clear slides; see `edgeapl.bundle.certificate`.

    digest : SHA-256 (hex) of the evidence. positive : label of the slides that must not be cleared.
    clear_below, alpha, confidence, bound : 0 to 1. patients : positive ones. cleared : of them.
    drawn : the evidence was drawn, so nothing is proven about real slides.
    """

    digest: str
    positive: str
    clear_below: float
    alpha: float
    confidence: float
    patients: int
    cleared: int
    bound: float
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What a slide looks like, in numbers.

    groups : of `edgeapl.stages.domain.describe_frame`, medians over the slide, without features.
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
    hidden_cells : of the cells that were not examined, those that lie where the image can not be
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
    origin: Origin = Origin()
    certificate: Certificate | None = None
    look: Look | None = None
    research_use_only: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        _check_probability("Verdict", self.probability)
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
    """Give the flag of a verdict; None when it is no FLAG."""
    if verdict.decision is not Decision.FLAG:
        return None
    figures = None
    if verdict.probability is not None:
        figures = Figures(verdict.probability, verdict.interval, verdict.counts, verdict.evidence)
    by = verdict.flagged_by or ("" if figures is None else verdict.bundle_digest)
    return RaisedFlag(verdict.flagged_since, figures, by, verdict.limits)
