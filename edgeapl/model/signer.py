"""Sign a bundle that passes its self-test, or engines that are whole."""

from __future__ import annotations

from pathlib import Path

from edgeapl.bundle.keys import PrivateKey
from edgeapl.bundle.signature import ENGINE_SIGNATURE, SIGNATURE, write_signature
from edgeapl.engines.store.folder import open_engines
from edgeapl.errors import UsageError
from edgeapl.model import is_embedded
from edgeapl.model.opener import open_model
from edgeapl.model.request import ModelRequest
from edgeapl.model.trial import try_out
from edgeapl.types import Signer


def sign_bundle(folder: Path, key: PrivateKey, signer: str) -> Signer:
    """Put a signature into a bundle; one that was there is replaced.

    Raises BundleError or EngineError when the bundle is damaged or fails its self-test.
    """
    if is_embedded(folder):
        raise UsageError(
            "the embedded bundle is part of the program", folder, "sign a bundle of your own"
        )
    try_out(folder, resign=True)
    with open_model(ModelRequest(folder, resign=True)) as model:
        bundle = model.bundle
    manifest = bundle.manifest
    return write_signature(
        folder / SIGNATURE,
        key,
        signs="bundle",
        digest=bundle.digest,
        name=manifest.name,
        version=manifest.version,
        signer=signer,
    )


def sign_engines(folder: Path, key: PrivateKey, signer: str) -> Signer:
    """Put a signature into a folder of engines; one that was there is replaced."""
    engines = open_engines(folder, resign=True)
    return write_signature(
        folder / ENGINE_SIGNATURE,
        key,
        signs="engines",
        digest=engines.digest,
        name=engines.record.bundle_name,
        version=engines.record.precision,
        signer=signer,
    )
