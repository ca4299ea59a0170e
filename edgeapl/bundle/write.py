"""Writes a bundle; the same input gives the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from edgeapl.bundle.digest import sha256, sha256_file
from edgeapl.bundle.load import MANIFEST, SEAL, Bundle, open_bundle
from edgeapl.bundle.manifest import SCHEMA, Manifest
from edgeapl.errors import StorageError


def write_bundle(
    folder: Path, settings: Mapping[str, Any], files: Mapping[str, bytes | Path]
) -> Bundle:
    """Write `bundle.toml`, its seal and all files, then open the result.

    Parameters
    ----------
    folder : must not exist, or be a bundle, which is replaced.
    settings : the whole manifest except ``schema_version`` and ``files``.
    files : file name to content, or to a file to copy, so that no large network is kept in memory.

    Raises StorageError when the folder holds something else or cannot be written, and
    pydantic's ValidationError when the settings are not a manifest.
    """
    digests = {name: _digest(data) for name, data in sorted(files.items())}
    manifest = Manifest.model_validate({"schema_version": SCHEMA, **settings, "files": digests})
    text = tomli_w.dumps(manifest.model_dump(mode="json", exclude_none=True)).encode()
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise StorageError("folder is not a bundle", folder, "name a new folder")
    staging = folder.with_name(folder.name + ".partial")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        for name, data in files.items():
            if isinstance(data, Path):
                shutil.copyfile(data, staging / name)
            else:
                (staging / name).write_bytes(data)
        (staging / MANIFEST).write_bytes(text)
        (staging / SEAL).write_text(f"{sha256(text)}  {MANIFEST}\n")
        open_bundle(staging)
        if folder.exists():
            shutil.rmtree(folder)
        staging.rename(folder)
    except OSError as error:
        raise StorageError("bundle cannot be written", folder, str(error.strerror)) from error
    return open_bundle(folder)


def _digest(data: bytes | Path) -> str:
    return sha256_file(data) if isinstance(data, Path) else sha256(data)
