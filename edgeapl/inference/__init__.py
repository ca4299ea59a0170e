"""Run the cell networks: one scheduler, with an executor for CPUs and one for devices."""

from __future__ import annotations

from edgeapl.inference.classification import classify, scheduler_for
from edgeapl.inference.result import InferenceResult
from edgeapl.inference.scheduler import Scheduler

__all__ = ["InferenceResult", "Scheduler", "classify", "scheduler_for"]
