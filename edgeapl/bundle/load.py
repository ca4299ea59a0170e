"""Open a bundle: every byte is checked against the manifest before anything is used."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edgeapl.bundle.digest import sha256, sha256_file
from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.signature import SIGNATURE, read_signature
from edgeapl.errors import BundleError
from edgeapl.types import Signer
from edgeapl.validation_errors import first_problem

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MANIFEST = "bundle.toml"
SEAL = "bundle.sha256"

# How a TensorProto names its external file: key "location" as field 1 of a string pair.
EXTERNAL_DATA_MARK = b"\x0a\x08location\x12"

AGAIN = "copy the bundle again from where it was made"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An open bundle whose files all matched their digests.

    digest : SHA-256 (hex) of `bundle.toml`, which holds the digests of all other files.
    signer : who signed it, verified; None if nobody did.
    """

    folder: Path
    manifest: Manifest
    digest: str
    signer: Signer | None = None

    def read(self, name: str) -> bytes:
        """Return the bytes of a listed file, checked again so that a later change is noticed."""
        path = self.folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BundleError("bundle file cannot be read", path, _reason(error)) from error
        if sha256(data) != self.manifest.files[name]:
            raise BundleError("bundle file was changed after the bundle was opened", path, AGAIN)
        if name.endswith(".onnx") and EXTERNAL_DATA_MARK in data:
            raise BundleError(
                "network keeps weights in another file", path, "export it as one ONNX file"
            )
        return data


def open_bundle(folder: Path, *, resign: bool = False) -> Bundle:
    """Open the bundle in a directory.

    Parameters
    ----------
    resign : ignore the signature, for a caller about to replace it.

    Raises BundleError when a file is missing, unlisted, a link, or differs by a single bit, when a
    signature does not fit, and when this version does not understand the manifest.
    """
    if not folder.is_dir():
        raise BundleError("no bundle there", folder, f"name a directory that holds {MANIFEST}")
    text = _sealed_manifest(folder)
    manifest = _parse(folder / MANIFEST, text)
    _check_files(folder, manifest)
    digest = sha256(text)
    signer = None if resign else read_signature(folder / SIGNATURE, "bundle", digest)
    return Bundle(folder=folder, manifest=manifest, digest=digest, signer=signer)


def _sealed_manifest(folder: Path) -> bytes:
    try:
        text = (folder / MANIFEST).read_bytes()
        seal = (folder / SEAL).read_bytes()
    except OSError as error:
        which = Path(error.filename or folder)
        raise BundleError("bundle file cannot be read", which, _reason(error)) from error
    if seal != f"{sha256(text)}  {MANIFEST}\n".encode():
        raise BundleError("manifest does not match its seal", folder / SEAL, AGAIN)
    return text


def _parse(path: Path, text: bytes) -> Manifest:
    try:
        return Manifest.model_validate(tomllib.loads(text.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BundleError("manifest is not valid TOML", path, str(error)) from error
    except ValidationError as error:
        where, what = first_problem(error)
        mend = f"{where or 'manifest'}: {what}; export the bundle again"
        raise BundleError("manifest not understood", path, mend) from error


def _check_files(folder: Path, manifest: Manifest) -> None:
    expected = {MANIFEST, SEAL, *manifest.files}
    # The signature is made after the seal and covers it, so no digest can list it.
    present = {path.name for path in folder.iterdir()} - {SIGNATURE}
    for name in sorted(present - expected):
        raise BundleError("bundle holds a file its manifest does not list", folder / name, AGAIN)
    for name in sorted(expected - present):
        raise BundleError("bundle file is missing", folder / name, AGAIN)
    for name, digest in manifest.files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise BundleError("bundle file is not a plain file", path, AGAIN)
        try:
            actual = sha256_file(path)
        except OSError as error:
            raise BundleError("bundle file cannot be read", path, _reason(error)) from error
        if actual != digest:
            raise BundleError("bundle file differs from its digest", path, AGAIN)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
