"""Whether a plan may be loaded: checked on its bytes and its record, before it is deserialised.

A plan is code for one GPU. One that was made elsewhere, changed since, or made for another
library or GPU is refused here, and the library never sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeapl.bundle.digest import sha256
from edgeapl.errors import EngineError

REBUILD = "build it again with edgeapl build-engine"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a plan was built, or is to run.

    library, version : of TensorRT, e.g. ``"tensorrt-rtx"``, ``"1.7.1.116"``.
    device : the GPU's name; compute_capability : e.g. ``"8.9"``. Both are empty of a plan that was
    built without a GPU: the library then says whether it fits the one here.
    machine : stable id of the machine.
    """

    library: str
    version: str
    device: str
    compute_capability: str
    machine: str


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """The record of a plan, written when it was built.

    sha256 : hex, of its bytes; size : bytes; place : where it was built.
    """

    sha256: str
    size: int
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class StoredPlan:
    """A plan as it was built, and the GPU that is to run it.

    target : ``tensorrt`` or ``tensorrt-rtx``.
    name : what messages call it. data : its bytes.
    record : written when it was built.
    machine : id of this machine. device : number of the GPU.
    """

    target: str
    name: str
    data: bytes
    record: PlanRecord
    machine: str
    device: int = 0


def record_of(plan: bytes, place: Place) -> PlanRecord:
    """Return the record of a plan that was just built."""
    return PlanRecord(sha256(plan), len(plan), place)


def check_plan(
    name: str, plan: bytes, built: PlanRecord, here: Place, rebuild: str = REBUILD
) -> None:
    """Raise EngineError unless the plan is the one that was built, here, for what is here.

    Parameters
    ----------
    name : what the message calls the plan.
    rebuild : how to fix it, the end of every message.
    """
    there = built.place
    differences = (
        ("plan is not one that this machine built", there.machine, here.machine),
        ("plan is for another library", there.library, here.library),
        ("plan is for another version of the library", there.version, here.version),
        ("plan is for another GPU", there.device, here.device),
        (
            "plan is for another compute capability",
            there.compute_capability,
            here.compute_capability,
        ),
    )
    anywhere = not there.device and not there.compute_capability
    for what, then, now in differences[: 3 if anywhere else None]:
        if then != now or not then:
            raise EngineError(what, name, f"built {then or '?'}, here {now or '?'}: {rebuild}")
    if len(plan) != built.size:
        text = f"{len(plan)} of {built.size} bytes: {rebuild}"
        raise EngineError("plan has another size than when it was built", name, text)
    if sha256(plan) != built.sha256:
        raise EngineError("plan was changed since it was built", name, rebuild)
