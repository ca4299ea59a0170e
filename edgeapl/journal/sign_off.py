"""A person's opinion on a verdict, stored as an amendment: the verdict itself stays unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgeapl.errors import UsageError
from edgeapl.journal.chain import AMENDMENT, Row
from edgeapl.journal.records import SIGN_OFF, Record
from edgeapl.journal.store import Journal

LONGEST_INITIALS = 12
LONGEST_LABEL = 80
LONGEST_COMMENT = 500


class Opinion(str, Enum):
    """What a person says about a verdict."""

    CONFIRM = "confirm"
    OVERRULE = "overrule"
    REPEAT = "repeat"


WORDS = {
    Opinion.CONFIRM: "confirmed",
    Opinion.OVERRULE: "overruled",
    Opinion.REPEAT: "repeat asked for",
}


@dataclass(frozen=True, slots=True)
class SignOff:
    """One signature.

    opinion : confirmed, overruled or to be repeated. person : initials.
    comment : may be empty only for a confirmation.
    label : the correct class of an overruled verdict; otherwise empty.

    Raises UsageError when something is missing, too long, or spans more than one line.
    """

    opinion: Opinion
    person: str
    comment: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        _check("initials", self.person, LONGEST_INITIALS)
        if self.opinion is Opinion.OVERRULE:
            _check("label", self.label, LONGEST_LABEL)
        elif self.label:
            raise UsageError("only an overruled verdict takes a label", self.label, "leave it out")
        if self.comment or self.opinion is not Opinion.CONFIRM:
            _check("comment", self.comment, LONGEST_COMMENT)

    @property
    def words(self) -> str:
        """The opinion as text: `confirmed`, `overruled: LABEL`, `repeat asked for`."""
        return WORDS[self.opinion] + (f": {self.label}" if self.label else "")


def _check(what: str, text: str, longest: int) -> None:
    if not text.strip() or text != text.strip():
        raise UsageError(f"{what} missing", text, "say who signs and why")
    if len(text) > longest or not text.isprintable():
        raise UsageError(
            f"{what} not usable", text[:40], f"use one line of up to {longest} characters"
        )


def append_sign_off(journal: Journal, record: Record, said: SignOff) -> str:
    """Add a signature to a record, and return the hash of its row.

    A record can be signed again; the last signature counts. Raises UsageError when the label
    overrules a verdict with that same verdict.
    """
    verdict = str(record.content.get("verdict", ""))
    if said.opinion is Opinion.OVERRULE and said.label.casefold() == verdict.casefold():
        raise UsageError("verdict is overruled by itself", said.label, "confirm it instead")
    return journal.append_event(
        AMENDMENT,
        {
            "slide": record.slide,
            "record": record.row.hash,
            "sitting": str(record.content.get("sitting", "")),
            SIGN_OFF: said.opinion.value,
            "label": said.label,
            "person": said.person,
            "comment": said.comment,
        },
    )


def sign_off_of(row: Row) -> SignOff:
    """Read a signature from its row. Raises UsageError when the row is none."""
    content = row.content
    try:
        opinion = Opinion(str(content.get(SIGN_OFF)))
    except ValueError as error:
        raise UsageError("row is no sign-off", row.sequence) from error
    texts = {name: str(content.get(name, "")) for name in ("person", "comment", "label")}
    return SignOff(opinion, **texts)
