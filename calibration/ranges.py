"""The file `ranges.json` of a bundle: the range of every tensor."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgeapl.bundle.specs import Digest, Name
from edgeapl.errors import BundleError
from edgeapl.validation_errors import first_problem

SCHEMA = 1
FILE = "ranges.json"

Range = tuple[float, float]
"""Smallest and largest value, both finite."""

Ranges = Mapping[str, Mapping[str, Range]]
"""Network, then tensor of its ONNX file, to range."""

Method = Literal["minmax", "percentile"]

PERCENTILE = 99.99
"""Percentage of values that a percentile range keeps; half of the rest is cut on each side. 99.99
to 99.999 is usual for convolutional networks (Wu et al. 2020, arXiv 2004.09602, table 5).
"""


@dataclass(frozen=True, slots=True)
class MeasuredRanges:
    """The contents of `ranges.json`.

    method : ``minmax`` or ``percentile``. percentile : share of values kept, in percent.
    images : cells or frames shown to the network that was measured most.
    networks : their ranges; networks that stay in FP32 are missing.
    digests : network to SHA-256 (hex) of the measured ONNX file.
    kept : networks that stay in FP32, and why.
    """

    method: Method
    percentile: float
    images: int
    networks: Ranges
    digests: Mapping[str, str]
    kept: Mapping[str, str] = field(default_factory=dict)

    def of(self, network: str, digest: str) -> Mapping[str, Range] | None:
        """Return the ranges of a network; None if it stays in FP32.

        Raises BundleError when they were measured on another file.
        """
        if network not in self.networks:
            return None
        if self.digests[network] != digest:
            raise BundleError(
                "ranges were measured on another network", network, "run edgeapl calibrate again"
            )
        return self.networks[network]


class _Network(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: Digest
    tensors: dict[str, Range]

    @model_validator(mode="after")
    def _are_ranges(self) -> _Network:
        for name, (low, high) in self.tensors.items():
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ValueError(f"{name!r} has no range: {low} to {high}")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(alias="schema")
    method: Method
    percentile: Annotated[float, Field(gt=50, le=100)]
    images: Annotated[int, Field(ge=1)]
    networks: dict[Name, _Network]
    kept: dict[Name, str] = {}


def read_ranges(data: bytes) -> MeasuredRanges:
    """Read the bytes of `ranges.json`. Raises BundleError when they are malformed."""
    try:
        document = _File.model_validate_json(data)
    except ValidationError as error:
        where, what = first_problem(error)
        mend = f"{where or 'file'}: {what}; run edgeapl calibrate again"
        raise BundleError("ranges not understood", FILE, mend) from error
    return MeasuredRanges(
        method=document.method,
        percentile=document.percentile,
        images=document.images,
        networks={name: network.tensors for name, network in document.networks.items()},
        digests={name: network.digest for name, network in document.networks.items()},
        kept=document.kept,
    )


def ranges_json(measured: MeasuredRanges) -> bytes:
    """Return the file's bytes; the same ranges give the same bytes.

    Raises ValueError when a number in it is not finite.
    """
    document = {
        "schema": SCHEMA,
        "method": measured.method,
        "percentile": measured.percentile,
        "images": measured.images,
        "networks": {
            name: {
                "digest": measured.digests[name],
                "tensors": {tensor: list(limits) for tensor, limits in tensors.items()},
            }
            for name, tensors in measured.networks.items()
        },
        "kept": dict(measured.kept),
    }
    return (json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()
