"""Whether a zip file is intact: torch reads its members without checking their checksums."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

from edgeapl.errors import BundleError
from edgeapl.export.checkpoints.file_formats import AGAIN, DAMAGE, one_line

PIECE_BYTES = 1 << 20


def check_integrity(path: Path, archive: zipfile.ZipFile) -> None:
    """Read every member and check its CRC, name and length.

    A file saved without checksums (``compute_crc32`` off) cannot be told from a damaged one. Raises
    BundleError that names the first member that is damaged or duplicated: which of two is read
    depends on the reader.
    """
    twice = [name for name, count in Counter(archive.namelist()).items() if count > 1]
    if twice:
        raise BundleError("checkpoint holds a member twice", path, f"{one_line(twice[0])}: {AGAIN}")
    for entry in archive.infolist():
        try:
            with archive.open(entry) as member:
                while member.read(PIECE_BYTES):
                    pass
        except DAMAGE as error:
            mend = f"{one_line(entry.filename)} does not match its sum: {AGAIN}"
            raise BundleError("checkpoint is cut off or damaged", path, mend) from error
