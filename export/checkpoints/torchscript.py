"""Extracts the tensors of a TorchScript archive without loading it as a program.

``torch.jit.load`` compiles the code in the archive and runs its ``__setstate__``. Only the tensors
are wanted, so the archive's pickle is read with everything but tensors replaced by empty shells.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from edgeapl.errors import BundleError
from edgeapl.export.checkpoints.file_formats import AGAIN, DAMAGE, SAVE

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


MOST_PARTS = 100_000
"""Most modules and attributes; a module that holds itself would never end. ResNet-152: 2,000."""


class _Shell:
    """Stands for a module of the archive: holds its attributes, runs nothing."""

    def __init__(self, *_: object) -> None:
        self.parts: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if isinstance(state, Mapping):
            self.parts = dict(state)


class _Reader(pickle.Unpickler):
    """Knows tensors, storages and shells; every other name is refused."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}/data.pkl")))
        self._archive = archive
        self._root = root
        self._storages: dict[str, torch.Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for a name in the pickle."""
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return _tensor
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if module == "collections" and name == "OrderedDict":
            return OrderedDict
        if module.startswith("__torch__"):
            return _Shell
        # These mark lists and dictionaries with their type.
        if module == "torch.jit._pickle" and name.startswith(("build_", "restore_type_tag")):
            return _same
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """Return a storage as a flat tensor."""
        _, dtype, key, _, count = pid
        if key in self._storages:  # tensors share memory; a storage is read only once
            return self._storages[key]
        data = self._archive.read(f"{self._root}/data/{key}")
        size = torch.empty(0, dtype=dtype).element_size()
        if len(data) < int(count) * size:
            raise pickle.UnpicklingError(f"storage {key} is too short")
        flat = bytearray(data)
        kept = torch.frombuffer(flat, dtype=dtype) if flat else torch.empty(0, dtype=dtype)
        return self._storages.setdefault(key, kept)


def _same(value: object, *_: object) -> object:
    return value


def _tensor(
    storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> torch.Tensor:
    return torch.as_strided(storage, size, stride, offset)


def torchscript_tensors(path: Path, data: bytes) -> dict[str, torch.Tensor]:
    """Return all tensors of a TorchScript module by their dotted names.

    Raises BundleError when the archive is damaged or holds anything else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            root = next(
                name.removesuffix("/data.pkl")
                for name in archive.namelist()
                if name.endswith("/data.pkl") and name.count("/") == 1
            )
            if f"{root}/byteorder" in archive.namelist():
                order = archive.read(f"{root}/byteorder")
                if order != b"little":
                    raise pickle.UnpicklingError(f"byte order {order[:8]!r}")
            return _tensors(_Reader(archive, root).load())
    except pickle.UnpicklingError as error:
        what = f"TorchScript archive holds more than a module ({str(error)[:80]!a})"
        raise BundleError(what, path, SAVE) from error
    except DAMAGE as error:
        raise BundleError("TorchScript archive is damaged", path, AGAIN) from error


def _tensors(module: object) -> dict[str, torch.Tensor]:
    """Name all tensors of a module and of its submodules."""
    found: dict[str, torch.Tensor] = {}
    waiting: list[tuple[str, object]] = [("", module)]
    seen = 0
    while waiting:
        name, value = waiting.pop()
        seen += 1
        if seen > MOST_PARTS:
            raise pickle.UnpicklingError("modules without end")
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, _Shell):
            parts = list(value.parts.items())
            waiting += [(f"{name}.{part}" if name else str(part), v) for part, v in reversed(parts)]
    return found
