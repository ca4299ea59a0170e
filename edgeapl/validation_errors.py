"""What pydantic found wrong with a document, as one place and one sentence."""

from __future__ import annotations

from pydantic import ValidationError


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Return where the first problem is, keys joined by dots, and what it is.

    The place is empty if the problem concerns the whole document.
    """
    first = error.errors(include_url=False)[0]
    return ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
