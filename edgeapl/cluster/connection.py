"""The client's side of a cluster: connect, give every worker the model, notice what goes wrong."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
from distributed import Client, LocalCluster
from distributed.comm.core import CommClosedError

from edgeapl.cluster.address import ClusterAddress
from edgeapl.cluster.worker import (
    ModelPlugin,
    WorkerIdentity,
    identity_of,
    sees_bundle,
)
from edgeapl.errors import EdgeAplError, StorageError, UsageError

CONNECT_S = 30.0
"""For the scheduler to answer, and for the first worker to come."""

QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}
"""Dask watches its processes for a page that nobody opens here: without it, a program and two
workers that wait take 0.02 s of processor a second instead of 0.09."""


@contextmanager
def connected(address: ClusterAddress) -> Iterator[Client]:
    """Connect to a cluster; one of this machine is started, and ends with the block.

    Raises UsageError when there is no scheduler, or it has no worker.
    """
    # The client's own words say what went wrong; Dask's would come on top, with tracebacks.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if address.local:
        with (
            dask.config.set(QUIET),
            LocalCluster(
                n_workers=address.local,
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",  # a free port: several may run here
                # The pipeline bounds its own memory; Dask would stop workers at a share of it.
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(
            address.scheduler or None,
            scheduler_file=address.scheduler_file or None,
            timeout=CONNECT_S,
        )
    except (OSError, asyncio.TimeoutError, CommClosedError, ValueError) as error:
        mend = "start one with: dask scheduler"
        raise UsageError("no scheduler answers", address.text, mend) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_S)
        except (asyncio.TimeoutError, TimeoutError) as error:
            mend = "start one with: dask worker ADDRESS --nthreads 1"
            raise UsageError("cluster has no workers", address.text, mend) from error
        yield client


def bundle_to_send(client: Client, folder: Path, digest: str) -> dict[str, bytes]:
    """Return the bundle's files when any worker does not see its folder, else nothing."""
    # A worker that just died answers with an error; it opens the model when it is back.
    seen = client.run(sees_bundle, folder, digest, on_error="return")
    if False not in seen.values():
        return {}
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def open_models(client: Client, plugin: ModelPlugin) -> frozenset[WorkerIdentity]:
    """Have every worker open the model, also those that come later; return what they answer by.

    Raises what a worker's opening raises.
    """
    end = time.monotonic() + CONNECT_S
    while True:
        try:
            client.register_plugin(plugin)
        except CommClosedError as error:
            # A worker died while it was asked; it comes back by itself.
            died: Exception | None = error
        else:
            died = None
        said = client.run(identity_of, plugin.name, on_error="return").values()
        for one in said:
            if isinstance(one, EdgeAplError):
                raise one
        known = frozenset(one for one in said if isinstance(one, WorkerIdentity))
        if known and died is None:
            return known
        if time.monotonic() > end:
            raise lost(died or TimeoutError("no worker has opened the model"))
        time.sleep(0.5)


def lost(error: BaseException) -> StorageError:
    """Return the error for a cluster that went away while slides were examined."""
    mend = "run the same command again: what is finished is not examined twice"
    return StorageError("cluster was lost", str(error) or type(error).__name__, mend)
