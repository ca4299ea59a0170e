"""The model card that is part of a bundle."""

from __future__ import annotations

from edgeapl.export.recipes.recipe import Images, NetworkRecipe, Recipe

UNTRAINED = """
**These weights are random.** The bundle is for latency studies; its only verdict is REVIEW.
"""


def model_card(recipe: Recipe, *, trained: bool) -> str:
    """Return Markdown: what the bundle is, its networks' inputs and outputs, and its limits."""
    settings = recipe.settings
    rows = "\n".join(_row(network) for network in recipe.networks)
    return f"""# {recipe.name}

{settings["intended_use"]}

**Research use only. Not for diagnosis.**
{"" if trained else UNTRAINED}
{recipe.card.strip()}

Source: {recipe.source}

| network | takes | gives |
|---|---|---|
{rows}

What the export was proven on, and how near the exported networks are to the checkpoint, is in
`export-report.json`. How accurate the model is on your images it does not say: measure that with
`edgeapl evaluate` on slides whose diagnosis you know.
"""


def _row(network: NetworkRecipe) -> str:
    given = network.input
    if isinstance(given, Images):
        takes = f"uint8 ({'N' if given.many else 1}, {given.height}, {given.width}, 3) RGB"
    else:
        takes = f"float32 (N, {', '.join(map(str, given.shape))})"
    shared = network.shared
    if shared is not None:
        takes += f" and {shared.name} float32 (1, {', '.join(map(str, shared.shape))})"
    gives = ", ".join(
        name for out in network.outputs if out is not None for name in (out.name, *out.classes)
    )
    return f"| {network.name} | {takes} | {gives} |"
