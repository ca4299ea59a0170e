"""The manifest of a recipe's bundle."""

from __future__ import annotations

from typing import Any

from edgeapl.export.recipes.recipe import Recipe

MODEL_CARD = "MODEL_CARD.md"
GOLDEN_FRAME, GOLDEN_ANSWERS = "golden.png", "golden.npz"
GOLDEN_TOLERANCE = 0.05
"""Tolerance of the self-test: runtimes and precisions differ by less, a wrong network by more."""


def manifest_settings(recipe: Recipe, *, trained: bool, explain: bool) -> dict[str, Any]:
    """Return the manifest of a recipe's bundle, without ``schema_version`` and ``files``."""
    return {
        "name": recipe.name,
        "version": "1.0",
        "trained": trained,
        "model_card": MODEL_CARD,
        **recipe.settings,
        "networks": {network.name: network.settings() for network in recipe.networks},
        "golden": {
            "frame": GOLDEN_FRAME,
            "expected": GOLDEN_ANSWERS,
            "um_per_px": 0.2,
            "tolerance": GOLDEN_TOLERANCE,
        },
        **({"explanation": dict(recipe.explanation)} if explain and recipe.explanation else {}),
    }
