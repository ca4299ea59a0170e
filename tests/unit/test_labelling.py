"""Labels come out as programs for training read them, and people's words win."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

import edgeapl.labelling
from edgeapl.cli.main import run
from edgeapl.journal import AMENDMENT, Journal
from edgeapl.sources.decode import read_image
from tests.small_bundle import drawn_field, png, small_bundle

TWO, THREE = ((60, 60), (150, 130)), ((50, 140), (140, 50), (100, 100))
ALSO_THREE = ((45, 145), (147, 43), (94, 106))


@dataclass(frozen=True)
class Scored:
    """Frames that were scored: 2 slides, 3 frames, 8 cells."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def journal(self) -> Path:
        return self.folder / "journal.sqlite"

    def record(self, slide: str) -> dict[str, Any]:
        text = (self.results / "slides" / slide / "verdict.json").read_text(encoding="utf-8")
        record: dict[str, Any] = json.loads(text)
        return record

    def say(self, slide: str, cell: int, label: str, person: str = "AB") -> None:
        record = self.record(slide)
        said = {"slide": record["slide"], "record": record["journal_record"]}
        with Journal.open(self.journal) as journal:
            journal.append_event(
                AMENDMENT, {**said, "cell": cell, "scores": {}, "label": label, "person": person}
            )

    def export(self, form: str, *more: str | Path) -> int:
        named = ("--journal", self.journal, "--out", self.out(form))
        return run(
            [str(one) for one in ("export-labels", self.results, "--format", form, *named, *more)]
        )

    def out(self, form: str) -> Path:
        return self.folder / f"labels-{form}"

    def table(self, form: str) -> list[dict[str, str]]:
        with (self.out(form) / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    bundle = small_bundle(folder / "bundle").folder
    frames = folder / "smears"
    for name, cells in {"one/a": TWO, "one/b": THREE, "two/a": ALSO_THREE}.items():
        (frames / name).parent.mkdir(parents=True, exist_ok=True)
        (frames / f"{name}.png").write_bytes(png(drawn_field(cells)))
    score(frames, bundle, folder)
    return folder


def score(frames: Path, bundle: Path, folder: Path, *more: str) -> None:
    where = ("--out", folder / "results", "--journal", folder / "journal.sqlite")
    asked = ("score", frames, "--bundle", bundle, "--um-per-px", "0.2", *where, *more)
    assert run([str(one) for one in asked]) == 0


@pytest.fixture
def scored(made: Path, tmp_path: Path) -> Scored:
    """A copy to change; the record names the frames where they were made."""
    for name in ("results", "journal.sqlite", "journal.sqlite.anchor"):
        copy = shutil.copytree if (made / name).is_dir() else shutil.copy
        copy(made / name, tmp_path / name)
    return Scored(tmp_path)


def files_in(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def labels_in(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in files_in(folder).items() if name.startswith("labels-")}


def test_a_persons_word_wins_and_both_are_kept_with_who_and_when(scored: Scored) -> None:
    scored.say("one", 0, "auer_rod", "first")
    scored.say("one", 0, "myeloblast", "Müller")
    scored.say("one", 1, "unsure")
    scored.say("one", 2, "not a cell")
    assert scored.export("csv") == 0
    rows = {(row["slide"], int(row["cell"])): row for row in scored.table("csv")}
    assert len(rows) == 8
    first, unsure, none, other = (rows["one", number] for number in range(4))
    machine = first["machine_class"]
    assert machine not in ("", "myeloblast")
    assert (first["class"], first["labelled_by"]) == ("myeloblast", "person")
    assert (first["corrected_class"], first["corrected_by"]) == ("myeloblast", "Müller")
    assert first["corrected_at"].endswith("Z")
    assert first["corrections"] == "2"
    assert (unsure["class"], unsure["labelled_by"]) == ("", "")
    assert unsure["machine_class"] == machine
    assert none["class"] == "not a cell"
    assert (other["class"], other["labelled_by"]) == (other["machine_class"], "machine")
    assert all(row["machine_class"] for row in rows.values())


# pycocotools' masks do not know NumPy 2's copy keyword.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_is_read_by_pycocotools_with_boxes_outlines_and_people(
    scored: Scored, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    scored.say("two", 1, "auer_rod")
    scored.say("two", 0, "unsure")
    assert scored.export("coco") == 0
    capsys.readouterr()
    read = coco.COCO(str(scored.out("coco") / "coco.json"))
    names = [one["name"] for one in read.loadCats(read.getCatIds())]
    roles = ["promyelocyte", "myeloblast", "auer_rod"]
    assert names == [*roles, "other cell", "not a cell"]
    images = read.loadImgs(read.getImgIds())
    assert [image["file_name"] for image in images] == ["one/a.png", "one/b.png", "two/a.png"]
    assert [image["cells_without_class"] for image in images] == [0, 0, 1]
    assert all((image["width"], image["height"]) == (200, 200) for image in images)
    found = read.loadAnns(read.getAnnIds())
    assert len(found) == 7
    for one in found:
        left, top, width, height = one["bbox"]
        mask = read.annToMask(one)
        rows, columns = np.nonzero(mask)
        assert abs(columns.min() - left) <= 1
        assert abs(rows.max() + 1 - top - height) <= 1
        assert one["area"] == pytest.approx(mask.sum(), rel=0.05)
        assert 0 < one["area"] <= width * height
        assert one["iscrowd"] == 0
    said = [one["attributes"] for one in found if one["attributes"]["labelled_by"] == "person"]
    assert [(one["corrected_by"], one["corrected_class"]) for one in said] == [("AB", "auer_rod")]
    assert len(read.getAnnIds(catIds=read.getCatIds(catNms=["auer_rod"]))) == 1
    document = json.loads((scored.out("coco") / "coco.json").read_text())
    assert "Research use only" in document["info"]["description"]
    assert document["licenses"][0]["id"] == images[0]["license"]
    merged = read.loadRes([{**found[0], "score": 0.5}])  # what evaluation programs do
    assert len(merged.getAnnIds()) == 1


def test_pandas_reads_the_table(scored: Scored) -> None:
    pandas = pytest.importorskip("pandas")
    scored.say("one", 0, "myeloblast", 'Jürgen, "=1+1"\n')
    assert scored.export("csv") == 0
    written = (scored.out("csv") / "labels.csv").read_bytes()
    assert written.startswith(b"\xef\xbb\xbf")  # without it Excel shows no umlauts
    assert written.count(b"\xef\xbb\xbf") == 1
    table = pandas.read_csv(scored.out("csv") / "labels.csv")
    assert len(table) == 8
    assert next(iter(table.columns)) == "slide"
    assert table["x1"].dtype == "float64" or table["x1"].dtype == "int64"
    assert table["probability_promyelocyte"].between(0, 1).all()
    assert table["corrected_by"][0] == 'Jürgen, "=1+1"\\n'


def test_folders_hold_each_cell_once_under_its_class_and_are_scored_again(scored: Scored) -> None:
    scored.say("two", 1, "auer_rod")
    scored.say("two", 0, "unsure")
    assert scored.export("folders") == 0
    out = scored.out("folders")
    rows = scored.table("folders")
    images = {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
    assert images == {row["file"] for row in rows if row["class"]}
    assert len(images) == 7
    assert "auer_rod/two_00001.png" in images
    for row in rows:
        if not row["class"]:
            assert row["file"] == ""
            continue
        assert row["file"].split("/")[0] == row["class"]
        crop, frame = read_image(out / row["file"]).pixels, read_image(Path(row["frame"])).pixels
        x0, y0, x1, y1 = (int(row[edge]) for edge in ("x0", "y0", "x1", "y1"))
        cell = frame[y0:y1, x0:x1]
        *_, (x, y), _ = cv2.minMaxLoc(cv2.matchTemplate(crop, cell, cv2.TM_SQDIFF))
        assert np.array_equal(crop[y : y + y1 - y0, x : x + x1 - x0], cell)
        assert crop.shape[0] > cell.shape[0]
    classes = sorted(path.name for path in out.iterdir() if path.is_dir())
    assert all(list((out / name).iterdir()) for name in classes)  # ImageFolder refuses empty ones
    bundle = small_bundle(scored.folder / "bundle").folder
    where = ("--out", scored.folder / "again", "--journal", scored.folder / "other.sqlite")
    asked = ("score", "--crops", out, "--bundle", bundle, "--um-per-px", "0.2", *where)
    assert run([str(one) for one in asked]) == 0
    lines = (scored.folder / "again" / "verdicts.jsonl").read_text().splitlines()
    again = {record["slide"]: record["tally"] for record in map(json.loads, lines)}
    count = Counter(row["class"] for row in rows if row["class"])
    assert {name: tally["scored"] for name, tally in again.items()} == dict(count)


@pytest.mark.parametrize("form", ["coco", "csv", "folders", "qupath"])
def test_the_same_results_give_the_same_bytes_and_replace_what_was_exported(
    scored: Scored, form: str
) -> None:
    assert scored.export(form) == 0
    first = files_in(scored.out(form))
    assert len(first) > 1
    assert scored.export(form) == 0
    assert files_in(scored.out(form)) == first
    assert "research_use_only" in first["edgeapl-labels.json"].decode()


def _foreign(out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")


def _added(out: Path) -> None:
    (out / "thesis.txt").write_text("years of work")


def _changed(out: Path) -> None:
    with (out / "labels.csv").open("a") as file:
        file.write("my own row\n")


def _file(out: Path) -> None:
    out.write_text("years of work")


@pytest.mark.parametrize(
    ("meddle", "first"), [(_foreign, False), (_file, False), (_added, True), (_changed, True)]
)
def test_nothing_is_written_over_that_this_program_did_not_write(
    scored: Scored, capsys: pytest.CaptureFixture[str], meddle: Any, first: bool
) -> None:
    if first:
        assert scored.export("csv") == 0
    meddle(scored.out("csv"))
    before = labels_in(scored.folder)
    assert scored.export("csv") == 2
    assert "choose another folder with --out" in capsys.readouterr().err
    assert labels_in(scored.folder) == before


def test_frames_that_are_gone_or_changed_are_named_and_give_no_image(
    scored: Scored, tmp_path: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = tmp_path / "moved"
    shutil.copytree(made / "smears", frames)
    shutil.rmtree(tmp_path / "results")
    score(frames, made / "bundle", tmp_path)
    (frames / "one/b.png").write_bytes(png(drawn_field(TWO)))
    (frames / "two/a.png").unlink()
    capsys.readouterr()
    assert scored.export("folders") == 3
    err = capsys.readouterr().err
    assert f"frame is not the one that was examined: {frames}/one/b.png" in err
    assert f"file does not exist: {frames}/two/a.png" in err
    assert [bool(row["file"]) for row in scored.table("folders")] == [True] * 2 + [False] * 6
    assert scored.export("folders", "--images", made / "smears") == 0
    whole = files_in(scored.out("folders"))
    assert all(row["file"] for row in scored.table("folders"))
    # What was exported whole is not replaced by less.
    assert scored.export("folders") == 3
    assert "the labels there were kept" in capsys.readouterr().err
    assert files_in(scored.out("folders")) == whole


def edited(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DROP TRIGGER never_changed")
        database.execute(
            "UPDATE records SET payload = replace(payload, 'myeloblast', 'auer_rod') "
            "WHERE kind = 'amendment'"
        )
    database.close()


@pytest.mark.parametrize(
    ("meddle", "words"),
    [
        (edited, "journal is not as it was written"),
        (lambda path: path.unlink(), "journal has lost all its rows"),
        (lambda path: Journal.open(path.with_name("new.sqlite")).close(), "does not know"),
    ],
)
def test_without_the_journal_as_it_was_written_no_word_is_lost_in_silence(
    scored: Scored, capsys: pytest.CaptureFixture[str], meddle: Any, words: str
) -> None:
    scored.say("one", 0, "myeloblast")
    meddle(scored.journal)
    new = scored.journal.with_name("new.sqlite")
    more: Sequence[str | Path] = ("--journal", new) if new.exists() else ()
    assert scored.export("csv", *more) == 5
    assert words in capsys.readouterr().err
    assert not scored.out("csv").exists()
    assert scored.export("csv", *more, "--machine-only") == 0
    assert {row["labelled_by"] for row in scored.table("csv")} == {"machine"}


@pytest.mark.parametrize("status", ["failed", "not_examined", "not_needed"])
def test_a_cell_without_scores_is_marked_and_has_no_class_until_a_person_gives_one(
    scored: Scored, status: str
) -> None:
    path = scored.results / "slides/two/cells.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:2]:
        row.update(dict.fromkeys(list(row)[-4:], ""), status=status)
        row["class"] = ""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    scored.say("two", 0, "myeloblast")
    for form in ("csv", "coco", "folders", "qupath"):
        assert scored.export(form) == 0
    named, marked = [row for row in scored.table("folders") if row["slide"] == "two"][:2]
    assert (named["class"], named["status"], named["machine_class"]) == ("myeloblast", status, "")
    assert (marked["class"], marked["status"], marked["file"]) == ("", status, "")
    document = json.loads((scored.out("coco") / "coco.json").read_text())
    assert len(document["annotations"]) == 7
    assert [image["cells_without_class"] for image in document["images"]] == [0, 0, 1]


def test_the_newest_record_of_a_slide_counts_and_older_ones_are_said(
    scored: Scored, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scored.say("one", 3, "myeloblast")
    # The same examination is done again: what it was asked for has changed.
    score(made / "smears", made / "bundle", scored.folder, "--um-per-px", "0.21")
    assert (scored.results / "slides/one.record2").is_dir()
    capsys.readouterr()
    assert scored.export("csv") == 0
    out = capsys.readouterr().out
    assert "2 older records left out, in which people named 1 cell:" in out
    assert len(scored.table("csv")) == 8
    assert scored.export("csv", "--all-records") == 0
    rows = scored.table("csv")
    assert len(rows) == 16
    assert len({(row["record"], row["cell"]) for row in rows}) == 16
    assert [row["class"] for row in rows if row["labelled_by"] == "person"] == ["myeloblast"]
    assert scored.export("folders", "--all-records") == 0
    assert len({row["file"] for row in scored.table("folders")}) == 16


def test_hostile_names_stay_inside_the_folder(tmp_path: Path, made: Path) -> None:
    frames = tmp_path / "frames"
    for name in ("%2f=x", "a\nb", "Häm ⟨1⟩", "=cmd()"):
        (frames / name).mkdir(parents=True)
        (frames / name / "=a\x1b.png").write_bytes(png(drawn_field(TWO)))
    score(frames, made / "bundle", tmp_path)
    scored = Scored(tmp_path)
    for form in ("folders", "coco", "qupath"):
        assert scored.export(form) == 0
    names = [path.name for path in scored.out("folders").rglob("*.png")]
    assert len(names) == 8
    assert all(char.isprintable() and char not in "=%⟨" for name in names for char in name)
    document = json.loads((scored.out("coco") / "coco.json").read_text())
    shown = [value for image in document["images"] for value in map(str, image.values())]
    shown += [value for row in scored.table("folders") for value in row.values()]
    assert all(value.isprintable() for value in shown)
    assert not [row for row in scored.table("folders") if row["slide"].startswith("=")]


def test_qupath_gets_every_frame_with_its_image_and_people_s_words(scored: Scored) -> None:
    scored.say("one", 0, "auer_rod")
    assert scored.export("qupath") == 0
    out = scored.out("qupath")
    index = json.loads((out / "images.json").read_text())["images"]
    assert [(one["image"], one["slide"]) for one in index] == [
        ("a.png", "one"), ("b.png", "one"), ("a.png", "two"),
    ]  # fmt: skip
    seen, said = set(), []
    for one in index:
        collection = json.loads((out / one["geojson"]).read_text())
        assert collection["type"] == "FeatureCollection"  # RFC 7946, 3.3
        for feature in collection["features"]:
            assert feature["type"] == "Feature"
            assert feature["geometry"]["type"] in ("Polygon", "MultiPolygon")
            (ring,) = feature["geometry"]["coordinates"]
            assert ring[0] == ring[-1]  # 3.1.6
            assert len(ring) >= 4
            flat = np.array(ring)
            assert flat.min() >= 0
            assert (flat.max(axis=0) <= (one["width"], one["height"])).all()
            properties = feature["properties"]
            assert properties["objectType"] == "detection"
            assert len(properties["classification"]["color"]) == 3
            assert all(isinstance(text, str) for text in properties["metadata"].values())
            seen.add(feature["id"])
            if "corrected_by" in properties["metadata"]:
                assert properties["classification"]["name"] == "Auer rod"
                said.append(
                    (one["slide"], properties["name"], properties["metadata"]["corrected_by"])
                )
    assert said == [("one", "cell 0", "AB")]
    assert len(seen) == 8
    script = (out / "import_cells.groovy").read_text()
    assert f'def FOLDER = "{out.as_posix()}"' in script
    assert "Research use only" in script


def test_results_that_can_not_be_exported_are_named(
    scored: Scored, capsys: pytest.CaptureFixture[str]
) -> None:
    table = scored.results / "slides/one/cells.csv"
    whole = table.read_text()
    header, _, rest = whole.partition("\n")
    older = [line.split(",") for line in whole.splitlines()]
    at = older[0].index("class")
    cases = {
        "before cells had a class": "\n".join(
            ",".join(line[:at] + line[at + 1 :]) for line in older
        ),
        "damaged": header + "\n" + rest.replace(",0,", ",x,"),
        "named cells that the results do not have": header + "\n",
    }
    scored.say("one", 0, "myeloblast")
    for words, text in cases.items():
        table.write_text(text)
        assert scored.export("csv") == 3, words
        assert words in capsys.readouterr().err
        assert not scored.out("csv").exists()
    table.write_text(whole)
    (scored.results / "slides/one/verdict.json").write_text("{")
    assert scored.export("csv") == 3
    assert (
        run(["export-labels", str(scored.folder / "no"), "--format", "csv", "--machine-only"]) == 3
    )
    assert "no results there" in capsys.readouterr().err


def test_what_lies_where_labels_are_prepared_is_removed_only_when_it_was_left_by_this_program(
    scored: Scored, capsys: pytest.CaptureFixture[str]
) -> None:
    part = scored.folder / "labels-csv.partial"
    part.mkdir()
    (part / "thesis.txt").write_text("years of work")
    assert scored.export("csv") == 2
    assert f"folder is not one of exported labels: {part}" in capsys.readouterr().err
    assert files_in(part) == {"thesis.txt": b"years of work"}
    # What a run that was ended left has the marker.
    (part / "edgeapl-labels.json").write_text("{}\n")
    assert scored.export("csv") == 0
    assert sorted(files_in(scored.out("csv"))) == ["edgeapl-labels.json", "labels.csv"]
    assert not part.exists()


def test_images_of_cells_and_pages_of_a_file_are_exported_as_they_are(
    tmp_path: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [drawn_field(TWO), drawn_field(THREE)]
    (tmp_path / "frames").mkdir()
    tifffile.imwrite(tmp_path / "frames/stack.tif", np.stack(pages), photometric="rgb")
    score(tmp_path / "frames", made / "bundle", tmp_path)
    scored = Scored(tmp_path)
    for form in ("folders", "coco", "qupath"):
        assert scored.export(form) == 0
    rows = scored.table("folders")
    assert [row["frame"].rpartition("/")[2] for row in rows] == ["stack.tif#0"] * 2 + [
        "stack.tif#1"
    ] * 3
    for row in rows:
        x0, y0, x1, y1 = (int(row[edge]) for edge in ("x0", "y0", "x1", "y1"))
        cell = pages[int(row["frame"][-1])][y0:y1, x0:x1]
        crop = read_image(scored.out("folders") / row["file"]).pixels
        *_, (x, y), _ = cv2.minMaxLoc(cv2.matchTemplate(crop, cell, cv2.TM_SQDIFF))
        assert np.array_equal(crop[y : y + y1 - y0, x : x + x1 - x0], cell)
    index = json.loads((scored.out("qupath") / "images.json").read_text())["images"]
    assert [(one["image"], one["part"]) for one in index] == [("stack.tif", 0), ("stack.tif", 1)]
    # Images of cells, once more: whole, without outlines.
    cells = Scored(tmp_path / "cells")
    score(scored.out("folders"), made / "bundle", cells.folder, "--crops")
    for form in ("folders", "coco"):
        assert cells.export(form) == 0
    for row in cells.table("folders"):
        again = read_image(cells.out("folders") / row["file"]).pixels
        assert np.array_equal(again, read_image(Path(row["frame"])).pixels)
    document = json.loads((cells.out("coco") / "coco.json").read_text())
    assert not any("segmentation" in one for one in document["annotations"])
    assert all(one["bbox"][:2] == [0, 0] and one["area"] > 0 for one in document["annotations"])
    capsys.readouterr()
    assert cells.export("qupath") == 3
    assert "images of single cells have no outlines" in capsys.readouterr().err
    assert not cells.out("qupath").exists()


def test_a_frame_of_a_camera_was_not_kept_and_that_is_said(
    tmp_path: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("watch", "demo://apl?seed=1&frames=2&cells=4", "--max-frames", "2", "--slide", "P1")
    where = ("--out", tmp_path / "results", "--journal", tmp_path / "journal.sqlite")
    assert run([str(one) for one in (*asked, "--bundle", made / "bundle", *where)]) in (0, 7)
    scored = Scored(tmp_path)
    capsys.readouterr()
    assert scored.export("folders") == 3
    assert "frame was not kept: it came from a camera or was drawn: demo://apl" in (
        capsys.readouterr().err
    )
    assert scored.export("coco") == 0
    document = json.loads((scored.out("coco") / "coco.json").read_text())
    assert [one["file_name"] for one in document["images"]] == ["P1/00000", "P1/00001"]
    assert document["annotations"]


GROOVY, JAVA = shutil.which("groovy"), shutil.which("java")


@pytest.mark.skipif(GROOVY is None or JAVA is None, reason="groovy is not installed")
def test_the_script_for_qupath_finds_the_frame_of_each_image(tmp_path: Path) -> None:
    """QuPath is not here: stand-ins have the methods of its classes that the script calls."""
    assert GROOVY is not None
    assert JAVA is not None
    home = {**os.environ, "JAVA_HOME": str(Path(JAVA).resolve().parents[1])}
    stand_ins = Path(__file__).parent / "qupath_stand_ins.groovy"
    script = Path(edgeapl.labelling.__file__).parent / "import_cells.groovy"
    done = subprocess.run(
        [GROOVY, str(stand_ins), str(tmp_path), str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=home,
    )
    assert done.returncode == 0, done.stdout + done.stderr
