"""Makes names from outside safe as file names and as cells of a table."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata

from edgeapl.wording.printable import printable

LONGEST_BYTES = 100
"""Longest kept part of a name; with prefix, hash and suffix it stays below ext4's 255."""

HASH_DIGITS = 10
"""Hex digits of SHA-256 that distinguish changed names: 40 bits, enough for any folder."""

KEPT_SIGNS = frozenset(" -_.+()")

RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
)
"""Names of devices on Windows, with any ending."""

OWN_ENDING = re.compile(rf"(\.partial|\.old|\.record[0-9]+|-[0-9a-f]{{{HASH_DIGITS}}})$")
"""Endings that this module and the writer add; a text with one could collide with another."""

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet read a text as a formula (OWASP, CSV injection)."""


def safe_name(text: str) -> str:
    """Return a file name for any text: the text itself if it is safe, otherwise with a hash.

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
    """Whether file names may contain this character with the system's encoding."""
    try:
        os.fsencode(char)
    except UnicodeEncodeError:
        return False
    return True


def table_text(text: str) -> str:
    """Make a text safe for a CSV file that a spreadsheet opens: never a formula."""
    guarded = f"'{text}" if text.startswith(FORMULA_SIGNS) else text
    return printable(guarded)
