"""Where a cluster is: processes of this machine, a scheduler's address, or its file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeapl.errors import UsageError

MOST_LOCAL = 256


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """How to reach workers. Exactly one of the three is set.

    local : so many processes on this machine, which end with the program; 0 for others.
    scheduler : address of a Dask scheduler, such as ``tcp://node1:8786``.
    scheduler_file : file in which a scheduler on a shared disk says its address.
    """

    local: int = 0
    scheduler: str = ""
    scheduler_file: str = ""

    @classmethod
    def parse(cls, text: str) -> ClusterAddress:
        """Read ``local:N``, ``HOST:PORT``, ``tcp://HOST:PORT``, ``tls://...`` or ``file:PATH``.

        Raises UsageError.
        """
        kind, _, rest = text.partition(":")
        if kind == "local":
            if not re.fullmatch("[0-9]{1,3}", rest, re.ASCII) or not 1 <= int(rest) <= MOST_LOCAL:
                raise UsageError("number of workers is not understood", text, "such as local:2")
            return cls(local=int(rest))
        if kind == "file" and rest:
            return cls(scheduler_file=rest)
        if re.fullmatch(r"(tcp://|tls://)?[^\s/:]+:[0-9]{1,5}", text, re.ASCII):
            return cls(scheduler=text)
        mend = "write local:N, HOST:PORT of a Dask scheduler, or file:PATH of its scheduler file"
        raise UsageError("cluster is not understood", text, mend)

    @property
    def text(self) -> str:
        """The address as it is written."""
        if self.local:
            return f"local:{self.local}"
        return self.scheduler or f"file:{self.scheduler_file}"
