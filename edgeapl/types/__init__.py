"""The values that flow through the pipeline, validated when they are made.

Every array is a numpy array; shapes are written (rows, columns). Values are frozen: a stage
returns a new one and never changes what it was given. Array fields are compared by identity.
"""

from __future__ import annotations

from edgeapl.types.arrays import Float32, Int32, Int64, UInt8, UInt16
from edgeapl.types.cells import CellScores, CellStatus, Detections
from edgeapl.types.colours import Colours
from edgeapl.types.counts import Interval, RoleCount, Tally
from edgeapl.types.examined_frame import ExaminedFrame
from edgeapl.types.frame import Frame, Remark, ScaleOrigin
from edgeapl.types.origin import UNSIGNED, Certificate, Limits, Origin, Signer, signer_text
from edgeapl.types.tiles import Tiles, TileState
from edgeapl.types.verdict import (
    NOT_NOTED,
    Decision,
    Figures,
    Look,
    RaisedFlag,
    Reason,
    Verdict,
    raised_flag,
)

__all__ = [
    "NOT_NOTED",
    "UNSIGNED",
    "CellScores",
    "CellStatus",
    "Certificate",
    "Colours",
    "Decision",
    "Detections",
    "ExaminedFrame",
    "Figures",
    "Float32",
    "Frame",
    "Int32",
    "Int64",
    "Interval",
    "Limits",
    "Look",
    "Origin",
    "RaisedFlag",
    "Reason",
    "Remark",
    "RoleCount",
    "ScaleOrigin",
    "Signer",
    "Tally",
    "TileState",
    "Tiles",
    "UInt8",
    "UInt16",
    "Verdict",
    "raised_flag",
    "signer_text",
]
