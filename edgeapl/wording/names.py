"""When two names from outside are the same, and how to show two that only look alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from edgeapl.wording.printable import printable

_BYTES = re.compile("[\udc80-\udcff]+")

_ALIKE = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеіјорсухѕԁһΑΒΕΖΗΙΚΜΝΟΡΤΥΧορ‐‑‒–—−’ʼ",  # noqa: RUF001
    "ABESIJKMHOPCTYXaeijopcyxsdhABEZHIKMNOPTYXop------''",
)
"""Letters of other scripts, dashes and apostrophes that most fonts draw like these."""


def canonical_name(name: str) -> str:
    """Return a name in the form used for comparison: Unicode NFC.

    An umlaut can be one character or a letter and a combining mark; systems and programs differ.
    Bytes of a file name that Python could not decode, because of the system's locale, are read as
    UTF-8 if they are valid UTF-8.
    """
    return unicodedata.normalize("NFC", _BYTES.sub(_decoded, name))


def escaped_line(text: str) -> str:
    """Make a text safe for one line of a terminal: control and direction marks become escapes."""
    return "".join(
        char if not unicodedata.category(char).startswith("C") or char == " " else _escape(char)
        for char in text
    )


def has_undecoded_bytes(text: str) -> bool:
    """Return whether a text holds bytes that are not UTF-8, as Python keeps them in file names."""
    return _BYTES.search(text) is not None


def disambiguated(names: Iterable[str]) -> dict[str, str]:
    r"""Map each name to how it is shown: as it is, or with ``\u0430`` where two look alike."""
    found = list(dict.fromkeys(names))
    looks: dict[str, list[str]] = {}
    for name in found:
        looks.setdefault(skeleton(name), []).append(name)
    return {name: name if len(looks[skeleton(name)]) == 1 else spelled_out(name) for name in found}


def spelled_out(name: str) -> str:
    r"""Return a name with every non-ASCII character written as ``\u00e4``."""
    return name.encode("ascii", "backslashreplace").decode("ascii")


def _decoded(match: re.Match[str]) -> str:
    return match.group().encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def skeleton(name: str) -> str:
    """Return roughly what a name looks like: invisible characters removed, letters made Latin."""
    plain = unicodedata.normalize("NFKC", _BYTES.sub(_decoded, name)).translate(_ALIKE)
    kept = "".join(char for char in plain if unicodedata.category(char) not in ("Cf", "Cc"))
    return " ".join(kept.split())


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first few names, made safe to show, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(printable(name) for name in names[:most]) + more
