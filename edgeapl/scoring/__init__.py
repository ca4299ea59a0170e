"""Score a folder: one committed verdict per slide, resumable, with a report for each."""

from __future__ import annotations

from edgeapl.scoring.folder import score_folder
from edgeapl.scoring.joint_tables import JointTables
from edgeapl.scoring.part import Part
from edgeapl.scoring.request import ScoreListener, ScoreRequest, ScoreResult

__all__ = ["JointTables", "Part", "ScoreListener", "ScoreRequest", "ScoreResult", "score_folder"]
