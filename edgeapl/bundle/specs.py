"""The parts of `bundle.toml`. Unknown keys are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
OutputOf = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}\.[A-Za-z0-9_-]{1,64}$")]
"""An output of a network, written ``network.output``."""


class Spec(BaseModel):
    """Base of all parts: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DetectorSpec(Spec):
    """Faster R-CNN: two networks, and the parameters of the steps between them.

    detector : network of backbone, feature pyramid and region proposals; takes uint8
        (1, input_height, input_width, 3) RGB.
    box_head : network that classifies the proposals; takes float32 (N, 256, 7, 7).
    score_threshold, nms_threshold : detections that score below the first, or overlap a better one
        by more than the second, are dropped; 0.05 and 0.5 in Ren et al. 2015 and usual
        implementations.
    max_detections : most cells in one frame.
    batch_size : proposals per run of the box head.
    """

    detector: Name
    box_head: Name
    input_height: Annotated[int, Field(ge=64, le=4096, multiple_of=32)]
    input_width: Annotated[int, Field(ge=64, le=4096, multiple_of=32)]
    score_threshold: Share = 0.05
    nms_threshold: Share = 0.5
    max_detections: Annotated[int, Field(ge=1, le=5000)] = 500
    batch_size: Annotated[int, Field(ge=1, le=1000)] = 250


Prompts = Literal["boxes", "grid"]


class SamSpec(Spec):
    """Segment Anything: two networks, and the numbers that the steps around them need.

    encoder : network of the image; takes uint8 (1, side, side, 3) RGB, gives `embedding`.
    decoder : network that answers prompts; takes `prompts` float32 (N, 2, 3) and the embedding.
    side : of the image that a frame is brought to, px.
    prompts : ``boxes``: those of the classical segmenter; ``grid``: points spread evenly over the
        frame, as Segment Anything's automatic masks.
    grid : points along each side of the frame.
    batch_size : prompts in one run of the decoder.
    min_predicted_iou, min_stability : masks below are dropped; see `edgeapl.stages.sam.masks`.
        These and the next are those of the automatic masks (Kirillov et al. 2023, appendix B).
    max_overlap : of the boxes of two masks of the grid; the worse one is dropped beyond it.
    min_agreement : overlap (intersection over union) with the classical outline of a cell, below
        which a mask is not taken for that cell.
    """

    encoder: Name
    decoder: Name
    side: Annotated[int, Field(ge=64, le=2048, multiple_of=16)]
    prompts: Prompts = "boxes"
    grid: Annotated[int, Field(ge=1, le=128)] = 32
    batch_size: Annotated[int, Field(ge=1, le=256)] = 8
    min_predicted_iou: Share = 0.88
    min_stability: Share = 0.95
    max_overlap: Share = 0.7
    min_agreement: Share = 0.5


class SegmenterSpec(Spec):
    """How cells are found.

    kind : ``hsv-watershed``: classical; ``faster-rcnn``: networks, described in `detector`;
        ``sam``: Segment Anything, described in `sam`, draws the outlines of the cells that the
        classical one finds; ``field``: the whole field of view is judged as one, without
        looking for cells.
    """

    kind: Literal["hsv-watershed", "faster-rcnn", "sam", "field"] = "hsv-watershed"
    detector: DetectorSpec | None = None
    sam: SamSpec | None = None

    @property
    def networks(self) -> tuple[str, ...]:
        """Networks that find cells."""
        if self.detector is not None:
            return self.detector.detector, self.detector.box_head
        return () if self.sam is None else (self.sam.encoder, self.sam.decoder)

    @model_validator(mode="after")
    def _networks_fit(self) -> SegmenterSpec:
        if (self.kind == "faster-rcnn") != (self.detector is not None):
            raise ValueError("segmenter: 'faster-rcnn' and detector go together")
        if (self.kind == "sam") != (self.sam is not None):
            raise ValueError("segmenter: kind 'sam' and the section sam go together")
        return self


Cut = Literal["window", "square", "box"]

NO_COLOURS = "colour_transfer needs the colours of the images that the networks were trained on"


ColourTransfer = Literal["reinhard"]


class ColoursSpec(Spec):
    """Colours of the cells that the networks were trained on; see `edgeapl.types.Colours`.

    mean, deviation : on three axes, as `edgeapl.stages.colour_transfer` measures them.
    """

    mean: tuple[Finite, Finite, Finite]
    deviation: tuple[Positive, Positive, Positive]


class CropSpec(Spec):
    """How a cell is cut out for the networks.

    window_um : side of the square around the cell's centre, µm.
    size_px : side of the networks' input, px.
    resized_px : side that the cut is resized to before its central `size_px` are taken; None
        means size_px itself.
    cut : ``window``: the square of window_um; ``square``: the largest square in the middle of the
        cell's box; ``box``: the box, stretched to a square.
    cell_image_cut : the same for images of one cell, whose box is the whole image.
    mask : pixels outside the cell are set to black.
    leave_out : folders whose images of single cells the model was not made for.
    colour_transfer : ``reinhard``: the colours of each frame's cells are brought to `colours`
        (Reinhard et al. 2001); None leaves them as the camera gives them.
    views : 8: every cell is shown to the networks mirrored and turned in its eight ways, and the
        mean of their answers counts.
    """

    window_um: Positive
    size_px: Annotated[int, Field(ge=16, le=1024)]
    resized_px: Annotated[int, Field(ge=16, le=2048)] | None = None
    cut: Cut = "window"
    cell_image_cut: Cut = "window"
    mask: bool = False
    leave_out: tuple[str, ...] = ()
    colour_transfer: ColourTransfer | None = None
    colours: ColoursSpec | None = None
    views: Literal[1, 8] = 1

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        settings: dict[str, Any] = write(self)
        # Bundles, and states of trainings, that ask for neither stay the bytes that they were.
        if self.views == 1:
            settings.pop("views", None)
        if self.colour_transfer is None:
            settings.pop("colour_transfer", None)
            settings.pop("colours", None)
        return settings

    @model_validator(mode="after")
    def _colours_fit(self) -> CropSpec:
        if self.colour_transfer is not None and self.colours is None:
            raise ValueError(f"crop: {NO_COLOURS}")
        if self.colour_transfer is None and self.colours is not None:
            raise ValueError("crop: colours are for colour_transfer, which is not set")
        return self

    @model_validator(mode="after")
    def _centre_fits(self) -> CropSpec:
        if self.resized_px is not None and self.resized_px < self.size_px:
            raise ValueError("crop: resized_px must not be below size_px")
        return self


class NetworkSpec(Spec):
    """One ONNX file.

    input : name of its input. A cell network takes uint8 (N, size, size, 3) RGB and normalises
        inside.
    classes : outputs that are exclusive classes; each cell gets the largest.
    after : output of another network that this one takes instead of images.
    when : ``network.class``: this network is shown only cells of this class.
    """

    file: FileName
    input: str
    classes: tuple[str, ...] = ()
    after: OutputOf | None = None
    when: OutputOf | None = None


class RoleSpec(Spec):
    """One question that a network answers about each cell.

    threshold : a cell is positive from this probability on. A cell that the network was not shown,
        because another network classified it differently, has probability 0.
    suspicious : whether a positive cell suggests APL.
    members : roles whose probabilities this one adds up; where a cell is positive for one of
        these, it is called after that one.
    """

    name: Name
    network: Name
    output: str
    threshold: Share
    suspicious: bool = False
    members: tuple[Name, ...] = ()


class ReducerSpec(Spec):
    """How the cells of a slide become one answer.

    kind : ``ratio``: shares of positive cells, then the head (Eckardt 2022); ``max``, ``mean`` and
        ``max-mean``: features pooled over the bag, the last being both concatenated, then the head
        (Manescu 2023); ``vote``: share of suspicious cells, no head.
    head : network that takes float32 (1, R) ratios or (1, D) features.
    head_outputs : probabilities, float32 (1,), one per alternative diagnosis; the slide's
        probability is the smallest, so APL must win against every alternative.
    """

    kind: Literal["ratio", "max", "mean", "max-mean", "vote"]
    head: Name | None = None
    head_outputs: tuple[str, ...] = ()

    @property
    def pools(self) -> bool:
        """Whether features are pooled."""
        return self.kind in ("max", "mean", "max-mean")

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
    clear_below : CLEAR only if the whole interval lies below.
    suspicious_share : FLAG needs at least this share of suspicious cells, CLEAR an upper
        confidence bound below it. None for reducers that pool features.
    confidence : level of the intervals.
    min_scored : a slide with fewer scored cells cannot be cleared.
    max_lost_share : a larger share of cells without a score means REVIEW.
    most_suspicious : k, for reducers that pool features: the k most suspicious cells, and frames of
        at least k cells, must stay below `flag_at` on their own before a slide is cleared; see
        `edgeapl.stages.sub_bags`. docs/pooling.md was measured with 12.
    min_examined_share : a slide is cleared only if at least this share of its field could be
        examined; in a folder of fields, of every field.
    role_limits : role to the share of scored cells above which it flags a slide by itself, with
        the whole interval; for bundles that count kinds of cells, which never clear.
    """

    flag_at: Share
    clear_below: Share
    suspicious_share: Share | None = None
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    min_scored: Annotated[int, Field(ge=1)]
    max_lost_share: Share
    most_suspicious: Annotated[int, Field(ge=1, le=1000)] = 12
    min_examined_share: Share = 0.95
    role_limits: dict[Name, Share] = {}

    @model_validator(mode="after")
    def _order(self) -> RuleSpec:
        if self.clear_below > self.flag_at:
            raise ValueError("rule: clear_below must not be above flag_at")
        return self


class ExplanationSpec(Spec):
    """The picture that shows why.

    kind : ``occlusion``: how the answer changes when a part of the frame is covered (Eckardt
        2022); ``contributions``: cells ranked by their own score, and the features that won the
        pooling traced to their cells (Manescu 2023); ``map``: a map that the networks output.
    title : title of the picture.
    maps : outputs float32 (N, h, w), for kind ``map``; the last of those that saw the cell
        counts.
    """

    kind: Literal["occlusion", "contributions", "map"]
    title: Annotated[str, Field(min_length=1, max_length=120)]
    maps: tuple[OutputOf, ...] = ()

    @model_validator(mode="after")
    def _maps_fit(self) -> ExplanationSpec:
        if (self.kind == "map") != bool(self.maps):
            raise ValueError("explanation: 'map' and maps go together")
        return self


class CalibrationSpec(Spec):
    """What `edgeapl calibrate` measured.

    ranges : JSON file with the range of every tensor, per network.
    images : JSON file with the digest and the slide of every image that was used.
    """

    ranges: FileName
    images: FileName


class TrainingSpec(Spec):
    """What the networks were trained on.

    images : JSON file with the digest of every image, so that none of them counts as evidence.
    """

    images: FileName


class ParentSpec(Spec):
    """The bundle whose answers this one was taught, and whose slides it was compared on.

    digest : of the parent's `bundle.toml`. proof : JSON file with what both answered on slides that
        were held back.
    """

    digest: Digest
    name: Name
    version: Annotated[str, Field(min_length=1, max_length=100)]
    proof: FileName


class CascadeSpec(Spec):
    """A small network that answers first; see `edgeapl.stages.cascade`.

    network : that answers first; its outputs stand for those of the networks behind it.
    margin : its answer about a cell stands where no other decision is nearer, logits.
    error : share of cells, 0 to 1, that the margin was chosen to let through wrongly.
    cells, otherwise : held-back cells that it was measured on, and those that the cascade answers
        otherwise than the other networks alone.
    confidence : of what is concluded from these.
    """

    network: Name
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    error: Annotated[float, Field(gt=0, le=0.5, allow_inf_nan=False)]
    cells: Annotated[int, Field(ge=1)]
    otherwise: Annotated[int, Field(ge=0)]
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95

    @model_validator(mode="after")
    def _counts_fit(self) -> CascadeSpec:
        if self.otherwise > self.cells:
            raise ValueError("cascade: more cells answered otherwise than there were")
        return self


class LimitsSpec(Spec):
    """How far an engine, or a student, may differ from the FP32 bundle before it is refused.

    max_flip_rate : share of cells whose class changes, or that cross a role's threshold.
    max_difference : of any role's probability, as the 99th percentile over cells; engines alone.
    max_recall_drop : of any class, taking the FP32 bundle's classes as the truth.
    max_verdict_changes : share of slides whose verdict changes.
    """

    max_flip_rate: Share = 0.01
    max_difference: Share = 0.05
    max_recall_drop: Share = 0.02
    max_verdict_changes: Share = 0.0


class DomainSpec(Spec):
    """Statistics of the images that the model was made for; the numbers are in an .npz file."""

    file: FileName


class GateSpec(Spec):
    """Limits that a frame must keep; see `edgeapl.stages.gate` for the measures.

    min_focus : smallest focus measure.
    min_detail : least `edgeapl.stages.detail.detail_of` for an image of one cell; None if the
        bundle was not calibrated on such images.
    """

    min_focus: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    min_detail: Annotated[float, Field(allow_inf_nan=False)] | None = None


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
