"""What a list says of slides comes out again, beside our own columns, and groups patients."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.e2e.station import Station
from tests.small_bundle import drawn_field, png

HEADER = "Slide;File;Patient;status;Färbung;promyelocyte"
ROWS = (
    "S1;a.png;Müller;first;=1+1;MGG",
    "S1;b.png;Müller;second;=1+1;MGG",
    "S2;c.png;Müller;first;+49 30;",
    "S3;d.png;;first;;x",
)
CELLS = {
    "a": ((60, 60), (150, 130)),
    "b": ((50, 140), (140, 50), (100, 100)),
    "c": ((150, 60), (60, 120)),
    "d": ((60, 150), (120, 80)),
}


def test_patients_and_columns_of_a_list_come_out_again(
    station: Station, bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "smears"
    folder.mkdir()
    for name, centres in CELLS.items():
        (folder / f"{name}.png").write_bytes(png(drawn_field(centres)))
    text = "\r\n".join((HEADER, *ROWS, ""))
    (folder / "slides.csv").write_bytes(text.encode("utf-16"))
    score = ("score", folder, "--bundle", bundle, "--um-per-px", "0.2", "--out", tmp_path / "out")
    assert station.run(*score).code == 0
    verdicts = tmp_path / "out" / "verdicts.jsonl"
    first = verdicts.read_bytes()
    records = {one["slide"]: one for one in map(json.loads, first.splitlines())}
    assert [records[name].get("patient") for name in ("S1", "S2", "S3")] == ["Müller"] * 2 + [None]
    assert records["S1"]["listed"] == {
        "status": ["first", "second"],
        "Färbung": "=1+1",
        "promyelocyte": "MGG",
    }
    data = (tmp_path / "out" / "cells.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbfslide,"), "Excel shows umlauts by this mark"
    assert data.count(b"\xef\xbb\xbf") == 1
    rows = list(csv.DictReader(data.decode("utf-8-sig").splitlines()))
    assert {row["list_status"] for row in rows if row["slide"] == "S1"} == {"first", "second"}
    for row in rows:
        assert row["Färbung"] in ("'=1+1", "'+49 30", ""), "nothing is taken for a formula"
        assert row["patient"] == ("" if row["slide"] == "S3" else "Müller")
        assert 0 <= float(row["promyelocyte"]) <= 1
        assert row["list_promyelocyte"] in ("MGG", "", "x")
    labels = tmp_path / "labels.csv"
    labels.write_bytes("Patient;Diagnose;label\r\nMüller;x;APL\r\nS3;y;AML\r\n".encode())
    evaluation = station.run("evaluate", tmp_path / "out", "--labels", labels, "--json").document
    assert evaluation["slides"]["n"] == 3
    assert evaluation["patients"]["labels"] == {"AML": 1, "APL": 1}
    again = station.run(*score)
    assert again.err.count("finished before") == 3
    assert verdicts.read_bytes() == first
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(tmp_path / "out" / "cells.csv")
    assert table.columns[0] == "slide"
    assert len(table) == len(rows)
