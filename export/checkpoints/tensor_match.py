"""Matches tensors of a file with a module by names and shapes, and finds those left over."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch

from edgeapl.errors import BundleError
from edgeapl.export.checkpoints.file_formats import some
from edgeapl.export.checkpoints.key_names import distinct, pair, prefixes, read_names
from edgeapl.export.checkpoints.state import COUNTED, Slot, same

COUNTERS = (*COUNTED, "n_averaged", "total_ops", "total_params")
"""Last parts of names that change no answer: counts of batches, averages and operations."""

TRAINING = {"aux", "auxiliary", "criterion", "ema", "head", "heads", "loss", "losses", "lossfn"}
TRAINING |= {"metric", "metrics", "projector", "teacher"}
"""Words for parts that only training uses. A part that the module lacks, with one of these words in
its name, is dropped without asking."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

MOST_PREFIXES = 64
"""Prefixes to try; a file of thousands of tensors has about 20 candidates."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a recipe says about a role's file.

    key : which of several state_dicts in the file; None if there is one.
    prefix : before the module's names in it; None to find it.
    ignore : names, with * for any part of one, that the module may do without.
    """

    key: str | None = None
    prefix: str | None = None
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fit:
    """The file under one prefix compared with the module.

    names : module's name to file's. missing : names of the module that the file lacks.
    odd : wrong shapes and types, as text. surplus : the file's names under the prefix that the
    module lacks. outside : all its other names.
    """

    prefix: str
    names: Mapping[str, str]
    missing: tuple[str, ...]
    odd: tuple[tuple[str, str], ...]
    surplus: tuple[str, ...]
    outside: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every tensor of the module is matched."""
        return bool(self.names) and not self.missing and not self.odd


def fits(
    wanted: Mapping[str, Slot | None], given: Mapping[str, object], prefix: str | None
) -> list[Fit]:
    """Compare the file with the module under every plausible prefix, the likeliest first.

    Parameters
    ----------
    wanted : the module's names and slots; None for what is not a tensor.
    given : the file's names and values. prefix : the only one to try.
    """
    module, file = read_names(wanted), read_names(given)
    if not distinct(module):
        module, file = read_names(wanted, ()), read_names(given, ())
    chosen = prefixes(file, module)[:MOST_PREFIXES] or [""] if prefix is None else [prefix]
    made = []
    for each in chosen:
        names, surplus = pair(each, file, module)
        names.update(_tied(wanted, names))
        under = {*names.values(), *surplus}
        missing = [n for n in wanted if n not in names and not n.endswith(COUNTED)]
        made.append(
            Fit(
                each,
                names,
                tuple(missing),
                tuple(_odd(wanted, given, names)),
                tuple(surplus),
                tuple(name for name in given if name not in under),
            )
        )
    return made


def _tied(wanted: Mapping[str, Slot | None], names: Mapping[str, str]) -> dict[str, str]:
    """Pair names of tensors that the module shares and of which the file holds only one."""
    by_tensor = {id(slot.tensor): names[n] for n, slot in wanted.items() if slot and n in names}
    return {
        name: by_tensor[id(slot.tensor)]
        for name, slot in wanted.items()
        if slot and name not in names and id(slot.tensor) in by_tensor
    }


def _odd(
    wanted: Mapping[str, Slot | None], given: Mapping[str, object], names: Mapping[str, str]
) -> list[tuple[str, str]]:
    odd: list[tuple[str, str]] = []
    for name, source in names.items():
        slot, value = wanted[name], given[source]
        if slot is None or name.endswith(COUNTED):
            continue
        if not isinstance(value, torch.Tensor):
            odd.append(("of wrong type", f"{name} {type(value).__name__} instead of a tensor"))
        elif slot.shape is not None and tuple(value.shape) != slot.shape:
            odd.append(("of wrong shape", f"{name} {tuple(value.shape)} instead of {slot.shape}"))
        elif value.is_floating_point() != slot.tensor.is_floating_point():
            odd.append(("of wrong type", f"{name} {value.dtype} instead of {slot.tensor.dtype}"))
    return odd


def choose(found: Sequence[Fit], given: Mapping[str, object], role: str) -> Fit | None:
    """Return the only complete fit; None if there is none.

    Raises BundleError when several are complete and differ in their numbers.
    """
    complete = [fit for fit in found if fit.complete]
    if not complete:
        return None
    # A file with exactly the module's names is unambiguous.
    exact = [fit for fit in complete if not fit.surplus and not fit.outside]
    first = (exact or complete)[0]
    others = [fit for fit in complete if not exact and not _equal(first, fit, given)]
    if others:
        shown = ", ".join(f'"{fit.prefix}"' for fit in (first, *others)[:6])
        mend = f"choose one of {shown} as prefix under [weights.{role}] in the recipe file"
        raise BundleError("several parts of the checkpoint fit the module", role, mend)
    return first


def _equal(one: Fit, other: Fit, given: Mapping[str, object]) -> bool:
    return all(same(given[one.names[n]], given[other.names[n]]) for n in one.names)


def left_out(fit: Fit, wanted: Mapping[str, Slot | None], ignore: Sequence[str]) -> list[str]:
    """Return the names under the prefix that must not be dropped without asking."""
    roots = {name.split(".")[0] for name in wanted}
    serious = []
    for name in fit.surplus:
        root = name.removeprefix(fit.prefix).split(".")[0]
        # As words: hemato_block contains "ema" but not as a word.
        known = root not in roots and any(w.lower() in TRAINING for w in _WORD.findall(root))
        if not known and not name.endswith(COUNTERS) and not ignored(name, fit.prefix, ignore):
            serious.append(name)
    return serious


def ignored(name: str, prefix: str, ignore: Sequence[str]) -> bool:
    """Return whether the recipe says that a name of the file may be dropped."""
    return any(
        fnmatchcase(each, pattern) or each.startswith(pattern.rstrip(".") + ".")
        for each in (name, name.removeprefix(prefix))
        for pattern in ignore
    )


def problems(fit: Fit) -> str:
    """Describe what keeps the file from filling the module."""
    found = [("missing", list(fit.missing)), ("surplus", list(fit.surplus or fit.outside))]
    found += [
        (kind, [text for what, text in fit.odd if what == kind])
        for kind in ("of wrong shape", "of wrong type")
    ]
    return "; ".join(f"{len(names)} {what}: {some(names)}" for what, names in found if names)
