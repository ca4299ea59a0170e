"""What `bundle.toml` may contain: the parts in `edgeapl.bundle.specs`, and how they must fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgeapl.bundle.certificate import CertificateSpec, subject_of
from edgeapl.bundle.soundness import check_rule
from edgeapl.bundle.specs import (
    CalibrationSpec,
    CascadeSpec,
    CropSpec,
    Digest,
    DomainSpec,
    ExplanationSpec,
    FileName,
    GateSpec,
    GoldenSpec,
    LimitsSpec,
    Name,
    NetworkSpec,
    OutputOf,
    ParentSpec,
    Positive,
    ReducerSpec,
    RoleSpec,
    RuleSpec,
    SegmenterSpec,
    Spec,
    TrainingSpec,
)

SCHEMA = 1
"""Version of `bundle.toml`; raised when an older reader would misread a newer file."""


class Manifest(Spec):
    """The whole of `bundle.toml`.

    answers : ``apl``: whether the slide is suspected of APL; ``subtype``: which kind of APL it is,
        if it is one, so that its only verdict is REVIEW; ``differential``: how many cells of each
        kind there are, so that it flags immature granulocytes and never clears.
    trained : False for weights that were never trained; then the only verdict is REVIEW.
    features : output float32 (N, D) that pooling reducers take.
    training : what the networks were trained on; None if unknown.
    certificate : evidence that the bundle may clear; without one it never does.
    parent : the bundle that it was distilled from; None for all others.
    cascade : a small network that answers first; None where the roles' networks see every cell.
    """

    schema_version: Literal[1]
    name: Name
    version: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+){0,3}[a-z0-9.+-]*$")]
    intended_use: Annotated[str, Field(min_length=1)]
    answers: Literal["apl", "subtype", "differential"] = "apl"
    trained: bool
    um_per_px: Positive
    model_card: FileName
    segmenter: SegmenterSpec
    crop: CropSpec
    networks: dict[Name, NetworkSpec]
    roles: tuple[RoleSpec, ...]
    reducer: ReducerSpec
    rule: RuleSpec
    gate: GateSpec
    golden: GoldenSpec
    domain: DomainSpec | None = None
    calibration: CalibrationSpec | None = None
    training: TrainingSpec | None = None
    certificate: CertificateSpec | None = None
    parent: ParentSpec | None = None
    cascade: CascadeSpec | None = None
    limits: LimitsSpec = LimitsSpec()
    features: OutputOf | None = None
    explanation: ExplanationSpec | None = None
    files: dict[FileName, Digest]

    @property
    def detector_networks(self) -> tuple[str, ...]:
        """Networks that find cells rather than classify them."""
        return self.segmenter.networks

    @property
    def cell_networks(self) -> tuple[str, ...]:
        """Networks that judge cells, each after those it waits for; first that of a cascade.

        Those of the detector, and a head that no role names, are not among them.
        """
        order = [] if self.cascade is None else [self.cascade.network]

        def add(name: str) -> None:
            for source in sources(self.networks[name]):
                add(source)
            if name not in order:
                order.append(name)

        for role in self.roles:
            add(role.network)
        if self.features is not None:
            add(self.features.partition(".")[0])
        return tuple(order)

    @model_validator(mode="after")
    def _files_are_listed(self) -> Manifest:
        wanted = [self.model_card, self.golden.frame, self.golden.expected]
        wanted += [network.file for network in self.networks.values()]
        wanted += [self.domain.file] if self.domain else []
        if self.calibration:
            wanted += [self.calibration.ranges, self.calibration.images]
        wanted += [self.training.images] if self.training else []
        wanted += [self.parent.proof] if self.parent else []
        wanted += [self.certificate.evidence, self.certificate.look] if self.certificate else []
        for file in wanted:
            if file not in self.files:
                raise ValueError(f"file {file!r} is used but not listed under [files]")
        return self

    @model_validator(mode="after")
    def _networks_are_listed(self) -> Manifest:
        for used in self._used_networks():
            if used not in self.networks:
                raise ValueError(f"network {used!r} is used but not listed under [networks]")
        for name, network in self.networks.items():
            if network.when is not None:
                source, _, answer = network.when.partition(".")
                if answer not in self.networks[source].classes:
                    raise ValueError(f"network {name!r}: {source!r} has no class {answer!r}")
            self._path_to(name)
        return self

    def _used_networks(self) -> Iterator[str]:
        yield from (role.network for role in self.roles)
        yield from self.detector_networks
        if self.cascade is not None:
            yield self.cascade.network
        if self.reducer.head is not None:
            yield self.reducer.head
        outputs = [self.features, *(self.explanation.maps if self.explanation else ())]
        for network in self.networks.values():
            outputs += [network.after, network.when]
        yield from (output.partition(".")[0] for output in outputs if output is not None)

    def _path_to(self, name: str) -> None:
        """Raise when a network depends on its own answer, directly or indirectly."""
        seen, open_ends = {name}, [name]
        while open_ends:
            for source in sources(self.networks[open_ends.pop()]):
                if source == name:
                    raise ValueError(f"network {name!r} waits for its own answer")
                if source not in seen:
                    seen.add(source)
                    open_ends.append(source)

    @model_validator(mode="after")
    def _roles_fit(self) -> Manifest:
        names = [role.name for role in self.roles]
        if len(set(names)) != len(names) or not names:
            raise ValueError("roles: at least one, and no name twice")
        for role in self.roles:
            if role.name in role.members or not set(role.members) <= set(names):
                raise ValueError(f"roles: members of {role.name!r} must be other roles")
        must_suspect = self.reducer.kind in ("vote", "ratio") and self.answers != "subtype"
        if must_suspect and not any(role.suspicious for role in self.roles):
            raise ValueError("roles: at least one must be suspicious")
        if self.reducer.pools and self.features is None:
            raise ValueError(f"reducer {self.reducer.kind!r} needs 'features', an output name")
        if not self.reducer.pools and self.rule.suspicious_share is None:
            raise ValueError(f"reducer {self.reducer.kind!r} needs rule.suspicious_share")
        if self.features is not None:
            network = self.networks[self.features.partition(".")[0]]
            if network.when is not None or network.after is not None:
                raise ValueError("features: their network must be shown every cell")
        return self

    @model_validator(mode="after")
    def _cascade_fits(self) -> Manifest:
        if self.cascade is None:
            return self
        if self.crop.views > 1:
            raise ValueError("cascade: views of a cell would be judged by different networks")
        if self.features is not None:
            raise ValueError("cascade: features need a network that sees every cell")
        network = self.networks[self.cascade.network]
        behind = {role.network for role in self.roles}
        if network.after or network.when or self.cascade.network in behind:
            raise ValueError("cascade: its network must see every cell, and have no role itself")
        return self

    @model_validator(mode="after")
    def _rule_is_sound(self) -> Manifest:
        # Bundles that tell subtypes apart, or were never trained, give REVIEW whatever the rule.
        if self.answers != "subtype" and self.trained:
            check_rule(self.rule, self.reducer, self.roles)
        return self

    @model_validator(mode="after")
    def _kinds_are_counted(self) -> Manifest:
        counts = self.answers == "differential"
        if counts and self.reducer.kind != "vote":
            raise ValueError("answers 'differential' needs the reducer 'vote'")
        if counts and self.certificate is not None:
            raise ValueError("certificate: a bundle that answers 'differential' never clears")
        if self.rule.role_limits and not counts:
            raise ValueError("rule: role_limits need answers 'differential'")
        suspicious = {role.name for role in self.roles if role.suspicious}
        for name in self.rule.role_limits:
            if name not in suspicious:
                raise ValueError(f"rule: role_limits names {name!r}, no suspicious role")
        return self

    @property
    def subject(self) -> str:
        """Digest of everything that verdicts depend on."""
        return subject_of(self.model_dump(mode="json", exclude_defaults=True), self.files)

    @model_validator(mode="after")
    def _certificate_fits(self) -> Manifest:
        certificate = self.certificate
        if certificate is None:
            return self
        if certificate.subject != self.subject:
            raise ValueError("certificate: it was given for other networks or another rule")
        if certificate.clear_below > self.rule.clear_below:
            raise ValueError("certificate: it clears more than the rule does")
        return self

    @model_validator(mode="after")
    def _explanation_fits(self) -> Manifest:
        kind = self.explanation.kind if self.explanation else None
        if kind == "contributions" and self.reducer.kind != "max":
            raise ValueError("explanation 'contributions' needs the reducer 'max'")
        if kind == "occlusion" and (self.reducer.kind != "ratio" or self.crop.cut != "window"):
            raise ValueError("explanation 'occlusion' needs the reducer 'ratio' and window crops")
        return self


def sources(network: NetworkSpec) -> tuple[str, ...]:
    """Return the networks whose answers this one waits for."""
    given = (network.after, network.when)
    return tuple(output.partition(".")[0] for output in given if output is not None)
