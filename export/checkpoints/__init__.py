"""Read checkpoints from outside: files are hostile until their tensors have been checked."""

from __future__ import annotations

from edgeapl.export.checkpoints.fit import Choice
from edgeapl.export.checkpoints.loading import Loaded, load_into
from edgeapl.export.checkpoints.reading import Checkpoint, read_checkpoint

__all__ = ["Checkpoint", "Choice", "Loaded", "load_into", "read_checkpoint"]
