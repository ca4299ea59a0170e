"""Matches names in a file with those of a module despite prefixes, wrappers, old spellings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

WRAPPERS = frozenset({"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""What torch.compile, DataParallel, weight averages and other wrappers insert before the names of
the part that they wrap.
"""


@dataclass(frozen=True, slots=True)
class Name:
    """A dotted name.

    parts : for comparison: without wrappers, weight norm in today's spelling.
    cuts : for each of `parts`, the length of the literal name before it.
    """

    literal: str
    parts: tuple[str, ...]
    cuts: tuple[int, ...]

    @property
    def plain(self) -> str:
        """The name for comparison."""
        return ".".join(self.parts)

    def under(self, prefix: str) -> str | None:
        """Return the part after a literal prefix, for comparison; None if it does not fit."""
        if not self.literal.startswith(prefix) or self.cuts[-1] < len(prefix):
            return None
        return ".".join(
            part for part, cut in zip(self.parts, self.cuts, strict=True) if cut >= len(prefix)
        )


def read_names(literals: Iterable[str], wrappers: Collection[str] = WRAPPERS) -> dict[str, Name]:
    """Parse the names of one file, or of one module, together."""
    given = list(literals)
    known = set(given)
    return {literal: _read(literal, known, wrappers) for literal in given}


def distinct(names: Mapping[str, Name]) -> bool:
    """Return whether no two names compare equal."""
    return len({name.plain for name in names.values()}) == len(names)


def _read(literal: str, known: Collection[str], wrappers: Collection[str]) -> Name:
    parts: list[str] = []
    cuts: list[int] = []
    at = 0
    words = literal.split(".")
    for number, word in enumerate(words):
        if word not in wrappers or number == len(words) - 1:
            parts.append(word)
            cuts.append(at)
        at += len(word) + 1
    weight = _normed(literal, known)
    if weight is not None:
        parts[-1:] = ["parametrizations", weight[0], weight[1]]
        cuts += [cuts[-1], cuts[-1]]
    return Name(literal, tuple(parts), tuple(cuts))


def _normed(literal: str, known: Collection[str]) -> tuple[str, str] | None:
    """Recognise the halves of an old weight norm: ``weight_g`` and ``weight_v``, no ``weight``."""
    base, half = literal[:-2], literal[-2:]
    if half not in ("_g", "_v") or not {base + "_g", base + "_v"} <= set(known) or base in known:
        return None
    return base.rpartition(".")[2], "original0" if half == "_g" else "original1"


def prefixes(file: Mapping[str, Name], module: Mapping[str, Name]) -> list[str]:
    """Return every prefix under which the file has names of the module, the likeliest first."""
    wanted = {name.plain for name in module.values()}
    found: Counter[str] = Counter()
    for name in file.values():
        for start, cut in enumerate(name.cuts):
            if ".".join(name.parts[start:]) in wanted:
                found[name.literal[:cut]] += 1
    return sorted(found, key=lambda prefix: (-found[prefix], len(prefix), prefix))


def pair(
    prefix: str, file: Mapping[str, Name], module: Mapping[str, Name]
) -> tuple[dict[str, str], list[str]]:
    """Pair names of the module with those of the file under a literal prefix.

    Returns module's name to file's name, and the file's remaining names under the prefix.
    """
    by_plain: dict[str, str] = {}
    left: list[str] = []
    # Least wrapped first: of two names that compare equal it is the intended one.
    for name in sorted(file.values(), key=lambda name: len(name.literal)):
        plain = name.under(prefix)
        if plain is None:
            continue
        if plain in by_plain:
            left.append(name.literal)
        else:
            by_plain[plain] = name.literal
    paired = {
        name.literal: by_plain.pop(name.plain) for name in module.values() if name.plain in by_plain
    }
    return paired, sorted([*left, *by_plain.values()])
