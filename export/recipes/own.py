"""A user's own recipe: a TOML file that names factories, and says how a bundle uses them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from torch import nn

from edgeapl.bundle.soundness import check_rule
from edgeapl.bundle.specs import (
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
from edgeapl.errors import ConfigError
from edgeapl.export.checkpoints import Choice
from edgeapl.export.recipes.common import GATE
from edgeapl.export.recipes.factory import load_factory, part_of
from edgeapl.export.recipes.recipe import Images, NetworkRecipe, Numbers, Output, Recipe, Shapes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Three = tuple[float, float, float]
LEFT_OUT = "-"
"""Stands in `outputs` for a tensor that the bundle does not need."""


class ImagesPart(Spec):
    """What the networks of cells see; see `edgeapl.bundle.specs.CropSpec` and `Images`."""

    window_um: Positive
    size_px: Annotated[int, Field(ge=16, le=1024)]
    resized_px: int | None = None
    cut: Cut = "window"
    cell_image_cut: Cut = "window"
    mask: bool = False
    leave_out: tuple[str, ...] = ()
    colour_order: Literal["rgb", "bgr"] = "rgb"
    scale: Positive = 1 / 255
    mean: Three = (0.0, 0.0, 0.0)
    deviation: Three = (1.0, 1.0, 1.0)

    def crop(self) -> dict[str, Any]:
        """Give the manifest's part."""
        inside = {"colour_order", "scale", "mean", "deviation"}
        return self.model_dump(mode="json", exclude=inside, exclude_none=True)

    def images(self) -> Images:
        """Give the part that lies in the graph."""
        size = self.size_px
        return Images(size, size, self.colour_order, self.scale, self.mean, self.deviation)


class NetworkPart(Spec):
    """One network.

    weights : role in ``--weights role=FILE``. factory : ``package.module:function`` or
        ``file.py:function``, seen from the recipe's folder; gives a torch module.
    part : attribute or method of the module that is exported; all of it if left out.
    takes : numbers per row, for networks that take no images.
    outputs : names for what it gives, in order; ``-`` for what is not needed.
    softmax, sigmoid : output to the names of the probabilities made from it.
    """

    weights: Name
    factory: str
    part: str | None = None
    takes: tuple[int, ...] | None = None
    outputs: tuple[str, ...]
    softmax: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    sigmoid: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    after: OutputOf | None = None
    when: OutputOf | None = None

    @model_validator(mode="after")
    def _names_fit(self) -> NetworkPart:
        for output in (*self.softmax, *self.sigmoid):
            if output not in self.outputs:
                raise ValueError(f"{output!r} is not among the outputs")
        classes = [
            name for names in (*self.softmax.values(), *self.sigmoid.values()) for name in names
        ]
        names = [name for name in self.outputs if name != LEFT_OUT] + classes
        if len(set(names)) != len(names):
            raise ValueError("a name stands twice among outputs and classes")
        return self

    def named(self) -> tuple[Output | None, ...]:
        """Give the outputs as the export takes them."""
        made: list[Output | None] = []
        for name in self.outputs:
            if name == LEFT_OUT:
                made.append(None)
            elif name in self.softmax:
                made.append(Output(name, "softmax", self.softmax[name]))
            elif name in self.sigmoid:
                made.append(Output(name, "sigmoid", self.sigmoid[name]))
            else:
                made.append(Output(name))
        return tuple(made)


class WeightsPart(Spec):
    """What is taken of a role's file, where that is not clear by itself.

    key : which of several state_dicts in the file, e.g. ``ema_state_dict``.
    prefix : what stands before the module's names, e.g. ``model.``; ``""`` for nothing.
    ignore : names, with ``*`` for any part, that the module may do without.
    """

    key: str | None = None
    prefix: str | None = None
    ignore: tuple[str, ...] = ()


class RecipeFile(Spec):
    """All of the file; what is not named here is as in `bundle.toml`."""

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
    def _rule_is_sound(self) -> RecipeFile:
        if self.answers == "apl":
            check_rule(self.rule, self.reducer, self.roles)
        return self


def recipe(path: Path) -> Recipe:
    """Read a recipe file.

    Raises ConfigError that names the setting, and says when the file or a factory is missing.
    """
    file = _read(path)
    settings = {
        "version": file.version,
        "intended_use": file.intended_use,
        "answers": file.answers,
        "um_per_px": file.um_per_px,
        "crop": file.images.crop(),
        **{
            name: getattr(file, name).model_dump(mode="json", exclude_none=True)
            for name in ("segmenter", "reducer", "rule", "gate")
        },
        "roles": [role.model_dump(mode="json") for role in file.roles],
        **({"features": file.features} if file.features else {}),
    }
    explanation = file.explanation.model_dump(mode="json") if file.explanation else {}
    return Recipe(
        name=file.name,
        source=f"recipe file {path.name}",
        networks=tuple(_network(name, part, file, path) for name, part in file.networks.items()),
        settings=settings,
        explanation=explanation,
        card=file.about,
        tolerance=file.tolerance,
    )


def _read(path: Path) -> RecipeFile:
    try:
        given: Mapping[str, Any] = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigError("recipe cannot be read", path, error.strerror or "check it") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("recipe is not valid TOML", path, str(error)) from error
    try:
        return RecipeFile.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "recipe"
        raise ConfigError("recipe not understood", path, f"{where}: {first['msg']}") from error


def _network(name: str, part: NetworkPart, file: RecipeFile, path: Path) -> NetworkRecipe:
    choice = file.weights.get(part.weights, WeightsPart())
    takes_images = part.takes is None
    return NetworkRecipe(
        name=name,
        weights=part.weights,
        build=_builder(part.factory, path),
        part=lambda module, explain: part_of(module, part.part),
        input_name="cells" if takes_images else "numbers",
        input=file.images.images() if part.takes is None else Numbers(part.takes),
        outputs=part.named(),
        choice=Choice(choice.key, choice.prefix, choice.ignore),
        after=part.after,
        when=part.when,
    )


def _builder(factory: str, path: Path) -> Callable[[Shapes], nn.Module]:
    def build(shapes: Shapes) -> nn.Module:
        return load_factory(factory, path.parent)()

    return build
