"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real smear images, or a skip that says where it was looked for."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("EDGEAPL_TEST_DATA", default))
    if not (folder / "PROVENANCE.md").is_file():
        pytest.skip("no real images: set EDGEAPL_TEST_DATA or put them at ../shared/data")
    return folder
