"""The architecture page shows the house as it is."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.house import PAGE, ROOT, layers, parts, picture


def test_the_picture_shows_the_imports_that_are_there() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert parts(page)[1] == picture(), "run python -m tests.docs.house"


def test_every_package_has_a_line_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rooms = {room for row in layers() for room in row}
    missing = {room for room in rooms if f"| `{room}` |" not in page}
    assert not missing


def test_every_file_that_the_page_names_is_there() -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"`((?:edgeapl|tests|docs|engines|export|calibration)/[\w/.*-]+)`", page)
    assert named
    missing = [name for name in named if not any(ROOT.glob(name.rstrip("/")))]
    assert not missing


def test_every_function_of_the_way_of_a_frame_is_where_the_page_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    steps = re.findall(r"^\d+\. `(edgeapl/[\w/]+\.py)`: `(\w+)(?:\.(\w+))?`", page, re.MULTILINE)
    assert len(steps) >= 8
    for file, name, method in steps:
        text = Path(ROOT, file).read_text(encoding="utf-8")
        assert re.search(rf"^(class|def) {name}\b", text, re.MULTILINE), (file, name)
        assert not method or re.search(rf"^    def {method}\b", text, re.MULTILINE), (file, method)
