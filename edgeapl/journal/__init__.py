"""The journal: an append-only record of verdicts that survives a crash and shows tampering.

A journal is three files side by side: the SQLite database, ``NAME.anchor`` with the number and
hash of every row, and ``NAME.reserve``, room kept free so that one more verdict fits on a full
disk. Copy or move all three together (and ``NAME-wal`` while it exists).

Every row carries the hash of the row before it, so `verify` finds rows that were edited, deleted,
inserted or reordered. The anchor is written after the row and before `Journal.commit` returns,
so it also reveals that the newest rows were cut off, or that the database was removed or replaced
by an old copy.

Limits: hashes need no secret, so whoever can write both files can rewrite, shorten or remove both
consistently. Only a hash kept elsewhere reveals that: every report carries the hash of its row, and
``edgeapl journal show HASH`` no longer finds it. A single forged row correctly linked to the newest
one looks like a row whose writer was stopped before it could update the anchor.
"""

from __future__ import annotations

from edgeapl.journal.certificate_status import CertificateStatus
from edgeapl.journal.chain import (
    ACKNOWLEDGEMENT,
    AMENDMENT,
    BUNDLE,
    EVENTS,
    MERGED,
    NOTICE,
    PROVISIONAL,
    VERDICT,
    Row,
    origin_of_row,
)
from edgeapl.journal.location import default_journal_path
from edgeapl.journal.reader import (
    every_row,
    find_row,
    journal_identity,
    read_rows,
    row_with_hash,
    rows_with,
)
from edgeapl.journal.record import (
    same_verdict,
    steady_fields,
    verdict_from_json,
    verdict_to_json,
)
from edgeapl.journal.records import (
    Record,
    find_record,
    read_records,
    records_of,
    records_of_slide,
)
from edgeapl.journal.sign_off import Opinion, SignOff, append_sign_off, sign_off_of
from edgeapl.journal.store import Journal
from edgeapl.journal.tamper_diagnosis import Problem
from edgeapl.journal.verification import VerifyReport, verify

__all__ = [
    "ACKNOWLEDGEMENT",
    "AMENDMENT",
    "BUNDLE",
    "EVENTS",
    "MERGED",
    "NOTICE",
    "PROVISIONAL",
    "VERDICT",
    "CertificateStatus",
    "Journal",
    "Opinion",
    "Problem",
    "Record",
    "Row",
    "SignOff",
    "VerifyReport",
    "append_sign_off",
    "default_journal_path",
    "every_row",
    "find_record",
    "find_row",
    "journal_identity",
    "origin_of_row",
    "read_records",
    "read_rows",
    "records_of",
    "records_of_slide",
    "row_with_hash",
    "rows_with",
    "same_verdict",
    "sign_off_of",
    "steady_fields",
    "verdict_from_json",
    "verdict_to_json",
    "verify",
]
