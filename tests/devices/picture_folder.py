"""Where the picture camera finds its pictures, without importing what drives it."""

from __future__ import annotations

from pathlib import Path

FOLDER = "EDGEAPL_TEST_PICTURES"
"""Environment variable: the folder whose pictures are played."""

PICTURES_CONFIG = f"mm://{Path(__file__).with_name('pictures.cfg')}?python=1"
"""Address of the picture camera."""
