"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ONE_AT_A_TIME = ("tests/faults/", "tests/contract/test_device_sources.py")
"""Tests that promise times, load the machine or want the one fake GigE camera: when tests
run side by side, these run after each other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of `ONE_AT_A_TIME` in one worker."""
    for item in items:
        if item.path.relative_to(ROOT).as_posix().startswith(ONE_AT_A_TIME):
            item.add_marker(pytest.mark.xdist_group("one at a time"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real smear images, or a skip that says where it was looked for."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("EDGEAPL_TEST_DATA", default))
    if not (folder / "PROVENANCE.md").is_file():
        pytest.skip("no real images: set EDGEAPL_TEST_DATA or put them at ../shared/data")
    return folder
