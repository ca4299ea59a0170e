"""Compare what is installed with the archive of wheels that it came from."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeapl.errors import InputError

SUMS = "SHA256SUMS"
"""Lists every file of an archive with its SHA-256, as `sha256sum` writes it."""

_CHANGED_BY_PIP = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""Files of a package's own folder that pip writes anew."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """Something installed that is not what the archive holds.

    Attributes
    ----------
    package : name of the package, as its wheel states it.
    detail : what differs, for a person.
    """

    package: str
    detail: str


def compare_with_archive(archive: Path) -> tuple[int, tuple[Deviation, ...]]:
    """Compare every file of every wheel in `archive` with what is installed in this environment.

    Parameters
    ----------
    archive : an unpacked archive of ``deploy/wheelhouse/make``, with its ``wheels/``.

    Returns
    -------
    How many packages were compared, and what deviates: packages that are missing or of another
    version, files that are missing or changed, and wheels that are not those of the archive.

    Raises InputError when `archive` is no such archive or a wheel cannot be read.
    """
    digests = _digests(archive)
    wheels = sorted(name for name in digests if name.endswith(".whl"))
    if not wheels:
        raise InputError("no wheels are listed", archive / SUMS, "name an unpacked archive")
    found = [deviation for name in wheels for deviation in _of_wheel(archive / name, digests[name])]
    return len(wheels), tuple(found)


def _digests(archive: Path) -> dict[str, str]:
    try:
        lines = (archive / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("cannot be read", archive / SUMS, "name an unpacked archive") from error
    parts = (line.split(maxsplit=1) for line in lines if line.strip())
    try:
        return {name.lstrip("*"): digest for digest, name in parts}
    except ValueError:
        raise InputError("is damaged", archive / SUMS, "unpack the archive again") from None


def _of_wheel(path: Path, digest: str) -> Iterator[Deviation]:
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            record = next(n for n in wheel.namelist() if n.endswith(".dist-info/RECORD"))
            rows = list(csv.reader(io.StringIO(wheel.read(record).decode())))
    except (OSError, zipfile.BadZipFile, StopIteration, UnicodeDecodeError, csv.Error) as error:
        raise InputError("wheel cannot be read", path, "unpack the archive again") from error
    name, version = Path(record).parts[0].removesuffix(".dist-info").rsplit("-", 1)
    if hashlib.sha256(content).hexdigest() != digest:
        yield Deviation(name, f"its wheel is not the one in {SUMS}")
        return
    try:
        installed = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        yield Deviation(name, "is not installed")
        return
    if installed.version != version:
        yield Deviation(name, f"{installed.version} is installed, not {version}")
        return
    changed = [file for file, expected, *_ in rows if _differs(installed, file, expected)]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        yield Deviation(name, f"changed or missing: {changed[0]}{more}")


def _differs(installed: importlib.metadata.Distribution, file: str, expected: str) -> bool:
    """Whether a file of RECORD is missing or has another digest than ``sha256=...`` of it."""
    parts = Path(file).parts
    # Scripts and headers move to places that are pip's choice, and scripts get another first line.
    if parts[0].endswith(".data") or parts[-1] in _CHANGED_BY_PIP or not expected:
        return False
    kind, _, stated = expected.partition("=")
    try:
        content = Path(str(installed.locate_file(file))).read_bytes()
    except OSError:
        return True
    made = base64.urlsafe_b64encode(hashlib.new(kind, content).digest()).rstrip(b"=").decode()
    return made != stated
