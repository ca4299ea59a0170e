"""Bundles and engines that never ran on this machine test themselves in another process first.

A network may loop for ever, want more memory than there is, or crash its runtime: then that process
ends, not the program. What passed is remembered by its digest, so that only the first start on a
machine takes longer.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import edgeapl
from edgeapl.bundle.digest import sha256_of_parts
from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.bundle.trust import Trust
from edgeapl.engines.registry import PLANS
from edgeapl.engines.store.cache import cache_folder
from edgeapl.engines.store.folder import EngineFolder, open_engines
from edgeapl.engines.store.local_target import runtime_version
from edgeapl.model import is_embedded
from edgeapl.model.isolation import call_isolated
from edgeapl.model.opener import open_model
from edgeapl.model.request import ModelRequest, WantedEngines

LIMIT_S = 90.0
"""For all networks to open and to answer the golden cells and slides."""

SLOW_LIMIT_S = 600.0
"""The same for plans, whose kernels may have to be compiled for the GPU first, and for Segment
Anything, whose large encoder takes minutes for a frame on a busy processor."""


def try_out(
    folder: Path,
    trust: Trust | None = None,
    engines: EngineFolder | None = None,
    *,
    resign: bool = False,
    remember: bool = True,
    limit_s: float | None = None,
) -> Bundle:
    """Open a bundle in another process, unless it passed there before, and return it.

    Parameters
    ----------
    folder : the bundle. The one that comes with the program was tried; its engines were not.
    trust : what the station asks of it: what is not trusted is not run.
    engines : run these in place of the bundle's own networks.
    resign : of `open_bundle`. remember : write down that it passed.
    limit_s : how long it may take; None for as long as its kind may need.

    Raises what `open_model` raises, and EngineError when a network does not come to an end or ends
    the process.
    """
    bundle = open_bundle(folder, resign=resign)
    if trust is not None:
        trust.check(bundle)
        if engines is not None:
            trust.check_engines(engines.folder, engines.signer)
    if engines is None and is_embedded(folder):
        return bundle
    mark = _mark(bundle, engines)
    if mark.exists():
        return bundle
    called = None if engines is None else engines.folder
    plans = engines is not None and engines.record.target in PLANS
    # A driver of a GPU reserves more memory than it uses.
    about = called or folder
    if limit_s is None:
        manifest = bundle.manifest
        own = limit_of(manifest.segmenter.kind, manifest.crop.views)
        limit_s = SLOW_LIMIT_S if plans else own
    call_isolated(
        open_once, folder, called, resign, folder=about, limit_s=limit_s, bounded=not plans
    )
    if remember:
        with suppress(OSError):  # it is tried again next time
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
    return bundle


def limit_of(segmenter: str, views: int = 1) -> float:
    """Return how long a bundle's own networks may take, s, by the kind of its segmenter.

    views : of each cell; every one is run.
    """
    return SLOW_LIMIT_S if segmenter == "sam" else min(SLOW_LIMIT_S, views * LIMIT_S)


def open_once(folder: Path, engines: Path | None, resign: bool) -> None:
    """Open a bundle, with engines if there are any, and close it."""
    wanted: WantedEngines = "none" if engines is None else open_engines(engines)
    open_model(ModelRequest(folder, engines=wanted, resign=resign)).close()


def _mark(bundle: Bundle, engines: EngineFolder | None) -> Path:
    what = [bundle.digest, edgeapl.__version__, sys.version]
    if engines is None:
        what.append(runtime_version("onnxruntime"))
    else:
        what += [engines.digest, runtime_version(engines.record.target)]
    return cache_folder().parent / "tried" / sha256_of_parts(what)
