"""A folder scored on a cluster: answers, results and journal are those of one machine."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeapl.cli.main import run
from edgeapl.errors import BundleError, StorageError, UsageError
from edgeapl.journal import Journal, read_rows, verify
from edgeapl.model import Model, ModelRequest, open_model
from edgeapl.scoring import ScoreListener, ScoreRequest, ScoreResult
from edgeapl.scoring.folder import slides_of
from edgeapl.scoring.resume import content_digest
from edgeapl.scoring.slides import ScoringContext
from tests.scored_parts import NAMES, draw_slides, everything, score_part
from tests.small_bundle import small_bundle

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")

# These need Dask.
from edgeapl.cluster import scoring as cluster_scoring  # noqa: E402
from edgeapl.cluster.address import ClusterAddress  # noqa: E402
from edgeapl.cluster.commit import commit_answer  # noqa: E402
from edgeapl.cluster.connection import QUIET, connected  # noqa: E402
from edgeapl.cluster.scoring import score_on_cluster  # noqa: E402
from edgeapl.cluster.task import SlideAnswer, SlideTask, examine_task, unpack  # noqa: E402
from edgeapl.cluster.worker import ModelPlugin, worker_settings  # noqa: E402

pytestmark = [
    pytest.mark.xdist_group("cluster"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with open_model(small_bundle(tmp_path_factory.mktemp("bundle") / "small").folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two workers in processes of their own."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0
    ) as made:
        yield made


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    return draw_slides(tmp_path / "slides")


def on_cluster(
    cluster: Any,
    model: Model,
    slides: Path,
    out: Path,
    journal: Path,
    listener: ScoreListener | None = None,
) -> ScoreResult:
    address = ClusterAddress.parse(cluster.scheduler_address)
    settings = worker_settings(ModelRequest(model.bundle.folder), model, 0)
    with Journal.open(journal) as record:
        request = ScoreRequest(slides, out, um_per_px=0.2)
        return score_on_cluster(
            address, request, settings, model, record, listener or ScoreListener()
        )


def test_a_cluster_gives_what_one_machine_gives_and_either_goes_on_with_the_others_work(
    cluster: Any, model: Model, slides: Path, tmp_path: Path
) -> None:
    once, journal = tmp_path / "once", tmp_path / "once.sqlite3"
    score_part(model, slides, once, journal)
    many, other = tmp_path / "many", tmp_path / "many.sqlite3"
    result = on_cluster(cluster, model, slides, many, other)
    assert [record["slide"] for record in result.records] == [
        slide.name for slide in slides_of(ScoreRequest(slides, many)).slides
    ]
    assert everything(many, other) == everything(once, journal)
    assert not verify(other).problems

    for again in (
        partial(on_cluster, cluster, model, slides, many, other),
        partial(score_part, model, slides, many, other, None),
        partial(on_cluster, cluster, model, slides, once, journal),
    ):
        resumed: list[bool] = []

        def note(record: dict[str, Any], known: bool, into: list[bool] = resumed) -> None:
            into.append(known)

        again(ScoreListener(on_slide=note))
        assert resumed == [True] * len(NAMES)
    assert len(read_rows(other)) == len(NAMES)


def task_of(model: Model, slides: Path, out: Path) -> SlideTask:
    request = ScoreRequest(slides, out)
    found = slides_of(request)
    slide = found.slides[0]
    digests = tuple(content_digest(file) for file in slide.files)
    return SlideTask(slide, request, ScoringContext.of(found), Path.cwd(), digests)


def test_images_that_a_worker_does_not_see_are_sent_and_the_answer_is_the_same(
    model: Model, slides: Path, tmp_path: Path
) -> None:
    task = task_of(model, slides, tmp_path / "out")
    seen = examine_task(task, model)
    contents = {file: file.read_bytes() for file in task.slide.files}
    for file in task.slide.files:
        file.unlink()
    assert examine_task(task, model) == SlideAnswer(unseen=task.slide.files)
    sent = examine_task(replace(task, contents=contents), model)
    # Times and the hash of the worker's own row differ with each run, and nothing else.
    own = {"timings", "journal_record", "results"}
    assert {k: v for k, v in sent.record.items() if k not in own} == {
        k: v for k, v in seen.record.items() if k not in own
    }
    other = {file: content + b"changed" for file, content in contents.items()}
    assert examine_task(replace(task, contents=other), model).unseen


def test_a_bundle_that_a_worker_does_not_see_is_sent_and_another_version_is_refused(
    model: Model, slides: Path, tmp_path: Path
) -> None:
    folder = model.bundle.folder
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    request = ModelRequest(tmp_path / "not here")
    settings = replace(worker_settings(request, model, 0), files=files)
    worker: Any = SimpleNamespace(address="worker", name="0")
    plugin = ModelPlugin(settings)
    plugin.setup(worker)
    copy = plugin._copy
    assert copy is not None
    assert plugin.identity().bundle == model.bundle.digest
    plugin.teardown(worker)
    assert not copy.exists()
    for wrong, said in (
        (replace(settings, files={}), "has not the client's bundle"),
        (replace(settings, files={**files, "cells.onnx": b"torn"}), "arrived damaged"),
        (replace(settings, version="0.0"), "and the client 0.0"),
    ):
        refused = ModelPlugin(wrong)
        refused.setup(worker)
        with pytest.raises(BundleError, match=said):
            refused.identity()
        assert said in str(refused.examine(task_of(model, slides, tmp_path)).error)


def test_what_was_committed_before_a_kill_is_not_committed_twice(
    model: Model, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    answer = examine_task(task_of(model, slides, out), model)
    with Journal.open(tmp_path / "journal.sqlite3") as journal:
        with monkeypatch.context() as killed:

            def die(*_: object) -> None:
                raise KeyboardInterrupt

            killed.setattr("edgeapl.cluster.commit.put_in_place", die)
            with pytest.raises(KeyboardInterrupt):
                commit_answer(answer, out, journal)
        record = commit_answer(answer, out, journal)
        assert [row.hash for row in read_rows(journal.path)] == [record["journal_record"]]
    text = next((out / "slides").glob("*/report.html")).read_text(encoding="utf-8")
    assert str(record["journal_record"]) in text
    assert str(answer.record["journal_record"]) not in text


def test_a_clear_that_was_sent_before_the_certificate_ended_is_examined_again(
    model: Model, slides: Path, tmp_path: Path
) -> None:
    task = task_of(model, slides, tmp_path / "out")
    answer = SlideAnswer(record={"slide": task.slide.name}, content={"verdict": "CLEAR"})
    future: Any = SimpleNamespace(result=lambda: answer, release=lambda: None)
    with Journal.open(tmp_path / "journal.sqlite3") as journal:
        work = cluster_scoring._ClusterWork(
            distributed,
            "plugin",
            task.request,
            model,
            journal,
            ScoreListener(),
            task.context,
            frozenset(),
        )
        work._certificate = SimpleNamespace(ended=lambda: "it has ended")  # type: ignore[assignment]
        assert work._take(future, task) == replace(task, ended="it has ended")
        assert not work.errors


def test_a_slide_that_kills_every_worker_is_an_error_and_the_others_are_scored(
    model: Model, slides: Path, tmp_path: Path
) -> None:
    task = task_of(model, slides, tmp_path / "out")

    def result() -> SlideAnswer:
        raise distributed.KilledWorker("task", SimpleNamespace(address="a"), 3)

    future: Any = SimpleNamespace(result=result, release=lambda: None)
    with Journal.open(tmp_path / "journal.sqlite3") as journal:
        work = cluster_scoring._ClusterWork(
            distributed,
            "plugin",
            task.request,
            model,
            journal,
            ScoreListener(),
            task.context,
            frozenset(),
        )
        assert work._take(future, task) is None
    (failure,) = work.failures
    assert failure["slide"] == task.slide.name
    assert failure["exit_code"] == 4


def test_a_worker_with_a_full_disk_is_asked_again_and_then_said(
    model: Model, slides: Path, tmp_path: Path
) -> None:
    task = task_of(model, slides, tmp_path / "out")
    answer = SlideAnswer(error=("disk is full", "/tmp", "make room"))
    future: Any = SimpleNamespace(result=lambda: answer, release=lambda: None)
    with Journal.open(tmp_path / "journal.sqlite3") as journal:
        work = cluster_scoring._ClusterWork(
            distributed,
            "plugin",
            task.request,
            model,
            journal,
            ScoreListener(),
            task.context,
            frozenset(),
        )
        assert [work._take(future, task), work._take(future, task)] == [task, task]
        with pytest.raises(StorageError, match="on a worker: disk is full"):
            work._take(future, task)


def test_a_worker_cannot_write_outside_the_slides_folder(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("../outside")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(tarfile.TarError):
        unpack(packed.getvalue(), tmp_path / "slide")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "text", ["", "local", "local:", "local:0", "local:x", "http://a:1", "a", "file:", "tcp://a"]
)
def test_what_is_no_cluster_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError):
        ClusterAddress.parse(text)


def test_addresses_are_read_as_dask_writes_them() -> None:
    for text in ("local:4", "node1:8786", "tcp://10.0.0.1:8786", "tls://node:1", "file:/s/x.json"):
        assert ClusterAddress.parse(text).text == text


def test_a_cluster_that_is_not_there_is_said_in_one_line(
    slides: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("edgeapl.cluster.connection.CONNECT_S", 0.5)
    journal = str(tmp_path / "journal.sqlite3")
    common = ["score", str(slides), "--out", str(tmp_path / "out"), "--journal", journal]
    assert run([*common, "--cluster", "127.0.0.1:1"]) == 2
    assert "no scheduler answers" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    for name in [name for name in sys.modules if name.startswith("edgeapl.cluster")]:
        monkeypatch.delitem(sys.modules, name)
    assert run([*common, "--cluster", "local:2"]) == 2
    assert "pip install 'edgeapl[cluster]'" in capsys.readouterr().err


def test_a_cluster_whose_workers_are_all_gone_is_said(
    model: Model, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_scoring, "LOOK_S", 0.1)
    monkeypatch.setattr(cluster_scoring, "WITHOUT_WORKERS_S", 0.3)

    def never(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(cluster_scoring, "wait", never)
    client: Any = SimpleNamespace(nthreads=dict, submit=lambda *_, **__: object())
    task = task_of(model, slides, tmp_path / "out")
    with Journal.open(tmp_path / "journal.sqlite3") as journal:
        work = cluster_scoring._ClusterWork(
            client, "p", task.request, model, journal, ScoreListener(), task.context, frozenset()
        )
        with pytest.raises(StorageError, match="no workers are left: run the same command again"):
            work.run([task.slide])


class Workers:
    """Two workers of a scheduler, one of which is killed now and then and started again."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._processes = [self._started(), self._started()]
        self.kills = 0

    def _started(self) -> subprocess.Popen[bytes]:
        # No nanny: it would give up a worker that dies while it starts.
        command = ["worker", self._address, "--no-nanny", "--nthreads", "1", "--no-dashboard"]
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """Kill one of them, whatever it is doing, and start another."""
        killed = self._processes[self.kills % 2]
        killed.kill()
        killed.wait()
        self._processes[self.kills % 2] = self._started()
        self.kills += 1

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_20_kills_of_workers_lose_nothing_and_give_nothing_twice(
    model: Model, tmp_path: Path
) -> None:
    slides = draw_slides(tmp_path / "slides", tuple(f"S{number}" for number in range(30)))
    once, single = tmp_path / "once", tmp_path / "once.sqlite3"
    score_part(model, slides, once, single)
    out, journal = tmp_path / "out", tmp_path / "journal.sqlite3"
    with distributed.LocalCluster(
        n_workers=0, dashboard_address=":0", scheduler_kwargs={"allowed_failures": 100}
    ) as cluster:
        workers = Workers(cluster.scheduler_address)

        def note(record: dict[str, Any], resumed: bool) -> None:
            if workers.kills < 20:
                workers.kill()

        try:
            result = on_cluster(cluster, model, slides, out, journal, ScoreListener(on_slide=note))
        finally:
            workers.end()
    assert workers.kills == 20
    assert result.errors == ()
    assert everything(out, journal) == everything(once, single)
    assert len(read_rows(journal)) == 30


def test_a_local_cluster_ends_with_the_program() -> None:
    with connected(ClusterAddress.parse("local:1")) as client:
        (pid,) = client.run(os.getpid).values()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.1)
    raise AssertionError("the worker lives on")


def test_a_cluster_of_this_machine_leaves_its_processors_to_the_networks() -> None:
    def said() -> list[Any]:
        return [dask.config.get(name) for name in QUIET]

    with connected(ClusterAddress.parse("local:1")) as client:
        assert [*client.run(said).values()] == [[*QUIET.values()]]
    assert said() != [*QUIET.values()], "only of this cluster"
