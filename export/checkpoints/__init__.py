"""Read checkpoints from outside: files are hostile until their tensors have been checked."""

from __future__ import annotations

from edgeapl.export.checkpoints.loading import load_into
from edgeapl.export.checkpoints.reading import Checkpoint, read_checkpoint

__all__ = ["Checkpoint", "load_into", "read_checkpoint"]
