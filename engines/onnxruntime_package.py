"""Which package brought the module onnxruntime: two do, and the one installed last is imported."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

STATED = re.compile(r"^(package_name|__version__) *= *['\"]([^'\"]+)['\"]", re.MULTILINE)
WHERE = "capi/build_and_package_info.py"


@dataclass(frozen=True, slots=True)
class Brought:
    """The package whose files are imported: ``onnxruntime`` or ``onnxruntime-gpu``.

    ``nothing`` where the module's folder is there and its files are gone.
    """

    name: str
    version: str


def onnxruntime_package() -> Brought | None:
    """Return what `import onnxruntime` would import, without importing it; None if unknown.

    The list of installed packages names both when both are, whichever overwrote the other.
    """
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None:
        return None
    if spec.origin is None:
        # pip removed the files of one package, which were those of the other as well.
        return Brought("nothing", "")
    try:
        text = (Path(spec.origin).parent / WHERE).read_text("utf-8", "replace")
    except OSError:
        return None
    stated = dict(STATED.findall(text))
    if not {"package_name", "__version__"} <= set(stated):
        return None
    return Brought(stated["package_name"], stated["__version__"])
