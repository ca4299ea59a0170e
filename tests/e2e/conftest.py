"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.station import Station
from tests.small_bundle import small_bundle


@pytest.fixture
def station(tmp_path: Path) -> Station:
    folder = tmp_path / "station"
    folder.mkdir()
    return Station(folder)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small bundle: red cells are promyelocytes, blue ones have Auer rods."""
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small").folder
