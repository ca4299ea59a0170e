"""Open a bundle with the engines that fit, or with its own networks where those fail."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol, TypeVar

from edgeapl.bundle.trust import Trust
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.logs import note, warn
from edgeapl.model.opener import Chosen, choose_engines, workers_of
from edgeapl.model.trial import try_out

Opened_co = TypeVar("Opened_co", covariant=True)


class ModelOpener(Protocol[Opened_co]):
    """Opens a bundle here, or with its networks in processes of their own."""

    def __call__(
        self,
        folder: Path,
        *,
        threads: int = 1,
        engines: EngineFolder | None = None,
        workers: int = 1,
        trust: Trust | None = None,
    ) -> Opened_co:
        """Open it; the arguments are those of `edgeapl.model.open_model`."""


def open_with_engines(
    opener: ModelOpener[Opened_co],
    folder: Path,
    wanted: Path | Literal["auto", "none"],
    *,
    threads: int = 1,
    workers: int | None = None,
    trust: Trust | None = None,
) -> tuple[Opened_co, Chosen]:
    """Try a bundle out, choose engines for it and open it.

    Parameters
    ----------
    opener, folder : what opens which bundle. wanted : engines, of `choose_engines`.
    threads : CPU threads inside one run. workers : runs at the same time; None for the fastest.
    trust : what the station asks of bundles and engines; None away from a station.

    Raises BundleError, EngineError or DeadlineError. Engines that fail or hang, where the bundle's
    own networks do not, must not stop a station: with ``auto`` these are opened, and
    `Chosen.refused` says why.
    """
    bundle = try_out(folder, trust)
    chosen = choose_engines(bundle, wanted, trust)

    def opened(engines: EngineFolder | None) -> Opened_co:
        return opener(
            folder,
            threads=threads,
            engines=engines,
            workers=workers or workers_of(engines, threads),
            trust=trust,
        )

    try:
        if chosen.engines is not None:
            try_out(folder, trust, chosen.engines)
        ready = opened(chosen.engines)
    except (EngineError, DeadlineError) as error:
        if wanted != "auto" or chosen.engines is None:
            raise
        none = choose_engines(bundle, "none")
        chosen = Chosen(None, none.text, (*chosen.refused, error))
        ready = opened(None)
    for refused in chosen.refused:
        warn("engines", "engines_refused", f"not used: {refused.what}")
    manifest = bundle.manifest
    text = f"bundle {manifest.name} {manifest.version} ({bundle.digest[:12]}), {chosen.text}"
    note("engines", "engines_chosen", text, bundle=bundle.digest)
    return ready, chosen
