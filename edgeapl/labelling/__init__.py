"""Cells with the classes that networks and people gave them, exported for other programs."""

from __future__ import annotations

from edgeapl.labelling.exporter import ExportedLabels, LabelsRequest, export_labels

__all__ = ["ExportedLabels", "LabelsRequest", "export_labels"]
