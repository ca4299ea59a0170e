"""Take the tensors out of a TorchScript archive without loading it as a program.

``torch.jit.load`` compiles the code in the archive and runs its ``__setstate__``. Only the tensors
are wanted, so the archive's pickle is read with everything but tensors replaced by empty shells.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from edgeapl.errors import BundleError
from edgeapl.export.checkpoints.kinds import AGAIN, DAMAGE

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

    def find_class(self, module: str, name: str) -> Any:
        """Give what stands for a name in the pickle."""
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return _tensor
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if module == "collections" and name == "OrderedDict":
            return OrderedDict
        if module.startswith("__torch__"):
            return _Shell
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return _same
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """Give a storage as a flat tensor."""
        _, dtype, key, _, count = pid
        data = self._archive.read(f"{self._root}/data/{key}")
        size = torch.empty(0, dtype=dtype).element_size()
        if len(data) < int(count) * size:
            raise pickle.UnpicklingError(f"storage {key} is too short")
        return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0)


def _same(value: object, *_: object) -> object:
    return value


def _tensor(
    storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> torch.Tensor:
    return torch.as_strided(storage, size, stride, offset).clone()


def torchscript_tensors(path: Path, data: bytes) -> dict[str, torch.Tensor]:
    """Give all tensors of a TorchScript module by their dotted names.

    Raises BundleError when the archive is damaged or holds anything else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            root = next(
                name.removesuffix("/data.pkl")
                for name in archive.namelist()
                if name.endswith("/data.pkl") and name.count("/") == 1
            )
            module = _Reader(archive, root).load()
    except pickle.UnpicklingError as error:
        raise BundleError(
            "TorchScript archive holds more than a module", path, str(error)
        ) from error
    except DAMAGE as error:
        raise BundleError("TorchScript archive is damaged", path, AGAIN) from error
    tensors: dict[str, torch.Tensor] = {}
    _collect(module, "", tensors.__setitem__)
    return tensors


def _collect(value: object, name: str, keep: Callable[[str, torch.Tensor], None]) -> None:
    if isinstance(value, torch.Tensor):
        keep(name, value)
    elif isinstance(value, _Shell):
        for part, inner in value.parts.items():
            _collect(inner, f"{name}.{part}" if name else part, keep)
