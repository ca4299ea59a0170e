"""Choose the engines that run a bundle's networks; nothing is built."""

from __future__ import annotations

from dataclasses import dataclass

from edgeapl.bundle.load import Bundle
from edgeapl.bundle.trust import Trust
from edgeapl.engines.store.cache import cache_folder, kept_engines
from edgeapl.engines.store.folder import EngineFolder, check_fits, open_engines
from edgeapl.engines.store.local_target import device_here, runtime_version
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.model.request import WantedEngines

FROM_BUNDLE = "FP32 networks of the bundle in onnxruntime"


@dataclass(frozen=True, slots=True)
class ChosenEngines:
    """Which engines run the networks.

    engines : None for the bundle's own networks. text : the same, in words.
    refused : why others could not be used.
    """

    engines: EngineFolder | None
    text: str
    refused: tuple[EngineError | DeadlineError, ...] = ()


def choose_engines(
    bundle: Bundle, wanted: WantedEngines, trust: Trust | None = None
) -> ChosenEngines:
    """Choose engines for a bundle.

    Parameters
    ----------
    wanted : a folder must fit this machine and the bundle; one that was opened before is only
        checked for trust, so that engines can be tried before they are put in place.
    trust : what the station requires of engines; None away from a station.

    Raises EngineError when a named folder cannot be used.
    """
    if wanted == "none":
        return ChosenEngines(None, FROM_BUNDLE)
    if isinstance(wanted, EngineFolder):
        _check_trust(wanted, trust)
        return ChosenEngines(wanted, _text(wanted))
    if wanted != "auto":
        engines = open_engines(wanted)
        _check(engines, bundle, trust)
        return ChosenEngines(engines, _text(engines))
    refused = []
    for _, engines_or_error in kept_engines(cache_folder(), bundle.digest):
        try:
            if isinstance(engines_or_error, EngineError):
                raise engines_or_error
            _check(engines_or_error, bundle, trust)
        except EngineError as error:
            refused.append(error)
            continue
        return ChosenEngines(engines_or_error, _text(engines_or_error), tuple(refused))
    return ChosenEngines(None, FROM_BUNDLE, tuple(refused))


def _check(engines: EngineFolder, bundle: Bundle, trust: Trust | None) -> None:
    _check_trust(engines, trust)
    target = engines.record.target
    if set(engines.record.networks) != set(bundle.manifest.networks):
        mend = "build it again with edgeapl build-engine"
        raise EngineError("engines are for other networks", engines.folder, mend)
    device = device_here(target, engines.record.built_for.number)
    check_fits(engines, bundle.digest, runtime_version(target), device)


def _check_trust(engines: EngineFolder, trust: Trust | None) -> None:
    if trust is not None:
        trust.check_engines(engines.folder, engines.signer)


def _text(engines: EngineFolder) -> str:
    record = engines.record
    return f"{record.precision} engines {engines.folder.name} in {record.target}"
