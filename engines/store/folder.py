"""A folder of built engines: written whole or not at all, and checked before it is used."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeapl.bundle.digest import sha256, sha256_file
from edgeapl.bundle.signature import ENGINE_SIGNATURE, read_signature
from edgeapl.engines.registry import PLANS, Origin
from edgeapl.engines.store.machine import Device, machine_id
from edgeapl.engines.store.record import RECORD, SEAL, EngineRecord, read_record
from edgeapl.engines.trt.plan import Place, PlanRecord
from edgeapl.errors import EngineError, StorageError
from edgeapl.types import Signer

REBUILD = "build it again with edgeapl build-engine"


@dataclass(frozen=True, slots=True)
class EngineFolder:
    """Engines on disk, all of whose files are as they were built.

    signer : who signed them, verified; None when nobody did.
    digest : SHA-256 (hex) of `engine.json`, which holds the digests of all other files.
    """

    folder: Path
    record: EngineRecord
    signer: Signer | None = None
    digest: str = ""

    def read(self, network: str) -> bytes:
        """Return the bytes of one file, checked again, so that a later change is noticed.

        network : its name, or `CUTTER`.
        """
        built = self.record.files[network]
        path = self.folder / built.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise EngineError(
                "engine cannot be read", path, f"{error.strerror}: {REBUILD}"
            ) from error
        if sha256(data) != built.sha256:
            raise EngineError("engine was changed since it was built", path, REBUILD)
        return data

    def origin(self, network: str) -> Origin | None:
        """Return where a plan comes from; None for an ONNX file, which any runtime may read."""
        built, there = self.record.files[network], self.record.built_for
        if not built.file.endswith(".plan"):
            return None
        place = Place(there.library, there.version, there.device, there.capability, there.machine)
        return Origin(PlanRecord(built.sha256, built.size, place), machine_id(), there.number)


def write_engines(
    folder: Path,
    record: EngineRecord,
    files: Mapping[str, Path],
    check: Callable[[EngineFolder], None] | None = None,
) -> EngineFolder:
    """Write engines: all of them, or nothing.

    Parameters
    ----------
    folder : new, empty, or engines that are replaced. files : name to a file that is moved.
    check : called before the folder is replaced; when it raises, nothing changes.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / RECORD).is_file():
        raise StorageError("folder holds something else than engines", folder, "name a new one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, path in files.items():
            shutil.move(path, staging / name)
        text = record.text()
        (staging / RECORD).write_bytes(text)
        (staging / SEAL).write_text(f"{sha256(text)}  {RECORD}\n", encoding="ascii")
        staged = open_engines(staging)
        if check is not None:
            check(staged)
        staging.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        staging.replace(folder)
    except OSError as error:
        raise StorageError("engines cannot be written", folder, str(error.strerror)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return open_engines(folder)


def open_engines(folder: Path, *, resign: bool = False) -> EngineFolder:
    """Open a folder of engines; nothing in it is loaded yet.

    resign : ignore their signature, which is about to be replaced.

    Raises EngineError when a file is missing, surplus or differs by a single bit, or a signature
    does not fit.
    """
    try:
        text = (folder / RECORD).read_bytes()
        seal = (folder / SEAL).read_bytes()
    except OSError as error:
        which = error.filename or folder
        raise EngineError("no engines there", which, f"{error.strerror}: {REBUILD}") from error
    if seal != f"{sha256(text)}  {RECORD}\n".encode():
        raise EngineError("record of engines does not match its seal", folder / SEAL, REBUILD)
    record = read_record(text, str(folder / RECORD), REBUILD)
    expected = {RECORD, SEAL, *(built.file for built in record.files.values())}
    present = {path.name for path in folder.iterdir()} - {ENGINE_SIGNATURE}
    for name in sorted(present ^ expected):
        what = "is missing" if name in expected else "was not built here"
        raise EngineError(f"a file of the engines {what}", folder / name, REBUILD)
    for built in record.files.values():
        path = folder / built.file
        if path.is_symlink() or not path.is_file():
            raise EngineError("engine is not a plain file", path, REBUILD)
        if path.stat().st_size != built.size:
            text_size = f"{path.stat().st_size} of {built.size} bytes: {REBUILD}"
            raise EngineError("engine has another size than when it was built", path, text_size)
        if sha256_file(path) != built.sha256:
            raise EngineError("engine was changed since it was built", path, REBUILD)
    path = folder / ENGINE_SIGNATURE
    digest = sha256(text)
    signer = None if resign else read_signature(path, "engines", digest)
    return EngineFolder(folder, record, signer, digest)


def check_fits(engines: EngineFolder, bundle: str, version: str, device: Device) -> None:
    """Raise EngineError unless engines are of this bundle, library, device and machine.

    Parameters
    ----------
    bundle : digest of the bundle. version : of the runtime that is installed here.
    """
    record, there = engines.record, engines.record.built_for
    differences = [
        ("engines are of another bundle", record.bundle[:16], bundle[:16]),
        ("engines were not built on this machine", there.machine[:16], machine_id()[:16]),
        ("engines are for another version of the runtime", there.version, version),
    ]
    if there.device or record.target not in PLANS:
        differences += [
            ("engines are for another device", there.device, device.name),
            ("engines are for another capability", there.capability, device.capability),
        ]
    elif not device.name:
        raise EngineError("engines need a GPU", engines.folder, "none can be used here")
    elif there.capabilities and device.capability not in there.capabilities:
        wanted = ", ".join(there.capabilities)
        differences.append(("engines are for other GPUs", wanted, device.capability))
    for what, then, now in differences:
        if then != now:
            text = f"built for {then or 'none'}, here {now or 'none'}: {REBUILD}"
            raise EngineError(what, engines.folder, text)
