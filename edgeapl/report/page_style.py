"""The style sheet of one report: what all reports share, its printed header, its cell groups."""

from __future__ import annotations

from importlib.resources import files

from edgeapl.wording.printable import printable

LONGEST_IN_HEADER = 60
"""Characters of an identifier on each printed sheet; the first one has all of it."""


def page_style(slide: str, groups: int) -> str:
    """Return the style sheet.

    Parameters
    ----------
    slide : identifier, for the header of each printed sheet. groups : of cells, by class.
    """
    shared = (files("edgeapl.report") / "templates" / "slide.css").read_text(encoding="utf-8")
    name = printable(slide)
    if len(name) > LONGEST_IN_HEADER:
        name = name[: LONGEST_IN_HEADER - 1] + "\N{HORIZONTAL ELLIPSIS}"
    header = f'@page {{ @top-left {{ content: "Slide {css_text(name)}"; }} }}\n'
    orders = "".join(
        f"main:has(#by-class:checked) .cells .group-{n} {{ order: {n}; }}\n" for n in range(groups)
    )
    return shared + header + orders


def css_text(text: str) -> str:
    """Escape a text for a quoted string of CSS: nothing in it can end the string."""
    return "".join(
        char if char.isascii() and (char.isalnum() or char == " ") else f"\\{ord(char):x} "
        for char in text
    )
