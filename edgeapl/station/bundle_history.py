"""Which bundle a station uses, which it used before, and copies of them that nobody changes.

What is chosen with `edgeapl station use` are rows of the journal. Each choice is put on top of the
one before; going back, or a bundle that cannot be opened, takes the top away. Below the first is
what the station file names, or an embedded bundle.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.errors import BundleError, StorageError, UsageError
from edgeapl.journal import BUNDLE, Journal, Row
from edgeapl.journal.reader import read_rows_after
from edgeapl.report.safe_names import safe_name
from edgeapl.report.storage import sync_folder
from edgeapl.types import signer_text

KEPT = "bundles"
"""Folder beside the journal with a copy of every bundle that was chosen."""


class BundleAction(str, Enum):
    """What a row says of a bundle."""

    USE = "use"
    BACK = "back"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class StationBundle:
    """A bundle that was chosen. folder : its copy. signed_by : in words."""

    folder: str
    name: str
    version: str
    digest: str
    signed_by: str

    @property
    def text(self) -> str:
        """The bundle for people."""
        return f"{self.name} {self.version} ({self.digest[:12]})"


class BundleHistory:
    """Follows the choices in a journal; rows that were read before are not read again.

    journal : its path; one that is not there yet has no choices.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._read = 0
        self._chosen: list[StationBundle] = []

    def current(self) -> StationBundle | None:
        """Return the bundle in use; None for what the station file names. Raises StorageError."""
        if self._journal.exists():
            self._take(read_rows_after(self._journal, self._read, (BUNDLE,)))
        return self._chosen[-1] if self._chosen else None

    @property
    def previous(self) -> StationBundle | None:
        """The last good one, as of the last question; None for what the station file names."""
        return self._chosen[-2] if len(self._chosen) > 1 else None

    def _take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._read = max(self._read, row.sequence)
            if not row.consistent:
                continue
            bundle = _bundle_of(row.content)
            if row.content.get("action") == BundleAction.USE.value:
                self._chosen.append(bundle)
            elif self._chosen and self._chosen[-1].digest == bundle.digest:
                self._chosen.pop()


def use_bundle(journal: Journal, bundle: Bundle) -> StationBundle:
    """Choose a bundle: keep a copy of it beside the journal, and say so in a row.

    bundle : opened and checked by who calls. Raises UsageError when it is in use already, and
    StorageError when the copy or the row cannot be written.
    """
    current = BundleHistory(journal.path).current()
    if current is not None and current.digest == bundle.digest:
        raise UsageError("bundle is in use already", current.text, "nothing is left to do")
    manifest = bundle.manifest
    kept = _kept_copy(bundle, journal.path.parent / KEPT)
    chosen = StationBundle(
        str(kept), manifest.name, manifest.version, bundle.digest, signer_text(bundle.signer)
    )
    _append(journal, BundleAction.USE, chosen)
    return chosen


def go_back(journal: Journal) -> tuple[StationBundle, StationBundle | None]:
    """Take the last choice back; gives the bundle that goes and the one that comes.

    Raises UsageError when nothing was chosen.
    """
    history = BundleHistory(journal.path)
    current = history.current()
    if current is None:
        mend = "the station uses what its file names, or an embedded bundle"
        raise UsageError("there is no bundle to go back from", "", mend)
    _append(journal, BundleAction.BACK, current)
    return current, history.previous


def refuse_bundle(journal: Journal, bundle: StationBundle, why: str) -> None:
    """Say in a row that the bundle in use cannot be opened: the one before is used."""
    _append(journal, BundleAction.REFUSED, bundle, why=why)


def _append(journal: Journal, action: BundleAction, bundle: StationBundle, **more: str) -> None:
    journal.append_event(BUNDLE, {"action": action.value, "bundle": asdict(bundle), **more})


def _bundle_of(content: dict[str, Any]) -> StationBundle:
    said = content.get("bundle") or {}
    names = ("folder", "name", "version", "digest", "signed_by")
    return StationBundle(*(str(said.get(name, "")) for name in names))


def _kept_copy(bundle: Bundle, kept: Path) -> Path:
    """Copy a bundle to where nobody changes it, whole or not at all."""
    manifest = bundle.manifest
    place = kept / safe_name(f"{manifest.name}-{manifest.version}-{bundle.digest[:12]}")
    if bundle.folder.resolve() == place.resolve() or _is_copy(place, bundle.digest):
        return place.resolve()
    part = place.with_name(f"{place.name}.partial")
    try:
        kept.mkdir(parents=True, exist_ok=True)
        for old in (part, place):
            if old.exists():
                shutil.rmtree(old)
        shutil.copytree(bundle.folder, part)
        if not _is_copy(part, bundle.digest):
            mend = "it was changed meanwhile: run the command again"
            raise StorageError("copy of the bundle is not like it", part, mend)
        part.rename(place)
        sync_folder(kept)
    except OSError as error:
        why = str(error.strerror or error)
        raise StorageError("bundle cannot be kept", place, why) from error
    return place.resolve()


def _is_copy(place: Path, digest: str) -> bool:
    if not place.is_dir():
        return False
    try:
        return open_bundle(place).digest == digest
    except BundleError:
        return False
