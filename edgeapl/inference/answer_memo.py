"""Answers that networks gave before, to be given again to the very same input.

The same field photographed into two files, a copied file, a frozen camera: their cells are equal
byte for byte, and so is what a network says of them.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from edgeapl.inference.routing import Answer

MOST_BYTES = 16 << 20
"""Of answers: some 50,000 cells with a few probabilities each, or 2,000 with 2,048 features."""

ENTRY_BYTES = 400
"""What an entry takes beside the numbers of its answer."""

Key = tuple[str, bytes]


class AnswerMemo:
    """Remembers answers by network and input; the longest unused are forgotten first.

    Several threads may use it. Two that run the same input at the same time both run it.

    Parameters
    ----------
    most_bytes : that the entries may take together.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._nbytes = 0
        self._answers: OrderedDict[Key, Answer] = OrderedDict()
        self._change = threading.Lock()

    @property
    def nbytes(self) -> int:
        """What the entries take, in bytes."""
        return self._nbytes

    def find(self, network: str, digest: bytes) -> Answer | None:
        """Return what a network answered to the input with this digest; None if unknown."""
        with self._change:
            answer = self._answers.get((network, digest))
            if answer is not None:
                self._answers.move_to_end((network, digest))
            return answer

    def keep(self, network: str, digest: bytes, answer: Answer) -> None:
        """Remember an answer; its arrays are copied, for they may be rows of a whole batch."""
        copy = {name: np.array(values) for name, values in answer.items()}
        with self._change:
            old = self._answers.pop((network, digest), None)
            self._nbytes += _nbytes(copy) - (0 if old is None else _nbytes(old))
            self._answers[network, digest] = copy
            while self._nbytes > self._most_bytes:
                _, forgotten = self._answers.popitem(last=False)
                self._nbytes -= _nbytes(forgotten)


def digest_of(values: NDArray[np.generic]) -> bytes:
    """Return the SHA-256 of an array's bytes; arrays of one network have one shape and dtype."""
    return hashlib.sha256(np.ascontiguousarray(values).data).digest()


def _nbytes(answer: Answer) -> int:
    return ENTRY_BYTES + sum(values.nbytes for values in answer.values())
