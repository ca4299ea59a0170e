"""The page on GPUs names tests, records and commands that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.gpu import check

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")


def names_of_tests() -> set[str]:
    """Give the names of all tests of the project, and of the files that they are in."""
    found = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= {path.name, *(one.name for one in tree.body if isinstance(one, ast.FunctionDef))}
    return found


def test_every_test_that_is_named_exists() -> None:
    """An ellipsis stands for any part of a name."""
    names, missing = names_of_tests(), []
    for one in re.findall(r"`((?:test_|\.\.\.)[\w.]+)`", PAGE):
        pattern = re.compile(".*".join(re.escape(part) for part in one.split("...")))
        if not any(pattern.fullmatch(name) for name in names):
            missing.append(one)
    assert not missing


def test_every_record_of_the_check_is_listed_and_no_other() -> None:
    listed = re.findall(
        r"`((?:machine|memory|chain|time|station|onnxruntime|parity|sanitizer)\b[^` ]*)`", PAGE
    )
    names = {one for one in listed if one in check.CHECKS or re.fullmatch(r"\w+\.\w+", one)}
    assert names == set(check.CHECKS)


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m (tests\.[\w.]+)", PAGE))))
def test_every_program_that_is_named_exists(module: str) -> None:
    assert (ROOT / f"{module.replace('.', '/')}.py").exists()


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:edgeapl|engines|tests|calibration)/[\w/]+\.py)`", PAGE)))
)
def test_every_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists()
