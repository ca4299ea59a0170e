"""A bundle made ready to run: networks opened, reducer and domain built, self-test passed."""

from __future__ import annotations

from pathlib import Path

from edgeapl.model.assembled import Model
from edgeapl.model.opening import open_model

__all__ = ["EMBEDDED", "Model", "open_model"]

EMBEDDED = Path(__file__).parent.parent / "models" / "apl-demo"
"""The bundle that is used when none is named."""
