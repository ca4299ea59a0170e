"""Draws the house: the packages of `edgeapl` and who imports whom, for docs/architecture.md.

`python -m tests.docs.house` writes the picture into the page; a test compares the two.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import grimp

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "```mermaid\n", "```\n"

FOUNDATIONS = 4
"""The lowest layers, which everything may import; not drawn."""


def layers() -> tuple[tuple[str, ...], ...]:
    """Give the packages of each layer, highest first, from the import contract."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    return tuple(tuple(re.split(r"\s*\|\s*", layer)) for layer in contract["layers"])


def imports() -> dict[str, set[str]]:
    """Give for each package those that it imports, as the source files say.

    The root is left out: it imports the public names only when they are asked for, and everybody
    may ask it for the version.
    """
    graph = grimp.build_graph("edgeapl", cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        importer = _room(module)
        for imported in graph.find_modules_directly_imported_by(module):
            if (room := _room(imported)) != importer and "edgeapl" not in (room, importer):
                found.setdefault(importer, set()).add(room)
    return found


def reduced(found: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out the arrows that follow from others: one to below what another already leads to."""

    def below(room: str) -> set[str]:
        reached: set[str] = set()
        ahead = [*found.get(room, ())]
        while ahead:
            one = ahead.pop()
            if one not in reached:
                reached.add(one)
                ahead += found.get(one, ())
        return reached

    return {
        room: {one for one in ones if not any(one in below(other) for other in ones - {one})}
        for room, ones in found.items()
    }


def picture() -> str:
    """Give the picture as a Mermaid flowchart."""
    rows = layers()
    drawn = rows[:-FOUNDATIONS]
    known = {room for row in drawn for room in row}
    lines = ["flowchart TD"]
    for number, row in enumerate(drawn):
        lines += [f'  subgraph layer{number}[" "]', "    direction LR"]
        lines += [f"    {room}" for room in row] + ["  end"]
    for room, ones in sorted(reduced(imports()).items()):
        if room in known:
            lines += [f"  {room} --> {one}" for one in sorted(ones & known)]
    return "\n".join(lines) + "\n"


def _room(module: str) -> str:
    return ".".join(module.split(".")[1:2]) or "edgeapl"


def parts(page: str) -> tuple[str, str, str]:
    """Give what stands before the picture of a page, the picture, and what comes after it."""
    before, rest = page.split(BEGIN, 1)
    drawn, after = rest.split(END, 1)
    return before + BEGIN, drawn, END + after


def main() -> None:
    """Put the picture into the page."""
    before, _, after = parts(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(before + picture() + after, encoding="utf-8")


if __name__ == "__main__":
    main()
