"""Reads named tensors from a file without running anything in it."""

from __future__ import annotations

import io
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from edgeapl.bundle.digest import sha256
from edgeapl.errors import BundleError
from edgeapl.export.checkpoints.file_formats import (
    AGAIN,
    DAMAGE,
    OF_TENSORFLOW,
    SAVE,
    ZIP_START,
    Kind,
    kind_of,
    some,
)
from edgeapl.export.checkpoints.keras_file import Layer, keras_layers
from edgeapl.export.checkpoints.torchscript import torchscript_tensors
from edgeapl.export.checkpoints.unwrap import unwrap
from edgeapl.export.checkpoints.zip_integrity import check_integrity

Tensors = Mapping[str, torch.Tensor]
KerasReader = Callable[[Sequence[Layer]], Tensors]

FORCED = ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
"""Variables that change torch.load for callers that do not set weights_only (torch 2.13)."""

PART = re.compile(r"-\d{5}-of-\d{5}\.\w+$|\.index\.json$")
"""Names of the parts, and of their index, into which large checkpoints are split."""

ONLY_WEIGHTS = (
    "save model.state_dict() alone; without the training program, and if you trust the file: "
    "d = torch.load(FILE, weights_only=False), then torch.save of the state_dict in d"
)

MOST_ELEMENTS = 8
"""Elements per byte of the file. One byte holds at most one; the rest allows for tensors that share
memory. More occurs only in files that repeat a few numbers to fill the machine's memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The contents of a file.

    tensors : name to tensor, on the CPU, floats as float32, all finite.
    extra : what modules store beside tensors (``_extra_state``), as in the file.
    versions : names of modules to the version of the code that wrote them, by which loading
        recognises old files.
    place : keys under which the tensors are in the file.
    digest : SHA-256 (hex) of the file's bytes.
    kind : ``state-dict``, ``safetensors``, ``torchscript``, ``archive`` or ``keras``.
    notes : what was unwrapped or converted.
    """

    tensors: Tensors
    digest: str
    kind: str
    notes: tuple[str, ...]
    extra: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    place: tuple[str, ...] = ()


def read_checkpoint(
    path: Path,
    *,
    key: str | None = None,
    trust_archive: bool = False,
    keras: KerasReader | None = None,
) -> Checkpoint:
    """Read a checkpoint: bytes, then SHA-256, then tensors.

    Parameters
    ----------
    path : the file; ``FILE#key`` selects one of several state_dicts in it.
    key : the same, if `path` does not contain it.
    trust_archive : allow ``.pt2`` archives of torch.export, which can run code when loaded.
    keras : makes torch's tensors from Keras' layers; without it, Keras files are refused.

    Pickles are read with ``weights_only=True``, which allows tensors and plain containers and
    calls nothing else; the environment cannot turn that off, because it is always passed
    explicitly. Raises BundleError that says what is wrong with the file.
    """
    file, named = file_and_key(path)
    key = named if named is not None else key
    data = _bytes(file)
    digest = sha256(data)
    kind = kind_of(path, data)
    if kind is not Kind.SAFETENSORS and data.startswith(ZIP_START):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_integrity(path, archive)
    if kind is Kind.SAFETENSORS:
        loaded: object = _safetensors(path, data)
    elif kind is Kind.TORCHSCRIPT:
        loaded = torchscript_tensors(path, data)
    elif kind is Kind.KERAS:
        loaded = _keras(path, data, keras)
    elif kind is Kind.ARCHIVE:
        loaded = _archive(path, data, trust=trust_archive)
    else:
        loaded = _pickle(path, data)
    found = unwrap(file, loaded, key)
    checked, converted = _checked(path, found.tensors, MOST_ELEMENTS * len(data))
    notes = (*found.notes, *converted)
    return Checkpoint(checked, digest, kind.value, notes, found.extra, found.versions, found.place)


def file_and_key(path: Path) -> tuple[Path, str | None]:
    """Split ``FILE#key``; a file or folder whose own name has a ``#`` stays whole."""
    name, mark, key = path.name.partition("#")
    if not mark or path.exists():
        return path, None
    return path.with_name(name or "."), key


def _bytes(path: Path) -> bytes:
    if (path / "saved_model.pb").is_file():
        raise BundleError("this is a TensorFlow SavedModel", path, OF_TENSORFLOW)
    if (path / ".metadata").is_file():
        mend = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pt"
        raise BundleError("checkpoint is one of torch.distributed, in parts", path, mend)
    if path.is_dir():
        raise BundleError("checkpoint is a folder", path, "name the file in it")
    if PART.search(path.name) is not None:
        mend = "put the tensors of all of them into one dict, and save it with safetensors or torch"
        raise BundleError("checkpoint is one of several parts", path, mend)
    if path.exists() and not path.is_file():
        # A pipe or a device may never end.
        raise BundleError("checkpoint is not a regular file", path, "copy it into a file first")
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        mend = "check its name and who may read it"
        raise BundleError(f"checkpoint cannot be read ({reason})", path, mend) from error


def _keras(path: Path, data: bytes, keras: KerasReader | None) -> object:
    if keras is None:
        raise BundleError(
            "this is a Keras file, and the recipe reads none",
            path,
            "copy its arrays into the PyTorch module, kernels as (out, in, height, width), save "
            "its state_dict; eckardt2022 and manescu2023 read Keras' Xception and VGG-19",
        )
    return dict(keras(keras_layers(path, data, MOST_ELEMENTS * len(data))))


def _pickle(path: Path, data: bytes) -> object:
    # torch refuses to load anything while both are set, which is not the file's fault.
    if all(os.environ.get(name, "0").lower() in ("1", "y", "yes", "true") for name in FORCED):
        raise BundleError("torch is told two things", " and ".join(FORCED), "unset one of them")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about storages and formats of old files
        try:
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise BundleError(
                _more(error), path, f"nothing of it was run; {ONLY_WEIGHTS}"
            ) from error
        except DAMAGE as error:
            raise BundleError("checkpoint is cut off or damaged", path, AGAIN) from error


def _more(error: pickle.UnpicklingError) -> str:
    """Return what a file holds beside weights, if torch says where it stopped."""
    # In torch 2.6 to 2.13: "Unsupported global: GLOBAL argparse.Namespace was not an allowed ..."
    found = re.search(r"GLOBAL ([\w.]{1,80})", str(error))
    return "checkpoint holds more than weights" + (f" ({found[1]})" if found else "")


def _safetensors(path: Path, data: bytes) -> object:
    try:
        return load_safetensors(data)
    except (SafetensorError, *DAMAGE) as error:
        raise BundleError("checkpoint is cut off or damaged", path, AGAIN) from error


def _archive(path: Path, data: bytes, *, trust: bool) -> object:
    if not trust:
        raise BundleError(
            "this is an archive of torch.export, and loading one can run code",
            path,
            "if you know who made it, give --trust-archive; better: save the state_dict",
        )
    try:
        return dict(torch.export.load(io.BytesIO(data)).state_dict)
    except (pickle.UnpicklingError, *DAMAGE) as error:
        raise BundleError("archive is damaged, or of another torch", path, AGAIN) from error


def _checked(path: Path, tensors: Tensors, most: int) -> tuple[Tensors, list[str]]:
    """Convert all floats to float32, and refuse what cannot be weights."""
    if sum(tensor.numel() for tensor in tensors.values()) > most:
        raise BundleError("tensors are far larger than their file", path, SAVE)
    made: dict[str, torch.Tensor] = {}
    converted: dict[str, int] = {}
    odd, wild = [], []
    for name, tensor in tensors.items():
        plain = tensor.layout is torch.strided and not tensor.is_quantized
        if not plain or tensor.is_complex() or tensor.is_meta:
            odd.append(name)
        elif tensor.is_floating_point():
            if tensor.dtype is not torch.float32:
                converted[str(tensor.dtype)] = converted.get(str(tensor.dtype), 0) + 1
            made[name] = tensor.detach().to(torch.float32)
            if not bool(torch.isfinite(made[name]).all()):
                wild.append(name)
        else:
            made[name] = tensor
    for names, what in ((odd, "sparse, quantised, complex or without data"), (wild, "not finite")):
        if names:
            raise BundleError(f"weights are {what}", path, some(names))
    notes = [f"{count} tensors of {kind} made float32" for kind, count in converted.items()]
    return made, notes
