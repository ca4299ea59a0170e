"""Open a model with engines, or with the bundle's own networks where those fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from edgeapl.errors import DeadlineError, EngineError
from edgeapl.logs import note, warn
from edgeapl.model.request import ModelRequest
from edgeapl.model.resolution import ResolvedModel, resolve
from edgeapl.model.trial import try_out

Opened = TypeVar("Opened")


def open_with_fallback(
    request: ModelRequest, open_resolved: Callable[[ResolvedModel], Opened]
) -> tuple[Opened, ResolvedModel]:
    """Try a bundle and its engines in another process, and open them.

    Engines that fail or hang, where the bundle's own networks do not, must not stop a station: if
    they were chosen by ``auto``, the own networks are opened instead.

    Parameters
    ----------
    open_resolved : opens the model, here or with its networks in child processes.

    Returns
    -------
    What `open_resolved` returned, and the model as it was resolved: `ResolvedModel.chosen` says
    which engines run, and which could not be used.

    Raises what `resolve` raises, and EngineError or DeadlineError when a network fails or hangs.
    """
    try_out(request.bundle, request.trust)
    resolved = resolve(request)
    try:
        if resolved.engines is not None:
            try_out(request.bundle, request.trust, resolved.engines)
        opened = open_resolved(resolved)
    except (EngineError, DeadlineError) as error:
        if request.engines != "auto" or resolved.engines is None:
            raise
        resolved = resolved.on_own_networks(error)
        opened = open_resolved(resolved)
    for refused in resolved.chosen.refused:
        warn("engines", "engines_refused", f"not used: {refused.what}")
    bundle, manifest = resolved.bundle, resolved.bundle.manifest
    named = f"bundle {manifest.name} {manifest.version} ({bundle.digest[:12]})"
    note("engines", "engines_chosen", f"{named}, {resolved.chosen.text}", bundle=bundle.digest)
    return opened, resolved
