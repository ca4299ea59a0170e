"""A user's own recipe: a TOML file that names factories, and says how a bundle uses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError
from torch import nn

from edgeapl.errors import ConfigError
from edgeapl.export.checkpoints import Choice
from edgeapl.export.recipes.cell_names import unknown_roles
from edgeapl.export.recipes.factory import load_factory, part_of
from edgeapl.export.recipes.recipe import NetworkRecipe, Numbers, Recipe, Shapes
from edgeapl.export.recipes.recipe_checks import check_manifest, mistakes
from edgeapl.export.recipes.recipe_file import NetworkPart, RecipeFile, WeightsPart
from edgeapl.export.recipes.segment_anything import Finder
from edgeapl.toml_file import Mistake, first_mistake, line_of, read_toml


def recipe(path: Path, finder: Finder | None = None) -> Recipe:
    """Read a recipe file.

    Parameters
    ----------
    finder : in place of the segmenter that the file names.

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
    networks = tuple(_network(name, part, file, path) for name, part in file.networks.items())
    if finder is not None:
        taken = sorted({network.name for network in finder.networks} & file.networks.keys())
        if taken:
            raise ConfigError("network has a name that is taken", taken[0], "call it otherwise")
        settings["segmenter"] = finder.settings
        networks = (*finder.networks, *networks)
    explanation = file.explanation.model_dump(mode="json") if file.explanation else {}
    made = Recipe(
        name=file.name,
        source=f"recipe file {path.name}",
        networks=networks,
        settings=settings,
        explanation=explanation,
        card=file.about,
        tolerance=file.tolerance,
        warnings=unknown_roles(role.name for role in file.roles),
    )
    check_manifest(made, path)
    return made


def _read(path: Path) -> RecipeFile:
    try:
        text, given = read_toml(path.read_bytes())
    except OSError as error:
        raise ConfigError("recipe cannot be read", path, error.strerror or "check it") from error
    except ValueError as error:
        raise ConfigError("recipe is not valid TOML", path, str(error)) from error
    try:
        file = RecipeFile.model_validate(given)
    except ValidationError as error:
        raise _wrong(first_mistake(error, RecipeFile), path, text) from error
    for mistake in mistakes(file):
        raise _wrong(mistake, path, text)
    return file


def _wrong(mistake: Mistake, path: Path, text: str) -> ConfigError:
    line = line_of(text, mistake.keys)
    place = f"{mistake.name or 'recipe'} ({path}, line {line})"
    return ConfigError(f"recipe not understood: {mistake.what}", place, mistake.mend)


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
