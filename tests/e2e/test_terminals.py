"""No setting of a terminal ends a command whose work is done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.station import Station
from tests.small_bundle import drawn_field, png

SETTINGS = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ASCII, also in names of files": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_slides_with_umlauts_are_scored_and_shown(
    settings: dict[str, str], station: Station, bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "Bilder"
    (folder / "Müller Ω").mkdir(parents=True)
    (folder / "Müller Ω" / "ä.png").write_bytes(png(drawn_field(((60, 60), (150, 130)))))
    (tmp_path / "labels.csv").write_text("slide,label\nMüller Ω,APL\n", encoding="utf-8")
    out = tmp_path / "out"
    arguments = (
        ("score", folder, "--bundle", bundle, "--um-per-px", "0.2", "--out", out),
        ("evaluate", out, "--labels", tmp_path / "labels.csv"),
        ("journal", "list"),
        ("doctor", "--bundle", bundle),
        ("score", tmp_path / "Ω gone"),
    )
    codes = []
    for one in arguments:
        done = subprocess.run(
            [sys.executable, "-m", "edgeapl", *map(str, one)],
            cwd=station.folder,
            env={**station.environment, **settings},
            capture_output=True,
            timeout=120,
            check=False,
        )
        codes.append(done.returncode)
        assert b"Traceback" not in done.stderr, (one, done.stderr[-600:])
        if one[0] == "score" and not done.returncode:
            assert b"\\u03a9" in done.stdout, "what cannot be shown is spelled out"
    assert codes == [0, 0, 0, codes[3], 3]
    assert len(list((out / "slides").glob("M*"))) == 1
