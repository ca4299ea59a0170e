"""The station file `edgeapl.toml`: what this station is, so that commands need not be told."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from edgeapl.errors import ConfigError
from edgeapl.toml_file import first_mistake, line_of, read_toml

STATION_FILE = "edgeapl.toml"

FINGERPRINT = r"(?:sha256:)?[0-9a-fA-F]{64}"
"""A trusted key that is not a file."""

Scale = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
TrustedKey = Annotated[str, Field(min_length=1, pattern=r"\S")]
Version = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+){0,3}[a-z0-9.+-]*$")]


class CameraConfig(BaseModel):
    """One named camera: `edgeapl watch NAME` opens its source.

    um_per_px : µm per pixel with the objective in use.
    serial : must be part of what the camera says it is, or its pictures are refused.
    objective : e.g. ``100x oil``; stands in every verdict.
    exposure_ms : set when the camera is opened; for mm:// and aravis:// addresses.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, Field(min_length=1)]
    um_per_px: Scale | None = None
    serial: Annotated[str, Field(min_length=1)] | None = None
    objective: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    exposure_ms: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _exposure_can_be_set(self) -> CameraConfig:
        if self.exposure_ms is not None and not self.source.startswith(tuple(_EXPOSURES)):
            kinds = " and ".join(_EXPOSURES)
            raise ValueError(f"exposure_ms can be set for {kinds} only: set it in the driver")
        return self

    @property
    def address(self) -> str:
        """The source with the settings that go into its address."""
        if self.exposure_ms is None:
            return self.source
        option = next(made for kind, made in _EXPOSURES.items() if self.source.startswith(kind))
        joint = "&" if "?" in self.source else "?"
        return f"{self.source}{joint}{option(self.exposure_ms)}"


_EXPOSURES: dict[str, Callable[[float], str]] = {
    "mm://": lambda ms: f"exposure_ms={round(ms)}",
    "aravis://": lambda ms: f"exposure_us={round(1000 * ms)}",
}


class StationConfig(BaseModel):
    """All of `edgeapl.toml`. Paths are taken relative to the file.

    bundle : bundle to use instead of the embedded one.
    journal : journal file instead of the default.
    results : folder for results instead of `edgeapl-results`.
    um_per_px : scale of images that do not state their own, µm per pixel.
    threads : CPU threads inside one run of a network of the bundle; engines bring their own.
    workers : runs at the same time; without it what is best for networks or engines.
    batch_size : cells per run of a network; without it what is best for networks or engines.
    tune_idle_minutes : without a slide for so long, `watch` measures once a day how its engines run
        fastest; without it never.
    exhaustive : `watch` looks at every cell, also when the flag is decided without it.
    on_flag : program, with arguments, that `watch` runs once for every flagged slide.
    stop_error : chance, per slide, that a flag which ended the examination early would not have
        been raised with all cells.
    trusted_keys : keys of which one must have signed a bundle, and engines; see
        `edgeapl.bundle.trust`. Files of keys are taken relative to the station file.
    oldest_versions : name of a bundle to its oldest version that may run here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: Path | None = None
    journal: Path | None = None
    results: Path | None = None
    um_per_px: Scale | None = None
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    tune_idle_minutes: Annotated[float, Field(ge=1, le=1440, allow_inf_nan=False)] | None = None
    exhaustive: bool = False
    on_flag: Annotated[str, Field(min_length=1)] | None = None
    stop_error: Annotated[float, Field(gt=0, le=0.05, allow_inf_nan=False)] = 0.001
    trusted_keys: tuple[TrustedKey, ...] | None = None
    oldest_versions: dict[str, Version] = {}
    cameras: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")], CameraConfig] = {}


def load_station(path: Path | None = None) -> StationConfig:
    """Read the station file; without a path, `edgeapl.toml` of the working folder if it is there.

    Raises ConfigError with the name and line of the first setting that is wrong.
    """
    named = path is not None
    path = path or Path(STATION_FILE)
    if not named and not path.is_file():
        return StationConfig()
    try:
        text, values = read_toml(path.read_bytes())
    except OSError as error:
        raise ConfigError("station file cannot be read", path, str(error.strerror)) from error
    except ValueError as error:
        raise ConfigError("station file is not valid TOML", path, str(error)) from error
    try:
        config = StationConfig.model_validate(values)
    except ValidationError as error:
        wrong = first_mistake(error, StationConfig)
        place = f"{wrong.name} ({path}, line {line_of(text, wrong.keys)})"
        raise ConfigError(wrong.what, place, wrong.mend) from error
    return config.model_copy(update=_absolute(config, path.parent))


def _absolute(config: StationConfig, folder: Path) -> dict[str, object]:
    paths = {"bundle": config.bundle, "journal": config.journal, "results": config.results}
    made: dict[str, object] = {
        name: folder / path for name, path in paths.items() if path is not None
    }
    if config.trusted_keys is not None:
        made["trusted_keys"] = tuple(
            key if re.fullmatch(FINGERPRINT, key) else str(folder / key)
            for key in config.trusted_keys
        )
    return made
