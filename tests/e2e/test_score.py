"""`edgeapl score` from a folder of images to verdicts, tables, pictures and reports."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from edgeapl.types import UInt8
from tests.e2e.station import Station
from tests.small_bundle import drawn_field, png

A = ((60, 60), (150, 130))
B = ((50, 140), (140, 50), (100, 100))


def write(folder: Path, **fields: UInt8) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in fields.items():
        (folder / f"{name}.png").write_bytes(png(pixels))
    return folder


@pytest.fixture
def smears(tmp_path: Path) -> Path:
    folder = tmp_path / "smears"
    write(folder / "one", a=drawn_field(A), b=drawn_field(B))
    write(folder / "two", a=drawn_field(B))
    return folder


def test_every_slide_gets_a_verdict_and_everything_a_user_expects(
    station: Station, smears: Path, bundle: Path
) -> None:
    done = station.run("score", smears, "--bundle", bundle, "--um-per-px", "0.2", "--json")
    assert done.code == 0, done.err
    document = done.document
    assert document["schema"] == 1
    assert document["errors"] == []
    assert [slide["slide"] for slide in document["slides"]] == ["one", "two"]
    for slide in document["slides"]:
        tally = slide["tally"]
        assert tally["seen"] == tally["scored"] + tally["not_examined"] + tally["failed"] > 0
        assert slide["verdict"] in ("FLAG", "CLEAR", "REVIEW")
        assert slide["research_use_only"] is True
        assert len(slide["bundle_digest"]) == 64
    out = station.folder / document["out"]
    lines = (out / "verdicts.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == document["slides"]
    with (out / "cells.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert len(cells) == sum(slide["tally"]["seen"] for slide in document["slides"])
    assert {"slide", "x0", "y1", "status", "promyelocyte", "auer_rod"} <= set(cells[0])
    report = (out / "slides" / "one" / "report.html").read_text()
    assert "Research use only" in report
    assert 'src="http' not in report
    assert len(list((out / "slides" / "one" / "overlays").glob("*.png"))) == 2
    for path in (out / "slides" / "one" / "geojson").glob("*.geojson"):
        assert json.loads(path.read_text())["type"] == "FeatureCollection"
    verified = station.run("journal", "verify")
    assert verified.code == 0, verified.err


def test_a_second_run_scores_nothing_twice_and_a_changed_image_again(
    station: Station, smears: Path, bundle: Path
) -> None:
    arguments = ("score", smears, "--bundle", bundle, "--um-per-px", "0.2", "--json")
    first = station.run(*arguments).document
    again = station.run(*arguments).document
    assert again == first
    write(smears / "two", a=drawn_field(A))
    changed = station.run(*arguments).document
    assert changed["slides"][0] == first["slides"][0]
    assert changed["slides"][1]["journal_record"] != first["slides"][1]["journal_record"]
    listed = station.run("journal", "list", "--json")
    rows = listed.out.count('"verdict":')
    assert rows == 3


def test_an_edited_result_is_scored_again(station: Station, smears: Path, bundle: Path) -> None:
    arguments = ("score", smears, "--bundle", bundle, "--um-per-px", "0.2", "--json")
    first = station.run(*arguments).document
    path = station.folder / first["out"] / "slides" / "one" / "verdict.json"
    record = json.loads(path.read_text())
    record["verdict"] = "CLEAR" if record["verdict"] != "CLEAR" else "FLAG"
    path.write_text(json.dumps(record) + "\n")
    again = station.run(*arguments).document
    assert again["slides"][0]["verdict"] == first["slides"][0]["verdict"]


def test_crops_are_one_cell_each(station: Station, tmp_path: Path, bundle: Path) -> None:
    folder = tmp_path / "cells"
    for number in range(3):
        field = drawn_field(((100, 100),))[50 + number : 150 + number, 50:150]
        write(folder / "patient" / "blasts", **{f"c{number}": field})
    done = station.run("score", "--crops", folder, "--bundle", bundle, "--json")
    assert done.code == 0, done.err
    (slide,) = done.document["slides"]
    assert slide["slide"] == "patient"
    assert slide["tally"]["seen"] == 3


def test_one_bad_image_is_told_and_the_good_ones_are_kept(
    station: Station, smears: Path, bundle: Path
) -> None:
    whole = (smears / "one" / "a.png").read_bytes()
    (smears / "one" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (smears / "one" / "text.png").write_bytes(b"hello")
    (smears / "one" / "empty.jpg").write_bytes(b"")
    done = station.run("score", smears, "--bundle", bundle, "--um-per-px", "0.2", "--json")
    assert done.code == 3
    assert len(done.error_lines) == 3
    assert "Traceback" not in done.err
    document = done.document
    assert len(document["errors"]) == 3
    one, two = document["slides"]
    assert one["tally"]["scored"] > 0
    assert one["verdict"] != "CLEAR"
    assert "input_failed" in [reason["code"] for reason in one["reasons"]]
    assert two["tally"]["scored"] > 0
    again = station.run("score", smears, "--bundle", bundle, "--um-per-px", "0.2", "--json")
    assert again.code == 3
    assert again.document == document


def test_a_flag_changes_the_exit_code_only_when_asked(
    station: Station, tmp_path: Path, bundle: Path
) -> None:
    field = drawn_field(B)
    red = field.copy()
    red[field.max(axis=2) < 200] = (160, 40, 120)
    folder = write(tmp_path / "red", a=red, b=red[::-1].copy(), c=red[:, ::-1].copy())
    arguments = ("score", folder, "--bundle", bundle, "--um-per-px", "0.2", "--json")
    plain = station.run(*arguments)
    assert plain.document["slides"][0]["verdict"] == "FLAG"
    assert plain.code == 0
    assert station.run(*arguments, "--fail-on-flag").code == 10


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["score", "nowhere"], 3, "nowhere"),
        (["score", "."], 3, ""),
        (["score"], 2, "usage"),
        (["score", ".", "--no-such-option"], 2, "no-such-option"),
        (["score", ".", "--um-per-px", "-1"], 2, "um-per-px"),
        (["frobnicate"], 2, "frobnicate"),
        (["score", ".", "--bundle", "missing"], 4, "missing"),
        (["inspect", "missing"], 4, "missing"),
        (["score", ".", "--station", "missing.toml"], 2, "missing.toml"),
        (["watch", "http://somewhere"], 2, "http"),
        (["watch", "demo://nothing"], 2, "demo://"),
        (["journal", "verify", "--journal", "missing.sqlite3"], 5, "missing"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    station: Station, bundle: Path, arguments: list[str], code: int, said: str
) -> None:
    if arguments[0] in ("score", "watch") and "--bundle" not in arguments and code != 2:
        arguments = [*arguments, "--bundle", str(bundle)]
    done = station.run(*arguments)
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    assert len(done.error_lines) == 1, done.err
    assert said in done.error_lines[0]


def test_results_of_one_folder_do_not_mix_with_anothers(
    station: Station, smears: Path, bundle: Path
) -> None:
    out = station.folder / "out"
    first = station.run("score", smears / "one", "--bundle", bundle, "--out", out)
    assert first.code == 0, first.err
    other = station.run("score", smears / "two", "--bundle", bundle, "--out", out)
    assert other.code == 2
    assert "belongs to another input" in other.error_lines[0]
    among = station.run("score", smears / "one", "--bundle", bundle, "--out", smears / "one")
    assert among.code == 2
    assert "among the images" in among.error_lines[0]
