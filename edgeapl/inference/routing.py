"""Which networks see a cell, and in what order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.errors import EngineError
from edgeapl.protocols import Link
from edgeapl.stages.cascade import Cascade

Outputs = Mapping[str, NDArray[np.generic]]
"""What a network returned for a batch: output to one row per cell."""

Answer = Mapping[str, NDArray[np.generic]]
"""What a network returned for one cell: output to the cell's own row."""


class Route(Enum):
    """Whether one network sees one cell."""

    WAIT = "a network before it has not answered"
    RUN = "it sees the cell"
    SKIP = "another network put the cell in a class that it does not see"


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
    behind : the cascade whose student answers first; it sees only cells that this is unsure of.
    is_first : it is such a student: without a usable answer of it a cell is shown to the others.
    """

    network: str
    input: str
    after: tuple[str, str] | None
    when: tuple[str, str] | None
    rivals: tuple[str, ...]
    probabilities: tuple[str, ...]
    features: tuple[str, ...]
    behind: Cascade | None = None
    is_first: bool = False

    def route(self, answers: Mapping[str, Answer | None]) -> Route:
        """Tell whether a cell goes to this network.

        Parameters
        ----------
        answers : network to its answer about the cell; None for a network that did not see it;
            missing while it has not answered.
        """
        if self.behind is not None:
            if self.behind.network not in answers:
                return Route.WAIT
            first = answers[self.behind.network]
            if first is not None and self.behind.stands(first):
                return Route.SKIP
        for source in (self.when, self.after):
            if source is None:
                continue
            if source[0] not in answers:
                return Route.WAIT
            if answers[source[0]] is None:
                return Route.SKIP
        if self.when is not None and self._class(answers) != self.when[1]:
            return Route.SKIP
        return Route.RUN

    def follows(self, networks: Sequence[str]) -> bool:
        """Whether one of these networks, in the same batch, supplies what this one takes."""
        return self.when is None and self.after is not None and self.after[0] in networks

    def _class(self, answers: Mapping[str, Answer | None]) -> str:
        assert self.when is not None
        answer = answered(answers[self.when[0]])
        return self.rivals[int(np.argmax([float(answer[name]) for name in self.rivals]))]

    def checked(self, outputs: Outputs, count: int) -> Outputs:
        """Check what the network returned for `count` cells, and keep what is needed.

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
        """Whether all values of an answer are finite, and all its probabilities are from 0 to 1."""
        finite = all(bool(np.isfinite(values).all()) for values in answer.values())
        return finite and all(0 <= float(answer[name]) <= 1 for name in self.probabilities)


def answered(answer: Answer | None) -> Answer:
    """Return the answer of a network that saw the cell for certain."""
    assert answer is not None  # the manifest lets only networks that see every cell feed others
    return answer


def steps(manifest: Manifest, also: Sequence[str] = ()) -> tuple[Step, ...]:
    """Return the networks that see cells, each after those it waits for.

    Parameters
    ----------
    also : outputs, ``network.output``, that are needed besides those of roles and reducer.
    """
    cascade = Cascade.of(manifest)
    if cascade is None:
        return tuple(_step(manifest, name, also) for name in manifest.cell_networks)
    others = (name for name in manifest.cell_networks if name != cascade.network)
    behind = (replace(_step(manifest, name, also), behind=cascade) for name in others)
    return (first_step(manifest, cascade), *behind)


def first_step(manifest: Manifest, cascade: Cascade) -> Step:
    """Return the student of a cascade, which sees every cell."""
    step = _step(manifest, cascade.network, ())
    return replace(step, probabilities=cascade.decisions.outputs, is_first=True)


def chain_links(manifest: Manifest) -> tuple[Link, ...]:
    """Return the networks of cells as links of a chain; empty when they cannot be chained.

    That is so where a network takes another's output, but only for some cells: by the time it is
    known for which, that output is gone from the device. Nor is a cascade chained: what its first
    network is unsure of is decided on the processor.
    """
    order = steps(manifest)
    if manifest.cascade is not None:
        return ()
    if any(step.after is not None and step.when is not None for step in order):
        return ()
    return tuple(
        Link(step.network, step.input, step.after, (*step.probabilities, *step.features))
        for step in order
    )


def _step(manifest: Manifest, name: str, also: Sequence[str]) -> Step:
    network = manifest.networks[name]
    when = _parts(network.when)
    roles = [role.output for role in manifest.roles if role.network == name]
    conditions = [_parts(other.when) for other in manifest.networks.values()]
    routes_others = any(source is not None and source[0] == name for source in conditions)
    needed = [_parts(manifest.features), *(_parts(output) for output in also)]
    needed += [_parts(other.after) for other in manifest.networks.values()]
    features = [output[1] for output in needed if output is not None and output[0] == name]
    return Step(
        network=name,
        input=network.input,
        after=_parts(network.after),
        when=when,
        rivals=manifest.networks[when[0]].classes if when else (),
        probabilities=tuple(dict.fromkeys([*roles, *(network.classes if routes_others else ())])),
        features=tuple(dict.fromkeys(features)),
    )


def _parts(output: str | None) -> tuple[str, str] | None:
    """Split ``network.output``."""
    if output is None:
        return None
    network, _, name = output.partition(".")
    return network, name
