"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.station import Station
from tests.small_bundle import small_bundle


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    folder = tmp_path / "station"
    folder.mkdir()
    made = Station(folder)
    yield made
    made.end()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small bundle: red cells are promyelocytes, blue ones have Auer rods."""
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small").folder
