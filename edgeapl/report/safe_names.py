"""Names from outside made safe: as file names and as cells of a table."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata

from edgeapl.wording.printable import printable

LONGEST_BYTES = 100
"""Longest kept part of a name: with prefix, hash and suffix it stays below the 255 of ext4."""

HASH_DIGITS = 10
"""Hex digits of SHA-256 that keep changed names apart: 40 bits, enough for any folder."""

KEPT_SIGNS = frozenset(" -_.+()")

RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
)
"""Names that mean devices on Windows, with any ending."""

OWN_ENDING = re.compile(rf"(\.partial|\.old|\.record[0-9]+|-[0-9a-f]{{{HASH_DIGITS}}})$")
"""Endings this module and the writer give; a text that has one could be taken for another's."""

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet take a text for a formula (OWASP, CSV injection)."""


def safe_name(text: str) -> str:
    """Give a file name for any text: the text itself when that is safe, else with a short hash.

    The result is stable, never empty, has no separators, control or direction characters, does
    not begin with a dot or dash, and is no longer than 112 bytes. Different texts get different
    names.
    """
    kept = "".join(char if _kept(char) else "_" for char in unicodedata.normalize("NFC", text))
    kept = kept.encode("utf-8")[:LONGEST_BYTES].decode("utf-8", "ignore").strip(" .-")
    device = kept.partition(".")[0].strip().lower() in RESERVED
    if kept == text and kept and not device and not OWN_ENDING.search(kept):
        return kept
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]
    stem = f"_{kept}" if device else kept
    return f"{stem}-{digest}" if stem else digest


def _kept(char: str) -> bool:
    return char in KEPT_SIGNS or (char.isalnum() and (char.isascii() or _can_name_files(char)))


def _can_name_files(char: str) -> bool:
    """Whether the system's settings let a file have this in its name; where they are ASCII, not."""
    try:
        os.fsencode(char)
    except UnicodeEncodeError:
        return False
    return True


def table_text(text: str) -> str:
    """Make a text safe for a CSV file that a spreadsheet opens: never a formula."""
    guarded = f"'{text}" if text.startswith(FORMULA_SIGNS) else text
    return printable(guarded)
