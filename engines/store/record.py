"""The file `engine.json` beside built engines."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.specs import Digest, FileName, Name
from edgeapl.engines.registry import ON_GPU
from edgeapl.errors import EngineError
from edgeapl.validation_errors import first_problem

RECORD = "engine.json"
SEAL = "engine.sha256"

Precision = Literal["fp32", "tf32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "int8")
"""TF32 is FP32 of which a GPU multiplies 10 bits; a processor has no such thing."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BuiltNetwork(_Part):
    """One file. kept : layers, or the whole network, kept in a higher precision."""

    file: FileName
    sha256: Digest
    size: Annotated[int, Field(ge=1)]
    precision: Precision
    kept: tuple[str, ...] = ()


class BuiltFor(_Part):
    """What engines were built for; another machine, library or device may not use them.

    library, version : of the runtime. device, capability : see `Device`; of a plan that was built
    without a GPU both are empty, and whether it fits the one here is for the library to say.
    capabilities : of GPUs that were named to build for. number : of the GPU among several.
    """

    library: str
    version: str
    device: str
    capability: str
    machine: Digest
    capabilities: tuple[str, ...] = ()
    number: Annotated[int, Field(ge=0)] = 0


class PlanNotes(_Part):
    """What the builder logged of a plan.

    layers : (name, kind, types, bytes of activations that it reads and writes for a cell) of each.
    scratch : bytes that a run of the largest batch takes; None if unknown.
    fallbacks : (layer, precision, why) of each that computes in more bits than the network, as
        the library has no kernel for it in fewer.
    """

    layers: tuple[tuple[str, str, str, int], ...] = ()
    scratch: int | None = None
    fallbacks: tuple[tuple[str, str, str], ...] = ()


class Settings(_Part):
    """The settings with which the engines were the fastest here.

    threads : CPU threads inside one run. batch_size : cells in one run. workers : runs at the same
    time; None in records that do not know it: as many as there are cores for.
    """

    threads: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    workers: Annotated[int, Field(ge=1)] | None = None

    @property
    def text(self) -> str:
        """The settings for people."""
        runs = "" if self.workers is None else f"{self.workers} workers x "
        return f"{runs}{self.threads} threads, batch {self.batch_size}"


CUTTER = "cut.cells"
"""What stands for the plan that cuts cells where a network is named; no network has a dot."""


class EngineRecord(_Part):
    """All of `engine.json`.

    cutter : the plan that cuts cells on the GPU, beside those of the networks; None without one.
    certificate : digest of the evidence on which these engines gave the bundle's verdicts; None
        where they did not, or were not tried. Engines in FP32 need none.
    layers_chosen_on : SHA-256 (hex) of the images on which layers were chosen that stay in a higher
        precision, so that they are not taken as evidence for these engines.
    proof, timing : what was measured when it was built, for people.
    plans : network to what its builder logged; empty for targets that run an ONNX file.
    """

    schema_version: Literal[1] = Field(alias="schema")
    research_use_only: Literal[True]
    bundle: Digest
    bundle_name: str
    precision: Precision
    target: str
    built_for: BuiltFor
    software: str
    built_at: str
    networks: dict[Name, BuiltNetwork]
    cutter: BuiltNetwork | None = None
    certificate: Digest | None = None
    layers_chosen_on: tuple[Digest, ...] = ()
    settings: Settings
    proof: dict[str, Any]
    timing: dict[str, Any]
    plans: dict[Name, PlanNotes] = {}

    @property
    def proven_where_it_runs(self) -> bool:
        """Whether the proof was made in the runtime, and on the device, that serves.

        A processor is there whenever an engine for it is built. Records that do not say where they
        were proven are of earlier versions, which proved plans on the processor.
        """
        return self.target not in ON_GPU or self.proof.get("run_in") == self.target

    def inherits(self, certificate: str) -> bool:
        """Whether the bundle's certificate holds for these engines. certificate : its digest."""
        return self.precision == "fp32" or self.certificate == certificate

    @property
    def files(self) -> dict[str, BuiltNetwork]:
        """Network, or `CUTTER`, to its file."""
        return self.networks if self.cutter is None else {**self.networks, CUTTER: self.cutter}

    @property
    def key(self) -> str:
        """Name of the folder: what the engines are, not when or how fast."""
        there = self.built_for
        parts = [self.bundle, self.precision, self.target, there.version, there.device]
        # Only where they are named, so that all other engines keep their names.
        parts += [f"for {capability}" for capability in there.capabilities]
        parts += [f"on GPU {there.number}"] if there.number else []
        identity = sha256("\n".join([*parts, there.capability, there.machine]).encode())
        return f"{key_start(self.bundle)}{self.target}-{self.precision}-{identity[:12]}"

    def text(self) -> bytes:
        """Return the file."""
        document = self.model_dump(mode="json", by_alias=True)
        return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def key_start(bundle_digest: str) -> str:
    """Return what the folder names of all engines of a bundle start with."""
    return f"{bundle_digest[:16]}-"


def read_record(text: bytes, where: str, rebuild: str) -> EngineRecord:
    """Read `engine.json`; raises EngineError when it is not valid."""
    try:
        return EngineRecord.model_validate_json(text)
    except ValidationError as error:
        place = first_problem(error)[0] or "file"
        raise EngineError(
            "record of engines not understood", where, f"{place}: {rebuild}"
        ) from error
