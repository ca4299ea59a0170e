"""TensorRT's real Python bindings on a machine without TensorRT: libraries with nothing in them.

The binding wheels (``tensorrt-cu12-bindings`` ...) hold the whole Python API and link against
libraries that come from elsewhere. Here those are made with gcc: each function that the
bindings need is there and says no, as TensorRT does where there is no GPU. What the API has,
and what our code makes of a refusal, can so be seen for every version.

The wheels are looked for in the folders of ``$EDGEAPL_TEST_TENSORRT``, one version in each:

    pip install --no-deps --only-binary :all: --target DIR/10.3 tensorrt-cu12-bindings==10.3.0
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.probing import environment

VARIABLE = "EDGEAPL_TEST_TENSORRT"
TOOLS = ("gcc", "nm", "objdump")
REFUSAL = "no GPU here"

REFUSES = """
void *{name}(void *logger, int version) {{
    /* ILogger::log(Severity, char const *) is the first of an ILogger's functions in TensorRT 10,
       the fifth in 11, where it became a versioned interface; 1 is ERROR. */
    int place = version < 110000 ? 0 : 4;
    char text[80];
    snprintf(text, sizeof text, "{name}:\\n {refusal} (%d)", version);
    (*(void (***)(void *, int, char const *))logger)[place](logger, 1, text);
    return 0;
}}
"""
NOTHING = "void *{name}(void) {{ return 0; }}\n"


def installed_bindings() -> tuple[list[Path], str]:
    """Find the folders with bindings; without any, the second value says why."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return [], f"not installed: {', '.join(missing)}"
    folder = os.environ.get(VARIABLE)
    if not folder:
        return [], f"no TensorRT bindings: set {VARIABLE} as tests/trt_stubs.py says"
    found = sorted(Path(folder).glob("*/tensorrt_bindings/tensorrt*.so"))
    if not found:
        return [], f"no TensorRT bindings in ${VARIABLE}"
    return [path.parent.parent for path in found], ""


def stub_libraries(bindings: Path, folder: Path) -> dict[str, str]:
    """Make what the bindings link against; gives the environment in which to import them.

    There they are called ``tensorrt``, as in the packages of JetPack.
    """
    package = bindings / "tensorrt_bindings"
    (binary,) = package.glob("tensorrt*.so")
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "stub.c"
    source.write_text(_source(unmet(binary)), "utf-8")
    for name in needed(binary):
        options = ["-shared", "-fPIC", "-Wall", "-Werror", f"-Wl,-soname,{name}"]
        _run(["gcc", *options, "-o", str(folder / name), str(source)])
    libraries = {"LD_LIBRARY_PATH": str(folder)}
    return {**as_tensorrt(bindings, folder / "packages"), **libraries}


def as_tensorrt(bindings: Path, folder: Path) -> dict[str, str]:
    """Give the environment in which the bindings are found, and not what they link against."""
    folder.mkdir(parents=True)
    package = bindings / "tensorrt_bindings"
    (folder / "tensorrt").symlink_to(package, target_is_directory=True)
    return environment(folder)


def needed(binary: Path) -> list[str]:
    """Libraries of NVIDIA that the bindings ask the loader for."""
    return re.findall(r"NEEDED\s+(libnv\S+)", _run(["objdump", "-p", str(binary)]))


def unmet(binary: Path) -> list[str]:
    """Functions that the bindings need and neither Python nor the C library has."""
    here = ctypes.CDLL(None)
    listed = re.findall(r" U (\S+)$", _run(["nm", "-D", str(binary)]), re.MULTILINE)
    return [name for name in listed if "@" not in name and not hasattr(here, name)]


def _source(functions: list[str]) -> str:
    parts = ["#include <stdio.h>\n"]
    for name in functions:
        refuses = re.fullmatch(r"createInfer(Builder|Runtime)_INTERNAL", name)
        parts.append((REFUSES if refuses else NOTHING).format(name=name, refusal=REFUSAL))
    return "".join(parts)


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
