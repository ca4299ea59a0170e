"""Docstrings and pages are plain English, names are those of the field, spelling is right."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = ("edgeapl", "export", "calibration", "engines")

INSTEAD = {
    r"\bcan not\b": "cannot",
    r"\bat a breath\b": "at the slightest change",
    r"\bwithout a word\b": "silently",
    r"\b(?:lets?|letting|let) go of\b": "release",
    r"\bleaves? away\b|\bleft away\b": "omit",
    r"\bnobody (?:tells|says|said)\b": "unknown, not stated",
    r"\bwho (?:asks|reads|draws) (?:the|a)\b": "name the component",
    r"\b(?:are|is) told apart\b": "distinguished",
    r"\bpart(?:s|ed)? (?:files|tensors|a network) into\b": "split",
    r"\bput in words\b|\bsaid in words\b": "described",
    r"\bits like\b": "its kind, or name it",
    r"\bhow it is called\b|\bhow it's called\b": "its name",
    r"^(?:Told|Gives?(?! up)) ": "Called with, Return or Returns",
    r"\bmade anew\b|\bbegun anew\b": "again",
    r"\ba name of its own\b": "a unique name",
}
"""Turns of phrase that an engineer would not use, and what to write instead."""

OLD_NAMES = frozenset(
    (
        "Apart",
        "Gathered",
        "GlassRunner",
        "Halves",
        "HowToExamine",
        "HowToGather",
        "HowToMeasure",
        "Looked",
        "MadeNetwork",
        "Moments",
        "Race",
        "SlideOnItsWay",
        "SlideThroughChain",
        "Spool",
        "Standing",
        "Versus",
        "caught_words",
        "evenly",
        "in_blocks",
        "in_turn",
        "looks",
        "made_opener",
        "most_of",
        "nothing_yet",
        "quick_in_onnxruntime",
        "rounded_everywhere",
        "run_race",
        "told_apart",
        "weighed_nodes",
    )
)
"""Names that the glossary has replaced."""


def modules(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.py")):
        if not any(part.is_symlink() for part in path.parents if part != folder.parent):
            yield path


def documented(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and text of every docstring and of every text below an assignment."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for child in body if isinstance(body, list) else ():
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                text = child.value.value
                if isinstance(text, str):
                    yield child.lineno, text


def foreign(text: str) -> Iterator[str]:
    """Yield what is wrong with a text."""
    for pattern, instead in INSTEAD.items():
        found = re.search(pattern, " ".join(text.split()))
        if found:
            yield f"{found[0]!r}: {instead}"


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_are_plain_english(package: str) -> None:
    """Functions return, objects are: no docstring begins with "Give"."""
    wrong = []
    for path in modules(ROOT / package):
        for line, text in documented(ast.parse(path.read_text(encoding="utf-8"))):
            place = f"{path.relative_to(ROOT)}:{line}"
            wrong += [f"{place}: {problem}" for problem in foreign(text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_names_are_those_of_the_glossary(package: str) -> None:
    wrong = []
    for path in modules(ROOT / package):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef):
                continue
            if node.name.lstrip("_") in OLD_NAMES:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}")
    assert not wrong, "\n".join(wrong)


def test_pages_are_plain_english() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    pages += [page for package in PACKAGES for page in (ROOT / package).rglob("*.j2")]
    wrong = [
        f"{page.relative_to(ROOT)}: {problem}"
        for page in pages
        for problem in foreign(page.read_text("utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


def test_words_are_spelled_rightly() -> None:
    pytest.importorskip("codespell_lib")
    command = [sys.executable, "-m", "codespell_lib", *PACKAGES, "tests", "docs", "examples"]
    done = subprocess.run(
        [*command, "README.md", "CONTRIBUTING.md", "CHANGELOG.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
