"""Which network is shown which cell, and in what order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest, sources
from edgeapl.errors import EngineError

Outputs = Mapping[str, NDArray[np.generic]]
"""What a network gave for a batch: output to one row per cell."""

Answer = Mapping[str, NDArray[np.generic]]
"""What a network gave for one cell: output to the cell's own row."""


class Show(Enum):
    """What to do with one cell and one network."""

    WAIT = "a network before it has not answered"
    YES = "show it"
    NO = "another network put the cell elsewhere"


@dataclass(frozen=True, slots=True)
class Step:
    """One network that judges cells.

    network : its name. input : name of its input.
    after : (network, output) that it takes instead of images.
    when : (network, class): only cells of that class are shown; `rivals` are the classes that it
        competes with, itself included.
    probabilities : outputs that are one probability per cell: of roles, and of classes that other
        networks go by.
    features : outputs of any shape that the reducer or other networks take.
    """

    network: str
    input: str
    after: tuple[str, str] | None
    when: tuple[str, str] | None
    rivals: tuple[str, ...]
    probabilities: tuple[str, ...]
    features: tuple[str, ...]

    def show(self, answers: Mapping[str, Answer | None]) -> Show:
        """Tell whether a cell goes to this network.

        Parameters
        ----------
        answers : network to output to the cell's own row; None for a network that was not shown
            the cell; missing while it has not answered.
        """
        for source in (self.when, self.after):
            if source is None:
                continue
            if source[0] not in answers:
                return Show.WAIT
            if answers[source[0]] is None:
                return Show.NO
        if self.when is not None and self._class(answers) != self.when[1]:
            return Show.NO
        return Show.YES

    def _class(self, answers: Mapping[str, Answer | None]) -> str:
        assert self.when is not None
        answer = answers[self.when[0]]
        assert answer is not None
        return self.rivals[int(np.argmax([float(answer[name]) for name in self.rivals]))]

    def rows(self, outputs: Outputs, count: int) -> Outputs:
        """Check what the network gave for `count` cells, and keep what is asked for.

        Raises EngineError that names the output which is missing or has another shape.
        """
        checked = {}
        for output in (*self.probabilities, *self.features):
            name = f"{self.network}.{output}"
            if output not in outputs:
                raise EngineError("network has no such output", name, f"it has {sorted(outputs)}")
            values = outputs[output]
            single = output in self.probabilities
            fits = values.shape in ((count,), (count, 1)) if single else len(values.shape) > 1
            if not fits or len(values) != count:
                expected = f"({count},)" if single else f"({count}, any)"
                mend = f"expected {expected}, got {values.shape}"
                raise EngineError("network output has the wrong shape", name, mend)
            checked[output] = values.reshape(count) if single else values
        return checked

    def is_usable(self, answer: Answer) -> bool:
        """Tell whether all of an answer are finite, and all its probabilities from 0 to 1."""
        finite = all(bool(np.isfinite(values).all()) for values in answer.values())
        return finite and all(0 <= float(answer[name]) <= 1 for name in self.probabilities)


def steps(manifest: Manifest, also: Sequence[str] = ()) -> tuple[Step, ...]:
    """Give the networks that look at cells, each after those it waits for.

    Networks of the detector and a head that no role names are not among them.

    Parameters
    ----------
    also : outputs, ``network.output``, that are wanted besides those of roles and reducer.
    """
    order: list[str] = []

    def add(name: str) -> None:
        for source in sources(manifest.networks[name]):
            add(source)
        if name not in order:
            order.append(name)

    for role in manifest.roles:
        add(role.network)
    if manifest.features is not None:
        add(manifest.features.partition(".")[0])
    return tuple(_step(manifest, name, also) for name in order)


def _step(manifest: Manifest, name: str, also: Sequence[str]) -> Step:
    network = manifest.networks[name]
    when = _parts(network.when)
    roles = [role.output for role in manifest.roles if role.network == name]
    gates = [_parts(other.when) for other in manifest.networks.values()]
    leads_on = any(gate is not None and gate[0] == name for gate in gates)
    taken = [_parts(manifest.features), *(_parts(output) for output in also)]
    taken += [_parts(other.after) for other in manifest.networks.values()]
    features = [output[1] for output in taken if output is not None and output[0] == name]
    return Step(
        network=name,
        input=network.input,
        after=_parts(network.after),
        when=when,
        rivals=manifest.networks[when[0]].classes if when else (),
        probabilities=tuple(dict.fromkeys([*roles, *(network.classes if leads_on else ())])),
        features=tuple(dict.fromkeys(features)),
    )


def _parts(output: str | None) -> tuple[str, str] | None:
    if output is None:
        return None
    network, _, name = output.partition(".")
    return network, name
