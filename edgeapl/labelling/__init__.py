"""Cells with what the networks and people call them, written for programs that train and label."""

from __future__ import annotations

from edgeapl.labelling.exporter import ExportedLabels, LabelsRequest, export_labels

__all__ = ["ExportedLabels", "LabelsRequest", "export_labels"]
