"""Names from outside, made safe to show."""

from __future__ import annotations

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(name: object) -> str:
    r"""Return a name as one line of plain text for a terminal, JSON or a page.

    Bytes that are not UTF-8 become ``\xff``; control characters (newline, ESC), marks that change
    the writing direction and other invisible ones become ``\n``, ``\x1b``, ``\u202e``. Everything
    else stays, so a second call changes nothing. HTML must still be escaped.
    """
    return "".join(
        _escaped(char) if unicodedata.category(char) in _UNSAFE else char for char in str(name)
    )


def _escaped(char: str) -> str:
    # Python holds a file name's byte 0xNN that is not UTF-8 as the code point U+DCNN.
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
