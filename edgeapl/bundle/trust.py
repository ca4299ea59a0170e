"""What a station requires of bundles and engines: a trusted key, and a version not too old."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeapl.bundle.keys import INSTALL, fingerprint, read_public
from edgeapl.bundle.load import Bundle
from edgeapl.errors import BundleError, ConfigError, EngineError
from edgeapl.types import Signer

SIGN = "have it signed with edgeapl sign, or ask who looks after this station"


@dataclass(frozen=True, slots=True)
class Trust:
    """What must hold before a model may be used.

    keys : fingerprints of the trusted keys; None if no key is required.
    oldest : bundle's name to the oldest version that may run.
    """

    keys: frozenset[str] | None = None
    oldest: Mapping[str, str] = field(default_factory=dict)

    def check(self, bundle: Bundle) -> None:
        """Raise BundleError unless the bundle may run here."""
        manifest = bundle.manifest
        if self.keys is not None:
            refused = _refused(self.keys, bundle.signer)
            if refused:
                raise BundleError(f"this station trusts keys, and {refused}", bundle.folder, SIGN)
        oldest = self.oldest.get(manifest.name)
        if oldest is not None and version_key(manifest.version) < version_key(oldest):
            text = f"this station takes {manifest.name} from {oldest} on: put the newer one back"
            which = f"{bundle.folder} (version {manifest.version})"
            raise BundleError("bundle is older than the station allows", which, text)

    def check_engines(self, folder: Path, signer: Signer | None) -> None:
        """Raise EngineError unless engines may run here.

        Their record names a bundle, but whoever can write to the folder can write any name there.
        So engines need a signature of their own; the bundle's signature covers its own networks.
        """
        if self.keys is not None:
            refused = _refused(self.keys, signer)
            if refused:
                raise EngineError(
                    f"this station trusts keys, and of these engines {refused}", folder, SIGN
                )


def _refused(keys: frozenset[str], signer: Signer | None) -> str:
    """Return why a signer is not accepted; empty if accepted."""
    if signer is None:
        return "there is no signature"
    if signer.key not in keys:
        return f"the key of {signer.name} ({signer.key[:16]}) is none of them"
    return ""


def read_trust(trusted_keys: Sequence[str] | None, oldest: Mapping[str, str]) -> Trust:
    """Make a `Trust` from the settings of a station file.

    Parameters
    ----------
    trusted_keys : fingerprints (64 hex digits, optionally after ``sha256:``), or PEM files of
        public keys; None if no key is required.
    oldest : see `Trust`.

    Raises ConfigError for a list without keys, which must never mean "no key is required".
    """
    if trusted_keys is None:
        return Trust(None, oldest)
    if not trusted_keys:
        mend = "list a fingerprint, or remove the setting"
        raise ConfigError("no key is listed", "trusted_keys", mend)
    try:
        return Trust(frozenset(_fingerprint(key) for key in trusted_keys), oldest)
    except ModuleNotFoundError as error:
        raise ConfigError("trusted keys cannot be read", "trusted_keys", INSTALL) from error


def _fingerprint(key: str) -> str:
    given = key.removeprefix("sha256:").lower()
    if re.fullmatch(r"[0-9a-f]{64}", given):
        return given
    return fingerprint(read_public(Path(key)))


def version_key(version: str) -> tuple[tuple[int, ...], int, tuple[tuple[int, str], ...]]:
    """Return the sort key of a version.

    Numbers come first; a suffix after a ``+`` (``1.0+cal2``, a calibration of 1.0) is newer than
    the bare version, any other suffix (``1.0rc1``) is older.
    """
    numbers, suffix = re.match(r"([0-9]+(?:\.[0-9]+){0,3})(.*)", version, re.DOTALL).groups()  # type: ignore[union-attr]
    release = [int(number) for number in numbers.split(".")]
    rank = 0 if not suffix else (1 if suffix.startswith("+") else -1)
    parts = re.findall(r"[0-9]+|[^0-9]+", suffix)
    natural = tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)
    return (*release, *(0,) * (4 - len(release))), rank, natural
