"""Naming what was done to a chain, from the rows in the database and the hashes in the anchor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeapl.journal.chain import BEFORE_FIRST


@dataclass(frozen=True, slots=True)
class Problem:
    """One inconsistency.

    sequence : number of the row; None if it concerns the whole journal.
    kind : ``edited``, ``deleted``, ``inserted``, ``reordered``, ``cut off``, ``unlinked``,
        ``anchor`` or ``database``.
    text : one plain sentence.
    """

    sequence: int | None
    kind: str
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Link:
    """The parts of a row that are compared. `consistent`: its hash fits its content and place."""

    sequence: int
    previous: str
    hash: str
    consistent: bool


def check_chain(links: Sequence[Link]) -> Iterator[Problem]:
    """Check a chain without its anchor, which cannot reveal that the newest rows were cut off."""
    book = _ChainIndex(links, ())
    for number in range(book.newest + 1):
        here = book.by_number.get(number)
        if here is None:
            yield _problem(number, "deleted", "its number is missing")
        else:
            yield from book.judge(here)


def check_against_anchor(
    links: Sequence[Link], anchored: Sequence[str | None]
) -> Iterator[Problem]:
    """Check a chain against the anchored hashes of rows 0, 1, 2 ...

    Every anchored row is looked up in the database; rows left over do not belong. So an edit is
    reported only at its own row, not again at the next one.
    """
    book = _ChainIndex(links, anchored)
    moved = set()
    for number, digest in enumerate(anchored):
        found = book.by_hash.get(digest) if digest is not None else None
        if found is None:
            yield from book.judge_lost(number, digest)
        elif found.sequence == number:
            yield from book.judge(found)
        else:
            moved.add(number)
            yield _problem(number, "reordered", f"it is stored as row {found.sequence}")
    for link in links:
        number = link.sequence
        if link.hash in book.known and book.by_hash[link.hash] is link:
            continue
        if number == len(anchored) == book.newest:  # only the newest row may lack its line
            yield from book.judge(link)
        elif number >= len(anchored) or number in moved or link.hash in book.known:
            yield _problem(number, "inserted", "the anchor does not name it")


class _ChainIndex:
    """Rows by number and by hash, beside the hashes in the anchor."""

    def __init__(self, links: Sequence[Link], anchored: Sequence[str | None]) -> None:
        self.anchored = anchored
        self.known = {digest for digest in anchored if digest is not None}
        self.by_number = {link.sequence: link for link in links}
        self.by_hash = {link.hash: link for link in reversed(links)}
        self.newest = max(self.by_number, default=-1)

    def judge(self, link: Link) -> Iterator[Problem]:
        """Check a row by itself and against the rows it may follow."""
        number = link.sequence
        before = self._before(number)
        if not link.consistent:
            yield _problem(number, "edited", "its hash does not match its content")
        elif before and link.previous not in before:
            yield _problem(number, "unlinked", f"it does not follow row {number - 1}")

    def judge_lost(self, number: int, digest: str | None) -> Iterator[Problem]:
        """Report a number whose anchored hash no row has."""
        here = self.by_number.get(number)
        if digest is None:
            yield _problem(number, "anchor", "its line in the anchor is damaged")
            if here is not None:
                yield from self.judge(here)
        elif here is None or here.hash in self.known:
            kind = "cut off" if number > self.newest else "deleted"
            yield _problem(number, kind, "only the anchor has it")
        elif self._vouched(here):
            text = "its line in the anchor was edited; the row after it vouches for it"
            yield _problem(number, "anchor", text)
        else:
            yield _problem(number, "edited", "it does not fit the anchor")

    def _before(self, number: int) -> set[str]:
        """Return the hashes that a row may follow; none if nothing is known of its predecessor."""
        if number == 0:
            return {BEFORE_FIRST}
        named = self.anchored[number - 1] if number <= len(self.anchored) else None
        stands = self.by_number.get(number - 1)
        return {named or "", stands.hash if stands else ""} - {""}

    def _vouched(self, link: Link) -> bool:
        """Return whether the next row, which is anchored, was made to follow exactly this one."""
        after = self.by_number.get(link.sequence + 1)
        return (
            after is not None
            and link.consistent
            and after.consistent
            and after.previous == link.hash
            and after.hash in self.known
        )


def _problem(number: int, kind: str, text: str) -> Problem:
    return Problem(number, kind, f"row {number}: {kind}: {text}")
