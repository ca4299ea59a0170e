"""Keys that sign bundles: ed25519 in PEM files. The one place that imports `cryptography`.

`cryptography` is a base dependency, not an extra: a station that trusts keys and lacks it must
stop, so leaving it out would only move that failure to the bedside. It adds 17 MB (with cffi) to
the 310 MB of numpy, OpenCV and onnxruntime, has wheels for x86-64 and aarch64, and takes 10 ms to
import, which only signed bundles and `edgeapl sign` do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeapl.bundle.digest import sha256
from edgeapl.errors import ConfigError, StorageError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAKE = "edgeapl keys new FILE makes one"
INSTALL = "pip install cryptography"

Passphrase = Callable[[], bytes]
"""Returns the passphrase of a protected key; called only if the key has one."""


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that can sign.

    public : the public key, 32 bytes.
    """

    public: bytes
    _key: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes (RFC 8032)."""
        return self._key.sign(message)


def fingerprint(public: bytes) -> str:
    """Return the fingerprint by which a station file names a key: SHA-256 of its 32 bytes, hex."""
    return sha256(public)


def verify_signature(public: bytes, signature: bytes, message: bytes) -> bool:
    """Return whether a signature was made with this key over exactly this message.

    Raises ModuleNotFoundError without `cryptography`: what cannot be checked must not pass.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def read_private(path: Path, passphrase: Passphrase) -> PrivateKey:
    """Read a private key from a PEM file (PKCS 8).

    Raises UsageError when it is not an ed25519 key, cannot be read, or its passphrase is wrong.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )

    data = _read(path)
    protected = b"ENCRYPTED" in data
    given = passphrase() if protected else None
    try:
        key = serialization.load_pem_private_key(data, given)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = "passphrase does not open the key" if protected else "file is not a private key"
        raise UsageError(what, path, "type it again" if protected else MAKE) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError("key is not an ed25519 key", path, MAKE)
    return PrivateKey(key.public_key().public_bytes_raw(), key)


def read_public(path: Path) -> bytes:
    """Read a public key, 32 bytes, from a PEM file. Raises ConfigError when there is none."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigError("trusted key cannot be read", path, str(error.strerror)) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        mend = "name the .pub file that edgeapl keys new wrote, or its fingerprint"
        raise ConfigError("trusted key is not a public key in PEM", path, mend) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError("trusted key is not an ed25519 key", path, MAKE)
    return key.public_bytes_raw()


def write_pair(path: Path, passphrase: bytes | None) -> bytes:
    """Create a key; the private half goes to `path`, for its owner alone, the public one beside it.

    Returns the public key, 32 bytes. Raises StorageError when a file exists or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization as to  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )

    key = Ed25519PrivateKey.generate()
    sealed: to.KeySerializationEncryption = to.NoEncryption()
    if passphrase is not None:
        sealed = to.BestAvailableEncryption(passphrase)
    private = key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, sealed)
    public = key.public_key().public_bytes(to.Encoding.PEM, to.PublicFormat.SubjectPublicKeyInfo)
    if public_path(path).exists():
        raise StorageError("a file is there already", public_path(path), "choose a new name")
    _write_new(path, private, 0o600)
    _write_new(public_path(path), public, 0o644)
    return key.public_key().public_bytes_raw()


def public_path(path: Path) -> Path:
    """Return the path of a key's public half."""
    return path.with_name(path.name + ".pub")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError("key cannot be read", path, str(error.strerror)) from error


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist: an overwritten key is lost with all it signed."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except FileExistsError as error:
        raise StorageError("a file is there already", path, "choose a new name") from error
    except OSError as error:
        raise StorageError("key cannot be written", path, str(error.strerror)) from error
