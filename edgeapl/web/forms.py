"""Reads the forms of the page."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from fastapi import Request

from edgeapl.errors import UsageError


async def form_of(request: Request) -> dict[str, str]:
    """Read a form; the middleware has limited its length. Raises UsageError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind != "application/x-www-form-urlencoded":
            raise ValueError(kind)
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=8)
    except ValueError as error:
        raise UsageError("form is not understood", "", "load the page again") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise UsageError("form has a field twice", "", "load the page again")
    return form


def field_of(form: Mapping[str, str], name: str, longest: int) -> str:
    """Return a field of a form, stripped of spaces. Raises UsageError."""
    value = form.get(name, "").strip()
    if not value:
        raise UsageError(f"{name} is empty", "", "type it in")
    if len(value) > longest:
        raise UsageError(f"{name} is too long", f"{len(value)}", f"use up to {longest} characters")
    return value
