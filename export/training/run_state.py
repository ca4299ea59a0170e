"""The state of a training on disk: whole or not at all, whenever the process ends."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgeapl.errors import StorageError, UsageError

SCHEMA = 1


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader finds the old one or the new one. Raises StorageError."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or "unknown reason"
        mend = "make room or name another --out"
        raise StorageError(f"cannot be written ({reason})", path, mend) from error


def tensor_bytes(content: Mapping[str, Any]) -> bytes:
    """Return what torch.save writes of tensors and plain values."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class StateFile:
    """Where one round's state lies.

    run : digest of settings and images: a state of another training is refused.
    """

    path: Path
    run: str

    def write(self, content: Mapping[str, Any]) -> None:
        """Write tensors and plain values. Raises StorageError."""
        write_whole(self.path, tensor_bytes({"schema": SCHEMA, "run": self.run, **content}))

    def read(self) -> dict[str, Any] | None:
        """Return what was written; None when there is nothing.

        Raises UsageError when it is of another training, StorageError when it cannot be read.
        """
        mend = "name another --out, or remove it"
        try:
            data = self.path.read_bytes()
            found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise StorageError("state cannot be read", self.path, mend) from error
        if found.get("schema") != SCHEMA or found.get("run") != self.run:
            raise UsageError("folder holds another training", self.path.parent, mend)
        return dict(found)
