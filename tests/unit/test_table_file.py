"""Lists are read as spreadsheets write them; what cannot be told is refused, in one line."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest

from edgeapl.calibration.held_out import read_exclusions
from edgeapl.cli.main import run
from edgeapl.errors import ConfigError, EdgeAplError, InputError, UsageError
from edgeapl.evaluation.confusion import read_confusion
from edgeapl.evaluation.evaluator import EvaluationOptions, evaluate_slides
from edgeapl.evaluation.labels import label_of_file, read_cell_labels, read_slide_labels
from edgeapl.evaluation.results import SlideResult
from edgeapl.pixel_size import SlideScale
from edgeapl.sources.address import open_source
from edgeapl.sources.discover import find_slides
from edgeapl.sources.slide_list import SlideInput, read_slide_list
from edgeapl.wording.names import canonical_name, disambiguated

CASE = Path("../shared/cases/lists/german.csv")
ROWS = (("Müller 1", "a.png", "0,1"), ("Müller 1", "b.png", "0,1"), ("Ärztin", "sub/c.png", "0,2"))
NFD = unicodedata.normalize("NFD", "Müller")


def written(*lines: str, end: str = "\r\n") -> str:
    return end.join([*lines, ""])


def table(sign: str, *, point: str = ",", quote: str = "") -> str:
    rows = [[quote + cell.replace(",", point) + quote for cell in row] for row in ROWS]
    return written(*(sign.join(row) for row in [["slide", "file", "um_per_px"], *rows]))


SAME = {
    "commas": table(",", point=".").encode(),
    "quoted decimal commas": table(",", quote='"').encode(),
    "semicolons": table(";").encode(),
    "tabs": table("\t").encode(),
    "mark": b"\xef\xbb\xbf" + table(";").encode(),
    "UTF-16, little end first": table("\t").encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + table(";").encode("utf-16-be"),
    "sep=": ("sep=;\r\n" + table(";")).encode(),
    "sep= with mark": b"\xef\xbb\xbf" + ("SEP=\t\r\n" + table("\t")).encode(),
    "capitals": table(";").replace("slide;file;um_per_px", "Slide; FILE ;Um_Per_Px").encode(),
    "micro sign": table(";").replace("um_per_px", "µm/px").encode(),
    "empty columns at the end": table(";").replace("\r\n", ";;\r\n").encode(),
    "empty rows at the end": (table(";") + ";;\r\n;;\r\n\r\n").encode(),
    "empty rows before": ("\r\n;;\r\n" + table(";")).encode(),
    "old line ends": table(";").replace("\r\n", "\r").encode(),
    "decomposed": unicodedata.normalize("NFD", table(";")).encode(),
    "backslashes": table(";").replace("sub/c.png", "sub\\c.png").encode(),
    "usual names": table(";").replace("slide;file", "smear;filename").encode(),
}


def read(folder: Path, data: bytes) -> tuple[SlideInput, ...]:
    (folder / "sub").mkdir(exist_ok=True)
    for name in ("a.png", "b.png", "sub/c.png"):
        (folder / name).touch()
    (folder / "list.csv").write_bytes(data)
    return read_slide_list(folder / "list.csv", folder)


@pytest.mark.parametrize("data", SAME.values(), ids=SAME)
def test_a_slide_list_says_the_same_however_it_is_written(data: bytes, tmp_path: Path) -> None:
    assert read(tmp_path, data) == (
        SlideInput("Müller 1", (tmp_path / "a.png", tmp_path / "b.png"), 0.1),
        SlideInput("Ärztin", (tmp_path / "sub" / "c.png",), 0.2),
    )


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("slide;file\nMüller;a.png\n".encode("cp1252"), "line 2: encoding cannot be told"),
        ("slide;file;Präparat\nS;a.png;1\n".encode("cp1252"), "line 1: encoding cannot be told"),
        ("slide;file\nS;ä.png\n".encode("cp1252"), "line 2: encoding cannot be told"),
        ("slide;file\nS;a.png\n".encode("utf-16-le"), "encoding cannot be told .UTF-16"),
        ("slide;file\nS;a.png\n".encode("utf-16")[:-1], "cut off or damaged"),
        (b"PK\x03\x04 and so on", "workbook, not a CSV"),
        (b"slide|file\nS|a.png\n", "no column 'slide' .cells are separated by commas"),
        (b"x,slide,file,y;slide;file;z\n", "line 1: cells may be separated by commas or semi"),
        (b'slide,file\nS,a.png\nT,"b.png\n', "line 3: a quote is never closed"),
        (b'slide,file\n"S\n1",a.png\n,b.png\n', "line 4: no slide"),
        (b"slide,file\nS,no\\such.png\n", "line 2: .*a path of Windows"),
        (b"slide,file\nS,C:\\images\\a.png\n", "line 2: .*a path of Windows"),
        (b"slide,file\nS,..\\a.png\n", "line 2"),
        (b"slide,file,um_per_pixel\nS,a.png,0.1\n", "may be the scale.*name it um_per_px"),
        (b"slide,file,\nS,a.png\nT,b.png,stain\n", "columns instead of|no name"),
        (b"slide,file,patient\nS,a.png,P\nS,b.png,Q\n", "line 3: another patient"),
        (b"slide;file;um_per_px\nS;a.png;1.000,5\n", "line 2: um_per_px '1.000,5' is no number"),
    ],
)
def test_what_can_not_be_told_is_refused_in_one_line(
    data: bytes, what: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        read(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_patients_and_further_columns_are_kept(tmp_path: Path) -> None:
    text = "slide;file;Patient;Färbung;Feld;\r\nS;a.png;P1;MGG;1\r\nS;b.png;P1;MGG\r\n"
    (slide,) = read(tmp_path, text.encode())
    assert slide.patient == "P1"
    assert [(column.name, column.values) for column in slide.listed] == [
        ("Färbung", ("MGG", "MGG")),
        ("Feld", ("1", "")),
    ]


def test_the_case_is_read(tmp_path: Path) -> None:
    if not CASE.is_file():
        pytest.skip(f"{CASE} is not there")
    slides = read(tmp_path, CASE.read_bytes())
    assert [(slide.name, slide.um_per_px) for slide in slides] == [("S1", 0.1), ("S2", 0.1)]


@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_labels_matrices_and_exclusions_are_read_alike(
    sign: str, encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"

    def write(*rows: tuple[str, ...]) -> Path:
        path.write_bytes(written(*(sign.join(row) for row in rows)).encode(encoding))
        return path

    labels = read_slide_labels(write(("Slide", "Label"), (NFD, "APL"), ("", "")))
    assert labels["Müller"].label == "APL"
    cells = read_cell_labels(write(("File", "Class"), ("sub\\ä.png", "Blast")))
    assert label_of_file(cells, unicodedata.normalize("NFD", "/data/sub/ä.png")) == "Blast"
    counts = read_confusion(write(("", "APL", "AML", ""), ("APL", "3", "1"), ("AML", "0", "2")))
    assert counts.counts.tolist() == [[3, 1], [0, 2]]
    assert read_exclusions(write(("Slide",), ("MÜLLER",)), tmp_path).names(NFD)


@pytest.mark.parametrize(
    ("reader", "error"),
    [
        (read_slide_labels, InputError),
        (read_cell_labels, InputError),
        (read_confusion, InputError),
        (lambda path: read_exclusions(path, path.parent), ConfigError),
    ],
)
def test_no_list_is_guessed_at(reader: object, error: type[EdgeAplError], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("slide,file,label\nMüller,ä.png,APL\n".encode("cp1252"))
    with pytest.raises(error, match=r"encoding cannot be told.*CSV UTF-8"):
        reader(path)  # type: ignore[operator]


def test_several_slides_of_a_patient_are_one_patient(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    results = [
        SlideResult(f"{NFD} 1", "FLAG", 0.9, NFD),
        SlideResult("Müller 2", "CLEAR", 0.1, "Müller"),
        SlideResult("Z", "CLEAR", 0.2, ""),
    ]
    for text in (
        "patient,label\nMüller,APL\nZ,AML\n",
        "slide,label\nMüller 1,APL\nMüller 2,APL\nZ,AML\n",
        "slide,patient,label\nMüller 1,Müller,APL\nMüller 2,Müller,APL\nZ,,AML\n",
    ):
        path.write_text(text, encoding="utf-8")
        document = evaluate_slides(results, read_slide_labels(path), EvaluationOptions()).document
        assert document["slides"]["n"] == 3, text
        assert document["patients"]["labels"] == {"AML": 1, "APL": 1}, text
        assert document["unlabelled"] == document["labels_without_result"] == [], text
    path.write_text("slide,patient,label\nMüller 1,Q,APL\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"two patients.*Müller in the slide list, Q here"):
        evaluate_slides(results, read_slide_labels(path), EvaluationOptions())


@pytest.mark.parametrize("other", ["apl", "АPL", "A\u200bPL"])  # noqa: RUF001
def test_one_label_written_in_two_ways_is_refused(other: str, tmp_path: Path) -> None:
    """A patient whose label differs by a capital would count as one without APL."""
    path = tmp_path / "l.csv"
    path.write_text(f"slide,label\nA,APL\nB,{other}\nC,AML\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"two labels are one word.*line 3"):
        read_slide_labels(path)


def test_a_listed_file_is_found_in_its_other_form(tmp_path: Path) -> None:
    (tmp_path / f"{NFD}.png").touch()
    for name in ("Müller.png", f"{NFD}.png", " Müller.png "):
        (slide,) = read(tmp_path, f"slide,file\nS,{name}\n".encode())
        assert os.fspath(slide.files[0]) == str(tmp_path / f"{NFD}.png"), name


def test_two_folders_of_one_name_are_refused_and_told_apart(tmp_path: Path) -> None:
    for name in (NFD, "Müller"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    with pytest.raises(InputError) as caught:
        find_slides(tmp_path)
    assert "Mu\\u0308ller" in str(caught.value)
    assert "M\\xfcller" in str(caught.value)


def test_names_that_look_alike_are_spelled_out() -> None:
    latin, cyrillic = "APC 1", "АРС 1"  # noqa: RUF001
    shown = disambiguated([latin, cyrillic, "Müller", "Пётр"])
    assert shown == {
        latin: latin,
        cyrillic: "\\u0410\\u0420\\u0421 1",
        "Müller": "Müller",
        "Пётр": "Пётр",
    }
    assert len(set(disambiguated(["a b", "a\u00a0b", "a\u2007b", "a\u3164b"]).values())) == 4
    assert canonical_name(os.fsdecode(b"M\xc3\xbcller")) == canonical_name("Mu\u0308ller")
    assert canonical_name("M\udcc3\udcbcller") == "Müller"


@pytest.mark.parametrize("name", ["slides.zip", "slides.tar.gz", "packed"])
def test_an_archive_is_to_be_unpacked(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(UsageError, match="unpack it"):
        find_slides(tmp_path / name)
    with pytest.raises(ConfigError, match="unpack it"):
        open_source(str(tmp_path / name), scale_for=SlideScale(0.1, 0.1))


def test_names_left_over_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = [
        {"slide": name, "verdict": "FLAG", "probability": 0.9, "schema": 1}
        for name in ("Smith", "A")
    ]
    lines = "".join(json.dumps(one) + "\n" for one in results)
    (tmp_path / "verdicts.jsonl").write_text(lines)
    labels = tmp_path / "l.csv"
    labels.write_text("slide,label\nSm\u0456th,APL\nA,APL\n", encoding="utf-8")
    assert run(["evaluate", str(tmp_path), "--labels", str(labels)]) == 0
    out = capsys.readouterr().out
    assert "slides without a label: Smith" in out
    assert "labels without a slide: Sm\\u0456th" in out
