"""TOML files that people write: read whatever their editor puts before them, and told by line."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Key = str | int
Place = tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """The first thing that is wrong with a file's settings.

    keys : names, and numbers from 0 within a list, that lead to the setting.
    what : is wrong. mend : what to do about it.
    """

    keys: Place
    what: str
    mend: str

    @property
    def name(self) -> str:
        """The setting as people write it; entries of lists are counted from 1."""
        made = ""
        for key in self.keys:
            made += f" {key + 1}" if isinstance(key, int) else f"{'.' if made else ''}{key}"
        return made


def read_toml(data: bytes) -> tuple[str, dict[str, Any]]:
    """Return text and values; a byte-order mark is skipped.

    Raises ValueError (of which TOMLDecodeError and UnicodeDecodeError are kinds).
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it is written in UTF-16: save it as UTF-8")
    text = data.decode("utf-8-sig")
    return text, tomllib.loads(text)


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which of the known names may have been meant, or all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, 1, 0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are: {', '.join(names)}" if names else "none is known here"


def first_mistake(error: ValidationError, model: type[BaseModel]) -> Mistake:
    """Return the mistake that explains most: a wrong name before what is missing for it."""
    every = error.errors()
    first = next((each for each in every if each["type"] == "extra_forbidden"), every[0])
    keys: Place = tuple(part for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden" and keys:
        mend = nearest(str(keys[-1]), settings_at(model, keys[:-1]))
        return Mistake(keys, "unknown setting", mend)
    if first["type"] == "missing":
        return Mistake(keys, "setting is missing", f"add {keys[-1]}")
    message = str(first["msg"]).removeprefix("Value error, ")
    return Mistake(keys, "setting is wrong", message)


def settings_at(model: type[BaseModel], keys: Sequence[Key]) -> tuple[str, ...]:
    """Return the names of all settings that may stand at a place."""
    kind: Any = model
    for key in keys:
        if _is_model(kind):
            field = kind.model_fields.get(str(key))
            kind = _core(field.annotation) if field is not None else None
        elif get_origin(kind) in (dict, Mapping):
            kind = _core(get_args(kind)[1])
        elif get_origin(kind) in (tuple, list):
            kind = _core(get_args(kind)[0])
    return tuple(kind.model_fields) if _is_model(kind) else ()


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _core(annotation: Any) -> Any:
    """Return what is behind Annotated and `... | None`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _core(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return _core(next(arg for arg in get_args(annotation) if arg is not type(None)))
    return annotation


def line_of(text: str, keys: Sequence[Key]) -> int:
    """Find the line that sets a key; 1 when it is written in a way that hides it.

    Parameters
    ----------
    keys : names, and numbers from 0 for entries of ``[[tables]]``.
    """
    table: list[Key] = []
    counts: Counter[tuple[Key, ...]] = Counter()
    best = 1
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*(\[\[?)([^\[\]]+)\]", line)
        if header:
            table = list(_names(header[2]))
            if header[1] == "[[":
                counts[tuple(table)] += 1
                table.append(counts[tuple(table)] - 1)
            if table[: len(keys)] == list(keys):
                return number
            if table == list(keys[: len(table)]):
                best = number
            continue
        setting = re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line)
        if setting:
            path = [*table, *_names(setting[1])]
            if path[: len(keys)] == list(keys):
                return number
            if path == list(keys[: len(path)]):
                best = number
    return best


def _names(text: str) -> list[str]:
    return [part.strip().strip("\"'") for part in text.split(".")]
