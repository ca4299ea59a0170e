"""What is to be examined: slides, one after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from edgeapl.pipeline.options import Observer, SlideOptions, SlideOutcome
from edgeapl.protocols import FrameSource

Barrier: TypeAlias = Callable[[], None]
"""Stands among the slides; called when all before it have their verdicts."""


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, eq=False)
class SlideJob:
    """One slide of several.

    slide : identifier that the verdict will carry.
    source : supplies the frames; closed by its owner.
    options, observer : how to examine it, and whom to tell.
    on_begin : called before anything else is reported about this slide.
    on_outcome : called with its verdict, after that of every slide before it.
    """

    slide: str
    source: FrameSource
    options: SlideOptions
    observer: Observer
    on_begin: Callable[[], None] = field(default=_nothing)
    on_outcome: Callable[[SlideOutcome], None] = field(default=lambda outcome: None)
