"""Where a journal is kept, and where it must not be."""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgeapl.errors import StorageError

NETWORK_FILESYSTEMS = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs"),
        *("glusterfs", "ncpfs", "ocfs2", "gfs2", "davfs", "fuse.sshfs", "fuse.glusterfs"),
        *("fuse.ceph", "fuse.rclone", "fuse.davfs2", "fuse.s3fs"),
    }
)
"""Linux names of file systems that other machines can reach. SQLite's write-ahead log needs shared
memory between all its users, so it cannot be kept there (sqlite.org/wal.html, section 1)."""

MOUNTS = Path("/proc/self/mountinfo")


def default_journal_path() -> Path:
    """Return the journal in the user's state folder (XDG base directory specification)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if Path(state).is_absolute():  # the specification says to ignore a relative one
        return Path(state) / "edgeapl" / "journal.sqlite3"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise StorageError(
            "no home folder for the journal", "", "set XDG_STATE_HOME or give --journal"
        ) from error
    return home / ".local" / "state" / "edgeapl" / "journal.sqlite3"


def anchor_path(journal: Path) -> Path:
    """Return the path of the file with the number and hash of every row."""
    return journal.with_name(journal.name + ".anchor")


def reserve_path(journal: Path) -> Path:
    """Return the path of the file that reserves space for one more verdict."""
    return journal.with_name(journal.name + ".reserve")


def share_of(path: Path, mounts: Path = MOUNTS) -> str:
    """Return the type of the network share that holds an absolute path; empty for other places.

    Only Linux tells; elsewhere nothing is checked.
    """
    if not mounts.is_file():
        return ""
    kind = filesystem_of(path, mounts.read_text(encoding="utf-8", errors="surrogateescape"))
    return kind if kind in NETWORK_FILESYSTEMS else ""


def refuse_network_share(journal: Path, mounts: Path = MOUNTS) -> None:
    """Raise StorageError when the journal would lie on a network share."""
    if kind := share_of(journal, mounts):
        raise StorageError(
            "journal is on a network share",
            f"{journal} ({kind})",
            "choose a folder on a local disk; edgeapl merge brings journals together",
        )


def filesystem_of(path: Path, mountinfo: str) -> str:
    """Return the type of the file system that holds an absolute path; empty if unknown.

    mountinfo : text as in proc(5): fields, the fifth being the mount point, then " - type".
    """
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        if len(fields.split()) < 5 or not rest:
            continue
        point = Path(_plain(fields.split()[4]))
        inside = path == point or point in path.parents
        if inside and len(point.parts) >= best:  # a later mount on the same point hides the first
            best, kind = len(point.parts), rest.split()[0]
    return kind


def _plain(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
