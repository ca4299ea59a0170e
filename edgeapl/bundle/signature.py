"""Who vouches for a bundle, or for engines: a signature file beside the seal.

The signature covers the digest of the manifest, which holds the digest of every other file, as well
as what is signed, its name and version, and the signer's name. So it is valid for this very folder
only: copied into another it is refused, and so is any change that was sealed again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.keys import INSTALL, PrivateKey, fingerprint, verify_signature
from edgeapl.bundle.specs import Digest, Spec
from edgeapl.errors import BundleError, EngineError, ModelError, StorageError, UsageError
from edgeapl.types import UNSIGNED, Signer
from edgeapl.wall_clock import utc_now

SIGNATURE = "bundle.sig"
ENGINE_SIGNATURE = "engine.sig"

Signed = Literal["bundle", "engines"]

AGAIN = "sign it again with edgeapl sign, or remove this file: then it is unsigned"

_DOMAIN = b"EdgeAPL signature 1\n"
"""Prefix of every signed message, so that a signature made for anything else is never valid."""


class Signature(Spec):
    """A signature file.

    signs, digest, name, version : what was signed; the digest is that of the sealed file.
    signer : name given at signing. signed_at : UTC, ISO 8601, by the signer's clock.
    key : the public key, hex of 32 bytes. signature : hex of 64 bytes, over all the rest.
    """

    schema_version: Literal[1] = 1
    signs: Signed
    digest: Digest
    name: str
    version: str
    signer: Annotated[str, Field(min_length=1, max_length=80)]
    signed_at: str
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")] = "0" * 128

    @field_validator("signer")
    @classmethod
    def _can_be_shown(cls, name: str) -> str:
        if not name.isprintable() or not name.strip() or name.strip().lower() == UNSIGNED:
            raise ValueError("signer: a name of printable characters")
        return name

    def message(self) -> bytes:
        """Return the bytes that are signed."""
        content = self.model_dump(mode="json", exclude={"signature"})
        return _DOMAIN + json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def read_signature(path: Path, signs: Signed, digest: str) -> Signer | None:
    """Return who signed; None if there is no signature.

    Parameters
    ----------
    path : of the signature file. signs, digest : what it must have been made for.

    Raises BundleError, or EngineError for engines, when the signature is incomplete, was made for
    something else, does not fit its key, or cannot be checked.
    """
    refusal = BundleError if signs == "bundle" else EngineError
    if not path.is_symlink() and not path.exists():
        return None
    if path.is_symlink() or not path.is_file():
        raise refusal("signature is not a plain file", path, AGAIN)
    found = _parsed(path, refusal)
    if (found.signs, found.digest) != (signs, digest):
        text = f"it is for {found.signs} {found.name} {found.version} ({found.digest[:12]}), "
        text += f"this is {digest[:12]}: {AGAIN}"
        raise refusal(
            "signature was made for something else, or this was changed since", path, text
        )
    public = bytes.fromhex(found.key)
    try:
        genuine = verify_signature(public, bytes.fromhex(found.signature), found.message())
    except ModuleNotFoundError as error:
        raise refusal("signature cannot be checked", path, INSTALL) from error
    if not genuine:
        raise refusal("signature does not fit its key", path, AGAIN)
    return Signer(found.signer, fingerprint(public))


def write_signature(
    path: Path, key: PrivateKey, *, signs: Signed, digest: str, name: str, version: str, signer: str
) -> Signer:
    """Sign what has this digest, replacing an earlier signature.

    Raises UsageError for a signer's name that cannot be shown, StorageError when it cannot be
    written.
    """
    try:
        unsigned = Signature(
            signs=signs,
            digest=digest,
            name=name,
            version=version,
            signer=signer,
            signed_at=utc_now().isoformat(timespec="seconds"),
            key=key.public.hex(),
        )
    except ValidationError as error:
        mend = "give a name of 1 to 80 printable characters with --name"
        raise UsageError("signer's name cannot be used", ascii(signer), mend) from error
    signature = unsigned.model_copy(update={"signature": key.sign(unsigned.message()).hex()})
    text = json.dumps(signature.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
    # Beside the folder, not in it: a file left there would be taken for a forged one.
    folder = path.parent.resolve()
    staged = folder.with_name(f".{folder.name}.{sha256(text.encode())[:12]}")
    try:
        with staged.open("w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise StorageError("signature cannot be written", path, str(error.strerror)) from error
    return Signer(signer, fingerprint(key.public))


def _parsed(path: Path, refusal: type[ModelError]) -> Signature:
    try:
        return Signature.model_validate_json(path.read_bytes())
    except OSError as error:
        raise refusal("signature cannot be read", path, str(error.strerror)) from error
    except ValidationError as error:
        raise refusal("signature is not understood", path, AGAIN) from error
