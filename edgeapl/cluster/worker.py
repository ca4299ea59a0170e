"""A worker's model: opened once, checked against the client's bundle, used for every slide."""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

from distributed import Worker, WorkerPlugin, get_worker

from edgeapl import __version__
from edgeapl.bundle.load import open_bundle
from edgeapl.cluster.task import SlideAnswer, SlideTask, examine_task
from edgeapl.cores import cores_allowed
from edgeapl.errors import BundleError, EdgeAplError
from edgeapl.free_memory import reuse_free_memory
from edgeapl.model import Model, ModelRequest
from edgeapl.model.fallback import open_with_fallback
from edgeapl.model.opener import open_resolved


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What every worker opens.

    Attributes
    ----------
    request : the model; its `bundle` is the client's path.
    digest : of the client's bundle.
    version : of the client's EdgeAPL.
    files : of the bundle, by name, for workers that do not see its folder; may be empty.
    share_cores : workers are numbered processes of one machine, and share its cores among them.
    """

    request: ModelRequest
    digest: str
    version: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    share_cores: int = 0


def worker_settings(request: ModelRequest, model: Model, share_cores: int) -> WorkerSettings:
    """Return what workers open so that they answer as the client's `model` would."""
    engines = request.engines
    if isinstance(engines, Path):
        engines = engines.resolve()
    absolute = replace(
        request, bundle=request.bundle.resolve(), engines=engines, workers=None, pin_cores=False
    )
    return WorkerSettings(absolute, model.bundle.digest, __version__, share_cores=share_cores)


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """What a worker's results depend on, beside bundle and settings: equal ones answer alike."""

    version: str
    bundle: str
    engines: str
    runtime: str


class ModelPlugin(WorkerPlugin):
    """Opens the model when a worker starts, also one that starts later or again."""

    def __init__(self, settings: WorkerSettings, name: str = "") -> None:
        self._settings = settings
        # One for each run: workers that outlive it must not answer another with its model.
        self.name = name or f"edgeapl-{uuid.uuid4().hex}"
        self._one_at_a_time = threading.Lock()
        self._model: Model | None = None
        self._copy: Path | None = None
        self._refused: EdgeAplError | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return ModelPlugin, (self._settings, self.name)

    def setup(self, worker: Worker) -> None:
        """Open the model; what opening raises is kept, and said to whoever asks this worker."""
        if self._model is not None:
            return
        try:
            self._open(worker)
        except EdgeAplError as error:
            self._refused = error

    def _open(self, worker: Worker) -> None:
        settings = self._settings
        if settings.version != __version__:
            what = f"worker has EdgeAPL {__version__}, and the client {settings.version}"
            raise BundleError(what, str(worker.address), "install the same version on both")
        reuse_free_memory()
        if settings.share_cores:
            _take_share(int(worker.name), settings.share_cores)
        bundle = self._bundle()
        self._model, _ = open_with_fallback(replace(settings.request, bundle=bundle), open_resolved)

    def teardown(self, worker: Worker) -> None:
        """Close the model."""
        if self._model is not None:
            self._model.close()
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)

    def identity(self) -> WorkerIdentity:
        """Return what this worker's results depend on. Raises what opening the model raised."""
        model = self._opened()
        return WorkerIdentity(__version__, model.bundle.digest, model.engine_digest, model.runtime)

    def examine(self, task: SlideTask) -> SlideAnswer:
        """Examine one slide; a worker's threads take turns, as a model has all of its cores."""
        try:
            model = self._opened()
        except EdgeAplError as error:
            return SlideAnswer(error=(error.what, error.which, error.mend))
        with self._one_at_a_time:
            return examine_task(task, model)

    def _opened(self) -> Model:
        if self._refused is not None:
            raise self._refused
        assert self._model is not None
        return self._model

    def _bundle(self) -> Path:
        """Return a folder with the client's bundle: the same path if it is there, else a copy."""
        settings = self._settings
        if sees_bundle(settings.request.bundle, settings.digest):
            return settings.request.bundle
        if not settings.files:
            mend = "copy the bundle to the same path, or start again so that it is sent"
            raise BundleError("worker has not the client's bundle", settings.request.bundle, mend)
        self._copy = Path(mkdtemp(prefix="edgeapl-bundle-"))
        for name, content in settings.files.items():
            place = self._copy / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        if not sees_bundle(self._copy, settings.digest):
            raise BundleError("bundle arrived damaged", self._copy, "start again")
        return self._copy


def sees_bundle(folder: Path, digest: str) -> bool:
    """Whether a folder holds the bundle with this digest."""
    try:
        return open_bundle(folder).digest == digest
    except EdgeAplError:
        return False


def examine_here(task: SlideTask, plugin: str) -> SlideAnswer:
    """Examine one slide on the worker that runs this, with the model of the plugin of this name."""
    found: Any = get_worker().plugins.get(plugin)
    if not isinstance(found, ModelPlugin):
        return SlideAnswer(error=("worker has no model yet", "", "run the same command again"))
    return found.examine(task)


def identity_of(plugin: str, dask_worker: Worker) -> WorkerIdentity:
    """Return what a worker's results depend on; for `Client.run`, which fills in the worker."""
    return cast("ModelPlugin", dask_worker.plugins[plugin]).identity()


def _take_share(number: int, workers: int) -> None:
    """Keep this process to its share of the machine's cores."""
    cores = cores_allowed()
    if len(cores) >= workers:
        share = cores[number % workers :: workers]
        # Of the main thread, whose cores are those that this process counts, and of this one.
        os.sched_setaffinity(os.getpid(), share)
        os.sched_setaffinity(0, share)
