"""Measure again how existing engines are the fastest here, and say so in their record."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial

from edgeapl.bundle.load import open_bundle
from edgeapl.calibration.builder.paired_timing import best_settings
from edgeapl.calibration.builder.proof_slides import slides_for
from edgeapl.calibration.builder.request import BuildRequest, Say
from edgeapl.calibration.builder.storage import work_folder
from edgeapl.cores import cpu_cores
from edgeapl.engines.exclusive import Opener
from edgeapl.engines.registry import ON_GPU, open_engine
from edgeapl.engines.store.folder import EngineFolder, check_fits, write_engines
from edgeapl.engines.store.local_target import device_here, runtime_version
from edgeapl.engines.store.record import Settings
from edgeapl.errors import EngineError
from edgeapl.protocols import Engine


def tune_engines(engines: EngineFolder, request: BuildRequest, say: Say) -> EngineFolder:
    """Race the settings of engines on this machine, and write the winner into their record.

    Parameters
    ----------
    engines : of a target that runs on the processor, built on this machine. Their files stay as
        they are. request : the bundle, and the images whose cells are timed.

    The record is a new one, so that a signature of the old one holds no more. Raises EngineError
    when they do not fit this machine or bundle, or run on a GPU.
    """
    bundle, record = open_bundle(request.bundle), engines.record
    if record.target in ON_GPU:
        mend = "edgeapl engines prove measures their batch again"
        raise EngineError("engines on a GPU have no workers and threads", engines.folder, mend)
    check_fits(
        engines, bundle.digest, runtime_version(record.target), device_here(record.target, 0)
    )
    with work_folder(replace(request, out=engines.folder)) as work:
        cells = slides_for(bundle, request, work, say).slides[0][1]
        say("measure workers, threads and batch")
        opener = partial(_opener_of, engines)
        measured = best_settings(bundle.manifest, opener, cells, cpu_cores())
        files = {}
        for built in record.files.values():
            # Copied: if anything fails from here on, those that are there stay.
            files[built.file] = work / built.file
            shutil.copyfile(engines.folder / built.file, files[built.file])
        timing = {
            **record.timing,
            "seconds_per_cell": dict(measured.seconds),
            "settings_race": dict(measured.evidence),
        }
        tuned = record.model_copy(update={"settings": measured.settings, "timing": timing})
        return write_engines(engines.folder, tuned, files)


def _opener_of(engines: EngineFolder, settings: Settings) -> Opener:
    """Return what opens the engines' files as the station would with these settings."""

    def open_one(name: str) -> Engine:
        return open_engine(
            engines.record.target,
            name,
            engines.read(name),
            threads=settings.threads,
            workers=settings.workers or 1,
            origin=engines.origin(name),
        )

    return open_one
