"""Public cohorts: the list fits a terminal, and folders are read as people download them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeapl.cli.main import run
from edgeapl.errors import InputError
from edgeapl.evaluation.labels import read_cell_labels, read_slide_labels
from edgeapl.export.cohorts.listing import COHORTS, READERS, read_public
from edgeapl.export.cohorts.lists import write_lists
from edgeapl.sources.discover import find_slides

Make = Callable[[Path], None]


def files(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8\xff")


MASTER = "Patient_ID,Diagnosis,Cohort,Age at Diagnosis,Gender\n"
ALL = "Data/All"


def deepapl(root: Path) -> None:
    files(
        root,
        f"{ALL}/Patient_00/Signed slides/Promyelocyte/a.jpg",
        f"{ALL}/Patient_00/Signed slides/Blast, no lineage spec/b.jpg",
        f"{ALL}/Patient_00/Unsigned slides/Monocyte/c.jpg",
        f"{ALL}/Patient_01/Signed slides/Lymphocyte/d.jpg",
        f"{ALL}/Patient_01/Signed slides/.DS_Store",
    )
    rows = "Patient_00,APL,Discovery,29,Female\nPatient_01,AML,Validation,30,Male\n"
    (root / "Data/master.csv").write_text(MASTER + rows + "Patient_02,AML,Discovery,31,Male\n")


def pbc(root: Path) -> None:
    """Eight folders as published; what is closer stands before the name."""
    files(root, "ig/PMY_1.jpg", "ig/MY_2.jpg", "ig/IG_3.jpg", "basophil/BA_4.jpg")
    files(root, "neutrophil/SNE_5.jpg", "platelet/PLATELET_6.jpg", "promyelocyte/PMY_7.jpg")


def lmu_folders(root: Path) -> None:
    files(root, "AML-Cytomorphology/PMO/PMO_0001.tiff", "AML-Cytomorphology/MYO/MYO_0001.tiff")


def lmu(root: Path) -> None:
    lmu_folders(root)
    text = "PMO/PMO_0001.tiff PMO PMO MYO\nMYO/MYO_0001.tiff MYO nan nan\n"
    (root / "annotations.dat").write_text(text)


def mll(root: Path) -> None:
    files(root, "data/PML_RARA/AAA/image_0.tif", "data/PML_RARA/AAA/image_1.tif")
    files(root, "data/NPM1/BBB/image_0.tif", "data/control/CCC/image_0.tif")


BOXES = "id,wsi,cellType,specialCharacteristics,objectType,bbox\n"


def marrow(root: Path) -> None:
    files(root, "wsi/1.jpg", "wsi/2.jpg", "wsi/3.jpg")
    (root / "small_data.csv").write_text(
        BOXES + "7,1,{'Promyelocyte'},\"{'Auer rods', 'Faggot cell'}\",{'Cell'},"
        "\"[10, 20, 30, 50]\"\n8,1,,,,\"[1, 2, 3, 4]\"\n9,2,{'Myeloblast'},{'None'},{'Cell'},"
        '"[5, 6, 7, 8]"\n'
    )
    (root / "labels.csv").write_text("wsi_id,diagnosis\n1,APL\n2,healthy\n")


@pytest.mark.parametrize(
    ("name", "make", "diagnoses", "kinds"),
    [
        (
            "deepapl",
            deepapl,
            {"APL": 1, "AML": 1},
            {"promyelocyte": 1, "blast_no_lineage_spec": 1, "lymphocyte": 1},
        ),
        (
            "pbc",
            pbc,
            {},
            {
                "promyelocyte": 2,
                "myelocyte": 1,
                "immature_granulocyte_unspecified": 1,
                "basophil": 1,
                "neutrophil_segmented": 1,
                "platelet": 1,
            },
        ),
        ("lmu", lmu, {}, {"promyelocyte": 1, "myeloblast": 1}),
        ("lmu", lmu_folders, {}, {"promyelocyte": 1, "myeloblast": 1}),
        ("mll-helmholtz", mll, {"APL": 1, "AML": 1, "healthy": 1}, {"": 4}),
        (
            "bone-marrow",
            marrow,
            {"APL": 1, "healthy": 1},
            {"promyelocyte": 1, "auer_rods": 1, "faggot_cell": 1, "": 1, "myeloblast": 1},
        ),
    ],
)
def test_every_layout_is_read(
    name: str, make: Make, diagnoses: dict[str, int], kinds: dict[str, int], tmp_path: Path
) -> None:
    make(tmp_path)
    cohort = read_public(name, tmp_path)
    assert dict(cohort.diagnoses) == diagnoses
    assert dict(cohort.kinds) == kinds


def test_what_a_patient_is_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    deepapl(tmp_path)
    cohort = read_public("deepapl", tmp_path)
    first, second = cohort.patients
    assert (first.name, first.part, second.part) == ("Patient_00", "Discovery", "Validation")
    assert cohort.left_out == {
        "cells that no person had signed": 1,
        "patients of master.csv without a folder": 1,
    }
    mll(tmp_path / "mll")
    subtypes = [
        patient.subtype for patient in read_public("mll-helmholtz", tmp_path / "mll").patients
    ]
    assert subtypes == ["PML_RARA", "NPM1", "control"]
    marrow(tmp_path / "marrow")
    fields = read_public("bone-marrow", tmp_path / "marrow")
    assert fields.patients[0].cells[0].box == (20, 10, 50, 30), "stored as top, left, bottom, right"
    assert fields.left_out == {"fields that no table names": 1}


def _then(make: Make, change: Make) -> Make:
    def made(root: Path) -> None:
        make(root)
        change(root)

    return made


def _master(text: str) -> Make:
    return _written(deepapl, "Data/master.csv", MASTER + text)


def _also(make: Make, *names: str) -> Make:
    return _then(make, lambda root: files(root, *names))


def _empty(make: Make, name: str) -> Make:
    return _then(make, lambda root: (root / name).mkdir(parents=True))


def _without(make: Make, name: str) -> Make:
    return _then(make, lambda root: (root / name).unlink())


def _written(make: Make, name: str, text: str) -> Make:
    def made(root: Path) -> None:
        make(root)
        (root / name).write_text(text)

    return made


TWICE = "Patient_00,APL,Discovery,1,F\nPatient_00,AML,Discovery,1,F\nPatient_01,AML,Discovery,1,F\n"


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("deepapl", _without(deepapl, "Data/master.csv"), "master.csv is missing"),
        ("deepapl", _master(TWICE), "Patient_00: APL and AML"),
        ("deepapl", _master("Patient_00,APL,D,1,F\n"), "in no row of master.csv"),
        ("deepapl", _master("Patient_00,CML,D,1,F\n"), "diagnosis 'CML' is not known"),
        ("deepapl", _written(deepapl, "Data/master.csv", "Patient,What\n"), "no column Patient_ID"),
        ("deepapl", _also(deepapl, f"{ALL}/Patient_01/Signed slides/Neuron/x.jpg"), "'neuron'"),
        ("deepapl", _empty(deepapl, f"{ALL}/Patient_01/Signed slides/Monocyte"), "has no image"),
        ("deepapl", _empty(deepapl, f"{ALL}/Patient_02"), "patient has no cell"),
        ("pbc", _also(pbc, "basophil/EO_9.jpg"), "folder of another class"),
        ("pbc", _also(pbc, "basophil/XX_9.jpg"), "class 'XX' is not known"),
        ("pbc", _also(pbc, "blast/BA_9.jpg"), "class 'blast' is not known"),
        ("pbc", _empty(pbc, "monocyte"), "has no image"),
        ("pbc", lambda root: None, "no class's folder"),
        ("lmu", _also(lmu_folders, "AML-Cytomorphology/ABC/ABC_1.tiff"), "class 'ABC'"),
        ("lmu", _written(lmu, "annotations.dat", "PMO/PMO_9.tiff PMO\n"), "image is missing"),
        ("lmu", _written(lmu, "annotations.dat", "../x.tiff PMO\n"), "image is missing"),
        ("lmu", _written(lmu, "annotations.dat", "PMO/PMO_0001.tiff\n"), "line 1"),
        ("lmu", _written(lmu, "annotations.dat", "PMO/PMO_0001.tiff ZZZ\n"), "class 'ZZZ'"),
        ("lmu", _written(lmu, "annotations.dat", 2 * "PMO/PMO_0001.tiff PMO\n"), "twice"),
        ("lmu", _written(lmu, "annotations.dat", "\n"), "no labelled cell"),
        ("mll-helmholtz", _also(mll, "data/CML/DDD/image_0.tif"), "diagnosis 'CML'"),
        ("mll-helmholtz", _also(mll, "data/NPM1/AAA/image_0.tif"), "AAA: NPM1 and PML_RARA"),
        ("mll-helmholtz", _empty(mll, "data/NPM1/EEE"), "has no image"),
        ("mll-helmholtz", _empty(mll, "data/CBFB_MYH11"), "diagnosis has no patient"),
        ("bone-marrow", _without(marrow, "small_data.csv"), "table of boxes is missing"),
        ("bone-marrow", _without(marrow, "wsi/2.jpg"), "image '2' is missing"),
        ("bone-marrow", _written(marrow, "more.csv", "wsi,diagnosis\n1,AML\n"), "APL and AML"),
        (
            "bone-marrow",
            _written(marrow, "small_data.csv", BOXES + "7,1,{'Neuron'},,,\"[1, 2, 3, 4]\"\n"),
            "class 'neuron' is not known",
        ),
        (
            "bone-marrow",
            _written(marrow, "small_data.csv", BOXES + '7,1,,,,"[9, 2, 3, 4]"\n'),
            "is no box",
        ),
        ("pbc", lambda root: root.rmdir(), "folder cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    name: str, make: Make, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "cohort"
    home.mkdir()
    make(home)
    assert run(["cohorts", name, str(home)]) == 3
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    with pytest.raises(InputError):
        read_public(name, home)


def test_the_lists_are_what_other_commands_take(tmp_path: Path) -> None:
    deepapl(tmp_path / "cohort")
    cohort = read_public("deepapl", tmp_path / "cohort")
    slides, labels, cells = write_lists(cohort, tmp_path / "lists")
    found = find_slides(slides.parent).slides
    assert [(slide.name, slide.patient, slide.um_per_px) for slide in found] == [
        ("Patient_00", "Patient_00", 0.1),
        ("Patient_01", "Patient_01", 0.1),
    ]
    assert all(file.is_file() for slide in found for file in slide.files)
    assert {name: known.label for name, known in read_slide_labels(labels).items()} == {
        "Patient_00": "APL",
        "Patient_01": "AML",
    }
    assert sorted(read_cell_labels(cells).values()) == [
        "blast_no_lineage_spec",
        "lymphocyte",
        "promyelocyte",
    ]


def test_lists_are_never_written_over_and_boxes_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marrow(tmp_path / "cohort")
    command = ["cohorts", "bone-marrow", str(tmp_path / "cohort"), "--out", str(tmp_path / "lists")]
    assert run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["diagnoses"] == {"APL": 1, "healthy": 1}
    with (tmp_path / "lists/cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["left"], row["bottom"], row["label"]) for row in rows] == [
        ("20", "30", "promyelocyte auer_rods faggot_cell"),
        ("6", "7", "myeloblast"),
    ]
    before = (tmp_path / "lists/labels.csv").read_bytes()
    assert run(command) == 5
    assert (tmp_path / "lists/labels.csv").read_bytes() == before


def test_the_list_of_cohorts_fits_eighty_columns_and_says_everything_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["cohorts"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert all(cohort.name in said and cohort.where in said for cohort in COHORTS)
    assert "Research use only" in said
    assert run(["cohorts", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    for cohort in listed["cohorts"]:
        assert all(cohort[key] for key in ("where", "licence", "size", "patients", "teaches"))
        assert cohort["not_for"], "every cohort says what it must not be used for"
        assert bool(cohort["layout"]) == (cohort["name"] in READERS)
    assert listed["research_use_only"] is True


@pytest.mark.parametrize("words", [["unknown-set", "."], ["pbc"]])
def test_a_name_without_reader_or_folder_is_a_mistake_of_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["cohorts", *words]) == 2
    assert (
        "edgeapl cohorts pbc FOLDER" in (said := capsys.readouterr().err) or "readers for" in said
    )
