"""The host's end of its child."""

from __future__ import annotations

from collections.abc import Sequence

from edgeapl.engines.hosted.messages import REPLIES, REQUESTS, Reply, ToChild
from edgeapl.errors import EngineError
from edgeapl.process.child import ChildProcess
from edgeapl.process.memory import SharedMemory
from edgeapl.process.messages import MessageError

CHILD = "edgeapl.engines.hosted.child"


class EngineProcess(ChildProcess[ToChild, Reply]):
    """A process for networks.

    Parameters
    ----------
    memory : shared, for each slot that of inputs and that of outputs.

    Raises OSError when the system gives no process.
    """

    def __init__(self, memory: Sequence[SharedMemory]) -> None:
        descriptors = [each.descriptor for each in memory]
        arguments = list(map(str, descriptors))
        super().__init__(CHILD, REQUESTS, REPLIES, arguments=arguments, descriptors=descriptors)

    def send(self, message: ToChild) -> bool:
        """Send a message; False when the child is gone. Raises EngineError when it is too long."""
        try:
            return super().send(message)
        except MessageError as error:
            raise EngineError("request is too long", error, "use shorter names") from error
