"""The model and the settings behind a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeapl import __version__
from edgeapl.bundle.manifest import Manifest
from edgeapl.wording.shown_cells import shown_in_words


@dataclass(frozen=True, slots=True)
class ReportContext:
    """The model behind a report, in the words of its manifest.

    bundle_name, bundle_version, intended_use : as in `bundle.toml`.
    trained : False for networks that were never trained.
    roles : role name to the probability from which a cell counts as positive; order is kept.
    suspicious_roles : those that suggest APL.
    flag_at, clear_below : limits of the slide's probability.
    confidence : level of the intervals, 0.5 to below 1.
    crops : every image is one cell.
    software : name and version of the program.
    gallery_size : most pictures of suspicious cells.
    group_roles : those that add others up. by_kind : cells of every kind are shown, not only the
        most suspicious ones.
    cells_shown : how cells are changed before the networks see them, in words.
    by_cells : the rule counts suspicious cells; otherwise only the slide's probability counts.
    """

    bundle_name: str
    bundle_version: str
    intended_use: str
    trained: bool
    roles: Mapping[str, float]
    suspicious_roles: tuple[str, ...]
    flag_at: float
    clear_below: float
    confidence: float
    crops: bool
    software: str
    gallery_size: int = 120
    by_cells: bool = True
    group_roles: frozenset[str] = frozenset()
    by_kind: bool = False
    cells_shown: str = ""


def report_context(manifest: Manifest, *, crops: bool) -> ReportContext:
    """Return the context for a bundle's manifest."""
    return ReportContext(
        bundle_name=manifest.name,
        bundle_version=manifest.version,
        intended_use=manifest.intended_use,
        trained=manifest.trained,
        roles={role.name: role.threshold for role in manifest.roles},
        suspicious_roles=tuple(role.name for role in manifest.roles if role.suspicious),
        flag_at=manifest.rule.flag_at,
        clear_below=manifest.rule.clear_below,
        confidence=manifest.rule.confidence,
        crops=crops,
        software=f"edgeapl {__version__}",
        group_roles=frozenset(role.name for role in manifest.roles if role.members),
        cells_shown=shown_in_words(manifest.crop.colour_transfer, manifest.crop.views),
        by_kind=manifest.answers == "differential",
        by_cells=manifest.rule.suspicious_share is not None or manifest.reducer.kind == "vote",
    )
