"""Names from outside become file names and texts that can do no harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeapl.report.safe_names import safe_name, table_text

HOSTILE = [
    "",
    ".",
    "..",
    "../../etc/passwd",
    "a/b",
    "a\\b",
    "line\nbreak",
    "\x1b[31mred",
    "<img src=x onerror=alert(1)>",
    "=HYPERLINK(1)",
    "-rf",
    ".hidden",
    "con",
    "COM1.txt",
    "trailing. ",
    "null\x00",
    "broken\udcff",
    "right\u202eleft",
    "x" * 300,
    "中" * 300,
    "done.partial",
    "done.old",
]


@pytest.mark.parametrize("text", ["slide-12", "Patient 7 (left)", "Müller_3+4", "a.b.c", "中文"])
def test_a_harmless_name_is_kept_as_it_is(text: str) -> None:
    assert safe_name(text) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_becomes_a_plain_file_in_its_own_folder(tmp_path: Path, text: str) -> None:
    name = safe_name(text)
    path = tmp_path / f"cells-00000-{name}.geojson.partial"
    path.write_bytes(b"")
    assert path.resolve().parent == tmp_path.resolve()
    assert name != text
    assert name == safe_name(text)
    assert name[0] not in ".- "
    assert name.partition(".")[0].lower() not in ("con", "com1")


def test_a_name_that_looks_like_a_changed_one_does_not_take_its_place() -> None:
    changed = safe_name("a/b")
    assert safe_name(changed) != changed


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_different_texts_get_different_short_names(texts: list[str]) -> None:
    one, two = (safe_name(text) for text in texts)
    assert one != two
    assert 0 < len(one.encode("utf-8")) <= 112


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+49", "'+49"),
        ("-3", "'-3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\\t=1"),
        ("\r=1", "'\\r=1"),
        ("a=1", "a=1"),
        ("line\nbreak", "line\\nbreak"),
        ("\x1b[2J\u202e\udcff", "\\x1b[2J\\u202e\\xff"),
    ],
)
def test_a_table_never_holds_a_formula(text: str, cell: str) -> None:
    assert table_text(text) == cell
