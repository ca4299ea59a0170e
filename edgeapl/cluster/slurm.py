"""A job for Slurm that starts a scheduler and workers, scores a folder and ends them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_JOB = """\
#!/bin/bash
# EdgeAPL on Slurm. Research use only. Not for diagnosis.
# Written by: edgeapl cluster slurm. Look at it, then: sbatch job.sh
#SBATCH --job-name=edgeapl
#SBATCH --ntasks={tasks}
#SBATCH --cpus-per-task={cpus}
#SBATCH --mem-per-cpu={memory_mib}M
#SBATCH --time={time}
#SBATCH --output=edgeapl-%j.log
set -euo pipefail
export PATH={path}:$PATH

# In it the scheduler says where it is; every node must see the folder that the job is sent from.
where=$SLURM_SUBMIT_DIR/edgeapl-$SLURM_JOB_ID.json
trap 'kill $(jobs -p) 2>/dev/null; rm -f "$where"' EXIT

srun --ntasks=1 --exact dask scheduler --port 0 --scheduler-file "$where" &
while [ ! -s "$where" ]; do sleep 1; done
# A model takes all cores of its worker, so each has one thread of Dask's.
srun --ntasks={workers} --exact dask worker --scheduler-file "$where" --nworkers 1 --nthreads 1 \\
  --memory-limit 0 --death-timeout 120 &

# This one commits and writes: its journal must lie on a local disk, not on a share.
edgeapl score {score} --cluster "file:$where"
"""


def slurm_job(
    workers: int, cpus: int, memory_mib: int, time: str, path: str, score: Sequence[str]
) -> str:
    """Return the text of the job.

    Parameters
    ----------
    workers : each on `cpus` cores with `memory_mib` MiB each.
    time : limit, as Slurm writes it: ``8:00:00``.
    path : folder with the programs edgeapl and dask, seen by every node.
    score : arguments of ``edgeapl score``, without ``--cluster``.
    """
    return _JOB.format(
        # One task for the scheduler beside the workers.
        tasks=workers + 1,
        workers=workers,
        cpus=cpus,
        memory_mib=memory_mib,
        time=time,
        path=shlex.quote(path),
        score=shlex.join(score),
    )
