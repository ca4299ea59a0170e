"""Score a folder on a cluster: slides are tasks, answers are committed as they come."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distributed import Client, Future, KilledWorker, wait
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError

from edgeapl.cluster.address import ClusterAddress
from edgeapl.cluster.commit import commit_answer
from edgeapl.cluster.connection import bundle_to_send, connected, lost, open_models
from edgeapl.cluster.task import SlideAnswer, SlideTask, as_error
from edgeapl.cluster.worker import ModelPlugin, WorkerIdentity, WorkerSettings, examine_here
from edgeapl.errors import EdgeAplError, EngineError, InputError
from edgeapl.journal import CertificateStatus, Journal
from edgeapl.model import Model
from edgeapl.recorder import error_to_json
from edgeapl.report.folder_lock import WHOLE_FOLDER, locked_folder
from edgeapl.report.results import finished_record, newest_by_name
from edgeapl.report.stored_records import StoredRecords
from edgeapl.scoring.folder import slides_of, write_tables
from edgeapl.scoring.marker import refuse_others, write_marker
from edgeapl.scoring.request import ScoreListener, ScoreRequest, ScoreResult
from edgeapl.scoring.resume import content_digest, is_current, key_of
from edgeapl.scoring.scan import scan_of
from edgeapl.scoring.slides import ScoringContext
from edgeapl.sources.discover import SlideInput

AHEAD = 2
"""Slides that a worker may have waiting: the next one is there when it ends one, and few images are
on their way at a time."""

LOOK_S, WITHOUT_WORKERS_S = 5.0, 60.0
"""How often it is looked whether any worker is left, and for how long none may be: one that died is
back within seconds, and a queue may take a while to give another."""

TRIES = 3
"""How often a slide is sent when a worker's disk is full or its folder cannot be written."""


def score_on_cluster(
    address: ClusterAddress,
    request: ScoreRequest,
    settings: WorkerSettings,
    model: Model,
    journal: Journal,
    listener: ScoreListener,
) -> ScoreResult:
    """Score every slide that is not finished yet, as `score_folder` does, on many machines.

    Parameters
    ----------
    settings : what workers open; `model` is the client's own, which examines nothing.

    Raises what `score_folder` raises; UsageError when there is no cluster, and StorageError when it
    is lost. What was committed by then stays.
    """
    found = slides_of(request)
    part, out = request.part, request.out
    refuse_others(out, request.folder)
    with (
        locked_folder(out, WHOLE_FOLDER if part is None else part.lock_range),
        connected(address) as client,
    ):
        names = [slide.name for slide in found.slides]
        write_marker(out, str(request.folder.resolve()), names, listener.on_wait)
        mine = tuple(one for one in found.slides if part is None or part.holds(one.name))
        listener.on_part(len(mine), len(found.slides))
        listener.on_slides(mine)
        listener.on_unlisted(found.unlisted)
        files = bundle_to_send(client, settings.request.bundle, settings.digest)
        plugin = ModelPlugin(replace(settings, files=files))
        identities = open_models(client, plugin)
        work = _ClusterWork(
            client,
            plugin.name,
            request,
            model,
            journal,
            listener,
            ScoringContext.of(found),
            identities,
        )
        work.run(mine)
        # Workers that outlive this run need not keep its model.
        client.unregister_worker_plugin(plugin.name)
        finished = [slide.name for slide in mine if slide.name in work.errors]
        records = StoredRecords(out, finished)
        tables = write_tables(out, found, records, model.bundle.digest, listener)
    errors = [*(error for name in finished for error in work.errors[name]), *work.failures]
    code = max((int(error["exit_code"]) for error in errors), default=0)
    return ScoreResult(records, tuple(errors), code, tables)


@dataclass(slots=True)
class _ClusterWork:
    """Sends slides, a few at a time, and commits what comes back.

    errors : of each slide that is finished, by its name. failures : slides that no worker could
    examine.
    """

    client: Client
    plugin: str
    request: ScoreRequest
    model: Model
    journal: Journal
    listener: ScoreListener
    context: ScoringContext
    identities: frozenset[WorkerIdentity]
    errors: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    _certificate: CertificateStatus = field(init=False)
    _newest: dict[str, str] = field(init=False)
    _tries: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._certificate = CertificateStatus(self.journal.path, self.model.clearing.certificate)
        self._newest = newest_by_name(self.request.out)

    def run(self, slides: Sequence[SlideInput]) -> None:
        """Have all slides examined that are not finished."""
        tasks = self._tasks(slides)
        sent: dict[Future, SlideTask] = {}
        again: deque[SlideTask] = deque()
        try:
            while True:
                while len(sent) < AHEAD * max(1, len(self.client.nthreads())):
                    task = again.popleft() if again else next(tasks, None)
                    if task is None:
                        break
                    sent[self.client.submit(examine_here, task, self.plugin, pure=False)] = task
                if not sent:
                    return
                for future in self._done(sent):
                    once_more = self._take(future, sent.pop(future))
                    if once_more is not None:
                        again.append(once_more)
        except (CommClosedError, FutureCancelledError, OSError) as error:
            raise lost(error) from error

    def _done(self, sent: Collection[Future]) -> list[Future]:
        """Wait for answers. Raises StorageError when all workers have been gone for long."""
        since = time.monotonic()
        while True:
            try:
                return list(wait(list(sent), timeout=LOOK_S, return_when="FIRST_COMPLETED").done)
            except (asyncio.TimeoutError, TimeoutError):
                if self.client.nthreads():
                    since = time.monotonic()
                elif time.monotonic() - since > WITHOUT_WORKERS_S:
                    raise lost(TimeoutError("no workers are left")) from None

    def _tasks(self, slides: Sequence[SlideInput]) -> Iterator[SlideTask]:
        for slide in slides:
            digests = tuple(content_digest(file) for file in slide.files)
            record = finished_record(self.request.out, slide.name, self._newest)
            if record is not None and any(
                is_current(record, self._key(slide, digests, one), self.journal)
                for one in self.identities
            ):
                self._note(record, resumed=True)
                continue
            context = self.context.of_slide(slide)
            yield SlideTask(
                slide, self.request, context, Path.cwd(), digests, self._certificate.ended()
            )

    def _key(self, slide: SlideInput, digests: Sequence[str], worker: WorkerIdentity) -> str:
        return key_of(
            self.request,
            (worker.bundle, worker.engines, worker.runtime),
            self.model.bundle.manifest,
            slide,
            digests,
            self.context.further,
        )

    def _take(self, future: Future, task: SlideTask) -> SlideTask | None:
        """Commit an answer; return the task when it must be sent again."""
        try:
            answer: SlideAnswer = future.result()
        except KilledWorker:
            text = "worker died each time it examined this slide"
            self._fail(task, EngineError(text, task.slide.name, "look at its images"))
            return None
        except EdgeAplError as error:
            self._fail(task, error)
            return None
        finally:
            future.release()
        if answer.unseen:
            return self._with_contents(task)
        if answer.error is not None:
            return self._sent_elsewhere(task, answer)
        ended = self._certificate.ended()
        if ended != task.ended and answer.content.get("verdict") == "CLEAR":
            # Another slide's verdict has ended the certificate since this one was sent.
            return replace(task, ended=ended)
        record = commit_answer(answer, self.request.out, self.journal, self._newest)
        self._note(record, resumed=False)
        return None

    def _with_contents(self, task: SlideTask) -> SlideTask | None:
        """Return the task with its images, for workers that do not see the folder."""
        if scan_of(task.slide.files) is not None:
            text = "worker does not see the scan of a slide"
            mend = "scans are too large to be sent: share the folder with all workers"
            self._fail(task, InputError(text, str(task.slide.files[0]), mend))
            return None
        contents: dict[Path, bytes] = {}
        for file in task.slide.files:
            try:
                contents[file] = file.read_bytes()
            except OSError:
                # No image here either: the worker is to say so, as one machine would.
                continue
        if task.contents:
            text = "images arrived on a worker otherwise than they were read"
            self._fail(task, InputError(text, task.slide.name, "run it again: did they change?"))
            return None
        return replace(task, contents=contents)

    def _sent_elsewhere(self, task: SlideTask, answer: SlideAnswer) -> SlideTask:
        tries = self._tries[task.slide.name] = self._tries.get(task.slide.name, 1) + 1
        if tries > TRIES:
            raise as_error(answer)
        return task

    def _fail(self, task: SlideTask, error: EdgeAplError) -> None:
        self.failures.append(error_to_json(task.slide.name, error))

    def _note(self, record: dict[str, Any], *, resumed: bool) -> None:
        self.errors[str(record["slide"])] = tuple(record["errors"])
        self.listener.on_slide(record, resumed)
