"""When two names from outside are the same, and how two that are not look different."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_BYTES = re.compile("[\udc80-\udcff]+")

_ALIKE = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеіјорсухѕԁһΑΒΕΖΗΙΚΜΝΟΡΤΥΧορ‐‑‒–—−’ʼ",  # noqa: RUF001
    "ABESIJKMHOPCTYXaeijopcyxsdhABEZHIKMNOPTYXop------''",
)
"""Letters of other scripts, dashes and apostrophes that most fonts draw like these."""


def canonical_name(name: str) -> str:
    """Give the form in which names are compared: Unicode NFC.

    An umlaut can be written as one character or as a letter and a mark; systems and programs
    differ in which. Bytes of a file name that Python could not decode, because of the system's
    settings, are read as UTF-8 where they are UTF-8.
    """
    return unicodedata.normalize("NFC", _BYTES.sub(_decoded, name))


def in_one_line(text: str) -> str:
    """Make a text safe for one line of a terminal: control and direction marks become escapes."""
    return "".join(
        char if not unicodedata.category(char).startswith("C") or char == " " else _escape(char)
        for char in text
    )


def undecoded(text: str) -> bool:
    """Whether a text has bytes that are not UTF-8, as Python holds them in file names."""
    return _BYTES.search(text) is not None


def told_apart(names: Iterable[str]) -> dict[str, str]:
    r"""Give name to what is shown for it: the name, or one with ``\u0430`` where two look alike."""
    found = list(dict.fromkeys(names))
    looks: dict[str, list[str]] = {}
    for name in found:
        looks.setdefault(look(name), []).append(name)
    return {name: name if len(looks[look(name)]) == 1 else spelled_out(name) for name in found}


def spelled_out(name: str) -> str:
    r"""Give a name with every character beyond ASCII as ``\u00e4``."""
    return name.encode("ascii", "backslashreplace").decode("ascii")


def _decoded(match: re.Match[str]) -> str:
    return match.group().encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def look(name: str) -> str:
    """Give what a name looks like, roughly: without what is invisible, in Latin letters."""
    plain = unicodedata.normalize("NFKC", _BYTES.sub(_decoded, name)).translate(_ALIKE)
    kept = "".join(char for char in plain if unicodedata.category(char) not in ("Cf", "Cc"))
    return " ".join(kept.split())


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
