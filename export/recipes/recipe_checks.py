"""Whether the parts of a recipe fit together; checked before any of the user's code runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from edgeapl.bundle.manifest import Manifest
from edgeapl.errors import ConfigError
from edgeapl.export.recipes.manifest import (
    GOLDEN_ANSWERS,
    GOLDEN_FRAME,
    MODEL_CARD,
    manifest_settings,
)
from edgeapl.export.recipes.recipe import Recipe
from edgeapl.export.recipes.recipe_file import LEFT_OUT, RecipeFile
from edgeapl.toml_file import Key, Mistake, nearest
from edgeapl.validation_errors import first_problem

NO_NETWORK = "recipe has no such network"
NO_OUTPUT = "network has no such output"


def mistakes(file: RecipeFile) -> Iterator[Mistake]:
    """Yield every name in a recipe that refers to nothing, with its place."""
    given = {name: _outputs(file, name) for name in file.networks}
    for number, role in enumerate(file.roles):
        yield from _checked(("roles", number), role.network, role.output, given)
    for field in ("after", "when"):
        for name, part in file.networks.items():
            value = getattr(part, field)
            if value is not None:
                yield from _one(("networks", name, field), value, given)
    if file.features is not None:
        yield from _one(("features",), file.features, given)
    for value in file.explanation.maps if file.explanation else ():
        yield from _one(("explanation", "maps"), value, given)
    if file.reducer.head is not None:
        if file.reducer.head not in given:
            mend = nearest(file.reducer.head, given)
            yield Mistake(("reducer", "head"), NO_NETWORK, f"{file.reducer.head!r}: {mend}")
        else:
            for output in file.reducer.head_outputs:
                yield from _output(("reducer", "head_outputs"), file.reducer.head, output, given)
    roles = {part.weights for part in file.networks.values()}
    for name in file.weights:
        if name not in roles:
            yield Mistake(("weights", name), "no network takes these weights", nearest(name, roles))


def _outputs(file: RecipeFile, name: str) -> list[str]:
    part = file.networks[name]
    return [*part.classes, *(output for output in part.outputs if output != LEFT_OUT)]


def _checked(
    keys: tuple[Key, ...], network: str, output: str, given: dict[str, list[str]]
) -> Iterator[Mistake]:
    if network not in given:
        mend = f"{network!r}: {nearest(network, given)}"
        yield Mistake((*keys, "network"), NO_NETWORK, mend)
    else:
        yield from _output((*keys, "output"), network, output, given)


def _one(keys: tuple[Key, ...], value: str, given: dict[str, list[str]]) -> Iterator[Mistake]:
    """Check a reference written ``network.output``."""
    network, _, output = value.partition(".")
    if network not in given:
        yield Mistake(keys, NO_NETWORK, f"{network!r}: {nearest(network, given)}")
    else:
        yield from _output(keys, network, output, given)


def _output(
    keys: tuple[Key, ...], network: str, output: str, given: dict[str, list[str]]
) -> Iterator[Mistake]:
    if output not in given[network]:
        mend = f"{network} gives no {output!r}: {nearest(output, given[network])}"
        yield Mistake(keys, NO_OUTPUT, mend)


def check_manifest(recipe: Recipe, path: Path) -> None:
    """Raise ConfigError when no bundle could have what the recipe says."""
    files = [*(n.file for n in recipe.networks), MODEL_CARD, GOLDEN_FRAME, GOLDEN_ANSWERS]
    settings = manifest_settings(recipe, trained=True, explain=True)
    digests = dict.fromkeys(files, "0" * 64)
    crop = dict(settings["crop"])
    if "colours" not in crop:  # the export measures them, or refuses
        crop.pop("colour_transfer", None)
    settings["crop"] = crop
    try:
        Manifest.model_validate({"schema_version": 1, **settings, "files": digests})
    except ValidationError as error:
        place, what = first_problem(error)
        which = f"{path}, {place}" if place else str(path)
        raise ConfigError("recipe makes no bundle", which, what) from error
