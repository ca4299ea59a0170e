"""Whether a certificate still holds at this station, judged by what its journal has seen since."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl.journal.chain import AMENDMENT, VERDICT, Row
from edgeapl.journal.reader import read_rows_after
from edgeapl.journal.records import SIGN_OFF
from edgeapl.journal.sign_off import Opinion
from edgeapl.types import Certificate

WINDOW, MOST_UNLIKE = 20, 3
"""How many slides in a row are looked at, and how many of them may be unlike the certificate's. If
one slide in thirty is unlike by chance, as the limits of six groups allow, more than 3 of 20 occur
in 1 of 240 windows.
"""

UNLIKE = (
    "certificate_look",
    "domain_light",
    "domain_stain",
    "domain_texture",
    "domain_size",
    "domain_focus",
    "domain_features",
    "domain_detail",
)
"""Codes of the reasons for a slide unlike those that the model was made for or tested on."""

DAMAGED = ("area_not_examined", "frame_area_not_examined", "too_few_cells")
"""Codes of the reasons for a slide of which too little was seen. The rest looks different and says
nothing about the station's stain or optics. Such a slide is never cleared anyway."""

AGAIN = "run edgeapl calibrate with --labels again"


@dataclass(frozen=True, slots=True)
class _Cleared:
    """A cleared slide: its row, and whether the latest signature overrules it."""

    sequence: int
    overruled: bool = False


class CertificateStatus:
    """Follows a journal and reads each row once.

    Parameters
    ----------
    journal : its path; a journal that does not exist yet has seen nothing.
    certificate : of the bundle in use; None if it has none.

    last : the most recent answer of `ended`.
    """

    def __init__(self, journal: Path, certificate: Certificate | None) -> None:
        self._journal = journal
        self._certificate = certificate
        self._read = 0
        self._cleared: dict[str, _Cleared] = {}
        self._unlike: deque[bool] = deque(maxlen=WINDOW)
        self._drifted = ""
        self._lock = threading.Lock()
        self.last = ""

    def ended(self) -> str:
        """Return why the certificate has ended here; empty while it holds, or if there is none.

        Raises StorageError when the journal cannot be read. May be called from any thread.
        """
        with self._lock:
            self.last = self._ended()
            return self.last

    @property
    def unlike(self) -> int:
        """How many of the newest `WINDOW` slides were unlike those of the certificate."""
        with self._lock:
            return sum(self._unlike)

    def _ended(self) -> str:
        if self._certificate is None or not self._journal.exists():
            return ""
        self._take(read_rows_after(self._journal, self._read, (VERDICT, AMENDMENT)))
        overruled = [one.sequence for one in self._cleared.values() if one.overruled]
        why = self._drifted
        if overruled:
            why = f"a person overruled the CLEAR of record {min(overruled)}"
        if why:
            why = f"the proof that this model may clear has ended here: {why}: {AGAIN}"
        return why

    def _take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._read = max(self._read, row.sequence)
            if not row.consistent:
                continue
            if row.kind == VERDICT:
                self._take_verdict(row)
            elif SIGN_OFF in row.content and row.content.get("record") in self._cleared:
                said = row.content.get(SIGN_OFF) == Opinion.OVERRULE.value
                record = str(row.content["record"])
                self._cleared[record] = _Cleared(self._cleared[record].sequence, said)

    def _take_verdict(self, row: Row) -> None:
        content = row.content
        if not self._is_ours(content):
            return
        if content.get("verdict") == "CLEAR":
            self._cleared[row.hash] = _Cleared(row.sequence)
        codes = {reason.get("code") for reason in content.get("reasons", ())}
        assert self._certificate is not None
        if self._certificate.drawn or codes.intersection(DAMAGED):
            return
        self._unlike.append(bool(codes.intersection(UNLIKE)))
        unlike = sum(self._unlike)
        if unlike > MOST_UNLIKE and not self._drifted:
            self._drifted = (
                f"{unlike} of {len(self._unlike)} slides up to record {row.sequence} were unlike "
                "those it was given for"
            )

    def _is_ours(self, content: dict[str, Any]) -> bool:
        """Whether a verdict falls under this certificate, for a slide that counts as evidence."""
        assert self._certificate is not None
        given = content.get("certificate") or {}
        if given.get("digest") != self._certificate.digest:
            return False
        return self._certificate.drawn or content.get("demonstration") is not True
