"""The demonstration bundle on real images: everything is counted, and nothing is pretended."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeapl.model import EMBEDDED
from tests.e2e.station import Station

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "slides", "fewest_cells"),
    [
        (["segpc_bone_marrow/images"], 1, 60),
        (["chula_wbc/images"], 1, 24),
        (["draaslan/images"], 1, 25),
        (["--crops", "deepapl_discovery/Patient_00"], 10, 50),
    ],
    ids=lambda value: str(value) if isinstance(value, list) else "",
)
def test_a_real_slide_is_examined_and_left_to_a_person(
    station: Station, real_data: Path, arguments: list[str], slides: int, fewest_cells: int
) -> None:
    *options, folder = arguments
    named = ("--bundle", EMBEDDED, "--json")
    done = station.run("score", *options, real_data / folder, *named, timeout=300)
    assert done.code == 0, done.err
    found = done.document["slides"]
    assert 1 <= len(found) <= slides
    assert sum(slide["tally"]["scored"] for slide in found) >= fewest_cells
    for slide in found:
        assert slide["verdict"] == "REVIEW", slide["reasons"]
        codes = [reason["code"] for reason in slide["reasons"]]
        assert any(code.startswith("domain_") for code in codes)
    assert station.run("journal", "verify").code == 0


def test_the_data_folder_is_not_written_to(station: Station, real_data: Path) -> None:
    folder = real_data / "chula_rbc_negative" / "images"
    before = sorted(path.name for path in folder.iterdir())
    station.run("score", folder, "--json", timeout=300)
    assert sorted(path.name for path in folder.iterdir()) == before
