"""What a recipe file may contain; unknown settings are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from edgeapl.bundle.soundness import check_rule
from edgeapl.bundle.specs import (
    ColoursSpec,
    ColourTransfer,
    Cut,
    ExplanationSpec,
    GateSpec,
    Name,
    OutputOf,
    Positive,
    ReducerSpec,
    RoleSpec,
    RuleSpec,
    SegmenterSpec,
    Spec,
)
from edgeapl.export.recipes.constants import GATE
from edgeapl.export.recipes.recipe import Images, Output

Three = tuple[float, float, float]
LEFT_OUT = "-"
"""Used in `outputs` for a tensor that the bundle does not need."""


class ImagesPart(Spec):
    """What the networks of cells see; see `edgeapl.bundle.specs.CropSpec` and `Images`."""

    window_um: Positive
    size_px: Annotated[int, Field(ge=16, le=1024)]
    resized_px: int | None = None
    cut: Cut = "window"
    cell_image_cut: Cut = "window"
    mask: bool = False
    leave_out: tuple[str, ...] = ()
    colour_transfer: ColourTransfer | None = None
    colours: ColoursSpec | None = None
    views: Literal[1, 8] = 1
    colour_order: Literal["rgb", "bgr"] = "rgb"
    scale: Positive = 1 / 255
    mean: Three = (0.0, 0.0, 0.0)
    deviation: Three = (1.0, 1.0, 1.0)

    def crop(self) -> dict[str, Any]:
        """Return the manifest's part."""
        inside = {"colour_order", "scale", "mean", "deviation"}
        return self.model_dump(mode="json", exclude=inside, exclude_none=True)

    def images(self) -> Images:
        """Return the part that becomes part of the graph."""
        size = self.size_px
        return Images(size, size, self.colour_order, self.scale, self.mean, self.deviation)


class NetworkPart(Spec):
    """One network.

    weights : role in ``--weights role=FILE``. factory : ``package.module:function`` or
        ``file.py:function``, relative to the recipe's folder; returns a torch module.
    part : attribute or method of the module to export; by default all of it.
    takes : numbers per row, for networks that do not take images.
    outputs : names of its outputs, in order; ``-`` for one that is not needed.
    softmax, sigmoid : output to the names of the probabilities made from it.
    probabilities : output to the names of its columns, if they are already probabilities.
    """

    weights: Name
    factory: str
    part: str | None = None
    takes: tuple[int, ...] | None = None
    outputs: tuple[str, ...]
    softmax: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    sigmoid: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    probabilities: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    after: OutputOf | None = None
    when: OutputOf | None = None

    @model_validator(mode="after")
    def _names_fit(self) -> NetworkPart:
        made = [*self.softmax, *self.sigmoid, *self.probabilities]
        for output in made:
            if output not in self.outputs:
                raise ValueError(f"{output!r} is not among the outputs")
            if made.count(output) > 1:
                raise ValueError(f"{output!r} is made into probabilities twice")
        names = [name for name in self.outputs if name != LEFT_OUT] + list(self.classes)
        if len(set(names)) != len(names):
            raise ValueError("a name stands twice among outputs and classes")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all probabilities."""
        made = (self.softmax, self.sigmoid, self.probabilities)
        return tuple(name for each in made for names in each.values() for name in names)

    def named(self) -> tuple[Output | None, ...]:
        """Return the outputs as the export takes them."""
        made: list[Output | None] = []
        for name in self.outputs:
            if name == LEFT_OUT:
                made.append(None)
            elif name in self.softmax:
                made.append(Output(name, "softmax", self.softmax[name]))
            elif name in self.sigmoid:
                made.append(Output(name, "sigmoid", self.sigmoid[name]))
            elif name in self.probabilities:
                made.append(Output(name, "given", self.probabilities[name]))
            else:
                made.append(Output(name))
        return tuple(made)


class WeightsPart(Spec):
    """What is used of a role's file, if that is not obvious.

    key : which of several state_dicts in the file, e.g. ``ema_state_dict``.
    prefix : before the module's names, e.g. ``model.``; ``""`` for nothing.
    ignore : names, with ``*`` for any part, that the module may do without.
    """

    key: str | None = None
    prefix: str | None = None
    ignore: tuple[str, ...] = ()


class RecipeFile(Spec):
    """The whole file; anything not described here is as in `bundle.toml`."""

    name: Name
    version: str = "1.0"
    intended_use: str
    about: str = ""
    answers: Literal["apl", "subtype"] = "apl"
    um_per_px: Positive
    tolerance: Positive = 1e-4
    images: ImagesPart
    networks: dict[Name, NetworkPart]
    weights: dict[Name, WeightsPart] = Field(default_factory=dict)
    features: OutputOf | None = None
    segmenter: SegmenterSpec = SegmenterSpec()
    roles: tuple[RoleSpec, ...]
    reducer: ReducerSpec
    rule: RuleSpec
    gate: GateSpec = GateSpec.model_validate(GATE)
    explanation: ExplanationSpec | None = None

    @model_validator(mode="after")
    def _no_networks_of_ours(self) -> RecipeFile:
        if self.segmenter.kind == "sam":
            raise ValueError("segmenter 'sam' is not written here: export with --segmenter sam")
        return self

    @model_validator(mode="after")
    def _rule_is_sound(self) -> RecipeFile:
        if self.answers == "apl":
            check_rule(self.rule, self.reducer, self.roles)
        return self
