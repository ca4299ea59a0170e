"""What `bundle.toml` may say. Unknown keys are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA = 1
"""Version of `bundle.toml`; raised when an older reader would misread a newer file."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Spec(BaseModel):
    """Base of all parts: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SegmenterSpec(Spec):
    """Which segmenter finds the cells."""

    kind: Literal["hsv-watershed"] = "hsv-watershed"


class CropSpec(Spec):
    """How a cell is cut out for the networks.

    window_um : side of the square around the cell's centre, µm.
    size_px : side of the network's input, px.
    """

    window_um: Positive
    size_px: Annotated[int, Field(ge=16, le=1024)]


class NetworkSpec(Spec):
    """One ONNX file. Cell networks take uint8 (N, size, size, 3) RGB and normalise inside."""

    file: FileName
    input: str


class RoleSpec(Spec):
    """One question that a network answers about each cell.

    threshold : a cell counts as positive from this probability on.
    suspicious : whether a positive cell speaks for APL.
    """

    name: Name
    network: Name
    output: str
    threshold: Share
    suspicious: bool = False


class ReducerSpec(Spec):
    """How the cells of a slide become one answer.

    kind : ``ratio``: shares of positive cells, then the head (Eckardt 2022); ``max`` and ``mean``:
        features pooled over the bag, then the head (Manescu 2023); ``vote``: share of suspicious
        cells, no head.
    head : network that takes float32 (1, R) ratios or (1, D) features.
    head_outputs : probabilities, float32 (1,), one per alternative diagnosis; the slide's
        probability is the smallest, so APL must win against every alternative.
    """

    kind: Literal["ratio", "max", "mean", "vote"]
    head: Name | None = None
    head_outputs: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _head_fits(self) -> ReducerSpec:
        if (self.kind == "vote") != (self.head is None):
            raise ValueError(f"reducer {self.kind!r}: 'vote' has no head, all others need one")
        if (self.head is None) != (not self.head_outputs):
            raise ValueError("reducer: head and head_outputs go together")
        return self


class RuleSpec(Spec):
    """When a slide is flagged, cleared, or left to a person.

    flag_at : FLAG from this probability on.
    clear_below : CLEAR only when the whole interval lies below.
    suspicious_share : FLAG needs at least this share of suspicious cells, CLEAR an upper
        confidence bound below it. None for reducers that pool features.
    confidence : level of the intervals.
    min_scored : fewer scored cells than this can not clear a slide.
    max_lost_share : a larger share of cells without a score means REVIEW.
    """

    flag_at: Share
    clear_below: Share
    suspicious_share: Share | None = None
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    min_scored: Annotated[int, Field(ge=1)]
    max_lost_share: Share

    @model_validator(mode="after")
    def _order(self) -> RuleSpec:
        if self.clear_below > self.flag_at:
            raise ValueError("rule: clear_below must not be above flag_at")
        return self


class DomainSpec(Spec):
    """The images that the model was made for, as statistics; the numbers lie in an .npz file."""

    file: FileName


class GateSpec(Spec):
    """Limits a frame must keep; see `edgeapl.stages.gate` for the measures.

    min_focus : smallest focus measure.
    """

    min_focus: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class GoldenSpec(Spec):
    """The self-test: a frame and the answers it must give, run whenever the bundle is loaded.

    frame : PNG file. expected : .npz file with `centres` float32 (N, 2) px, one array per role
    float32 (N,), and `head` float32 (number of head outputs,).
    tolerance : largest absolute difference of any probability.
    """

    frame: FileName
    expected: FileName
    um_per_px: Positive
    tolerance: Positive


class Manifest(Spec):
    """All of `bundle.toml`."""

    schema_version: Literal[1]
    name: Name
    version: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+){0,3}[a-z0-9.+-]*$")]
    intended_use: Annotated[str, Field(min_length=1)]
    trained: bool
    um_per_px: Positive
    model_card: FileName
    segmenter: SegmenterSpec
    crop: CropSpec
    networks: dict[Name, NetworkSpec]
    roles: tuple[RoleSpec, ...]
    reducer: ReducerSpec
    rule: RuleSpec
    gate: GateSpec
    golden: GoldenSpec
    domain: DomainSpec | None = None
    features: str | None = None
    files: dict[FileName, Digest]

    @model_validator(mode="after")
    def _references(self) -> Manifest:
        wanted = [self.model_card, self.golden.frame, self.golden.expected]
        wanted += [network.file for network in self.networks.values()]
        wanted += [self.domain.file] if self.domain else []
        for file in wanted:
            if file not in self.files:
                raise ValueError(f"file {file!r} is used but not listed under [files]")
        for network in [role.network for role in self.roles] + [self.reducer.head]:
            if network is not None and network not in self.networks:
                raise ValueError(f"network {network!r} is used but not listed under [networks]")
        names = [role.name for role in self.roles]
        if len(set(names)) != len(names) or not names:
            raise ValueError("roles: at least one, and no name twice")
        if not any(role.suspicious for role in self.roles) and self.reducer.kind in (
            "vote",
            "ratio",
        ):
            raise ValueError("roles: at least one must be suspicious")
        pooled = self.reducer.kind in ("max", "mean")
        if pooled and self.features is None:
            raise ValueError(f"reducer {self.reducer.kind!r} needs 'features', an output name")
        if not pooled and self.rule.suspicious_share is None:
            raise ValueError(f"reducer {self.reducer.kind!r} needs rule.suspicious_share")
        return self
