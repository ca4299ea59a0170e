"""Checks this machine: what is installed, what works, what is missing."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from edgeapl import __version__
from edgeapl.bundle.trust import Trust
from edgeapl.engines.registry import available_targets
from edgeapl.engines.store.local_target import module_version
from edgeapl.engines.trt.library import MODULES
from edgeapl.errors import EdgeAplError
from edgeapl.installation import compare_with_archive
from edgeapl.journal import verify
from edgeapl.model import ModelRequest, open_model
from edgeapl.model.trial import try_out
from edgeapl.sources.formats import optional_formats
from edgeapl.types import signer_text
from edgeapl.wording.numbers import plural

BASE_PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "tifffile",
    "imagecodecs",
    "pillow",
    "onnxruntime",
    "typer",
    "rich",
    "pydantic",
    "jinja2",
    "cryptography",
)
EXTRA_PACKAGES = {
    "torch": "export",
    "onnx": "export",
    "openvino": "openvino",
    "tensorrt": "tensorrt-cu13",
    "tensorrt_rtx": "rtx",
    "cuda-bindings": "rtx",
    "onnxruntime-gpu": "onnxruntime-cuda",
    "pycuda": "pycuda",
    "fastapi": "page",
    "pillow-heif": "formats",
    "nd2": "formats",
    "czifile": "formats",
    "liffile": "formats",
    "openslide-python": "slides",
    "av": "cameras",
    "pymmcore-plus": "cameras",
}

# Names in /proc/cpuinfo (x86 "flags", Arm "Features") and what they are good for.
CPU_FEATURES = {
    "avx2": "FP32 at full speed",
    "avx512f": "wider FP32",
    "avx512_vnni": "INT8 dot products",
    "avx_vnni": "INT8 dot products",
    "amx_int8": "INT8 matrix tiles",
    "avx512_bf16": "bfloat16",
    "amx_bf16": "bfloat16 matrix tiles",
    "asimd": "FP32 on Arm",
    "asimddp": "INT8 dot products on Arm",
    "i8mm": "INT8 matrix products on Arm",
}
INT8_FEATURES = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")

LOW_DISK_BYTES = 1 << 30
"""Below this the disk counts as short: about 500 overlay pictures of 2 MB."""


class Health(str, Enum):
    """The result of a check."""

    OK = "ok"
    NOTE = "note"  # missing, but nothing of the base needs it
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One check. exit_code : of the command, if this is a problem."""

    name: str
    health: Health
    detail: str
    exit_code: int = 0


def examine_machine(
    bundle: Path, journal: Path, results: Path, trust: Trust | None = None
) -> tuple[Check, ...]:
    """Run all checks; nothing is created or changed.

    trust : what the station asks of its bundle.
    """
    return (
        Check("edgeapl", Health.OK, f"{__version__}, Python {platform.python_version()}"),
        *_packages(),
        _formats(),
        _cpu(),
        _memory(),
        _cuda_driver(),
        *_targets(),
        _bundle(bundle, trust),
        _disk("results folder", results),
        _journal(journal),
    )


def examine_installation(archive: Path) -> tuple[Check, ...]:
    """Compare what is installed with an unpacked archive of ``deploy/wheelhouse/make``.

    Raises InputError when `archive` is no such archive.
    """
    packages, deviations = compare_with_archive(archive)
    wrong = tuple(Check(d.package, Health.PROBLEM, d.detail, 1) for d in deviations)
    text = f"{packages - len(deviations)} of {packages} packages are as in {archive}"
    health = Health.PROBLEM if wrong else Health.OK
    return (*wrong, Check("installation", health, text, 1 if wrong else 0))


def _packages() -> Iterator[Check]:
    for name in BASE_PACKAGES:
        version = _version(name)
        if name == "onnxruntime" and version is None:
            version = _version("onnxruntime-gpu")
        if version is None:
            yield Check(name, Health.PROBLEM, "missing: pip install edgeapl", 2)
        else:
            yield Check(name, Health.OK, version)
    for name, extra in EXTRA_PACKAGES.items():
        version = _version(name)
        missing = f"not installed: pip install 'edgeapl[{extra}]'"
        yield Check(name, Health.OK if version else Health.NOTE, version or missing)


def _formats() -> Check:
    """Check which images can be read."""
    missing = optional_formats.missing()
    every = (*optional_formats.ALWAYS, *optional_formats.BY_MODULE.values())
    read = ", ".join(called for called in every if called not in missing)
    if missing:
        text = f"{read}; not {', '.join(missing)}: {optional_formats.EXTRA}"
        return Check("image formats", Health.NOTE, text)
    return Check("image formats", Health.OK, read)


def _version(package: str) -> str | None:
    if package in MODULES.values():
        return module_version(package)
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> Check:
    flags = _cpu_flags()
    have = [f"{name} ({use})" for name, use in CPU_FEATURES.items() if name in flags]
    cores = f"{os.cpu_count()} cores, {platform.machine()}"
    if not flags:
        return Check("cpu", Health.NOTE, f"{cores}; features unknown on {sys.platform}")
    if not any(name in flags for name in INT8_FEATURES):
        text = f"{cores}; no INT8 dot products: INT8 may be slower than FP32; {', '.join(have)}"
        return Check("cpu", Health.NOTE, text)
    return Check("cpu", Health.OK, f"{cores}; {', '.join(have)}")


def _cpu_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _memory() -> Check:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return Check("memory", Health.NOTE, "free memory unknown on this system")
    return Check("memory", Health.OK, f"{free / 2**30:.1f} GiB free")


def _cuda_driver() -> Check:
    """Check the NVIDIA driver only: its libraries are imported by their backends alone."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Check("nvidia driver", Health.NOTE, "none: networks run on the CPU")
    return Check("nvidia driver", Health.OK, "present")


def _targets() -> Iterator[Check]:
    """Check which engines can be built and run here; only onnxruntime is required."""
    for found in available_targets():
        name = f"target {found.target}"
        if not found.run:
            yield Check(name, Health.OK, "engines can be built and run")
        elif not found.build:
            yield Check(name, Health.NOTE, f"engines can be built, not run: {found.run}")
        else:
            yield Check(name, Health.NOTE, found.build)


def _bundle(folder: Path, trust: Trust | None) -> Check:
    try:
        try_out(folder, trust, remember=False)
        with open_model(ModelRequest(folder, trust=trust)) as model:
            manifest = model.bundle.manifest
            text = f"{manifest.name} {manifest.version} passes its self-test in {model.runtime}"
            text += f"; signed by: {signer_text(model.bundle.signer)}"
    except EdgeAplError as error:
        return Check("bundle", Health.PROBLEM, str(error), error.exit_code)
    return Check("bundle", Health.OK, text)


def _disk(name: str, folder: Path) -> Check:
    existing = _existing(folder)
    free = shutil.disk_usage(existing).free
    text = f"{folder}: {free / 2**30:.1f} GiB free"
    if not os.access(existing, os.W_OK):
        return Check(name, Health.PROBLEM, f"{existing} is not writable: choose another", 5)
    if free < LOW_DISK_BYTES:
        return Check(name, Health.PROBLEM, f"{text}: make room", 5)
    return Check(name, Health.OK, text)


def _journal(path: Path) -> Check:
    room = _disk("journal", path.parent)
    traces = path.parent.glob(f"{path.name}*") if path.parent.is_dir() else ()
    if room.health is not Health.OK or not any(traces):
        return room
    try:
        report = verify(path)
    except EdgeAplError as error:
        return Check("journal", Health.PROBLEM, str(error), error.exit_code)
    if report.problems:
        text = f"{path}: {plural(len(report.problems), 'problem')}: see edgeapl journal verify"
        return Check("journal", Health.PROBLEM, text, 5)
    return Check(
        "journal", Health.OK, f"{path}: {plural(report.rows, 'row')}, chain intact, writable"
    )


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
