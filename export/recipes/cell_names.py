"""Names of cell classes, so that an unknown role name can be questioned."""

from __future__ import annotations

import re
from collections.abc import Iterable

KNOWN = frozenset(
    """
    apl aml all cml cll mds healthy normal leukemia leukaemia pml rara fusion
    blast myeloblast monoblast lymphoblast megakaryoblast erythroblast promyelocyte promyelocytic
    hypergranular microgranular auer rod faggot
    myelocyte metamyelocyte band granulocyte neutrophil eosinophil basophil segmented stab
    monocyte promonocyte lymphocyte plasma plasmacyte prolymphocyte hairy
    normoblast proerythroblast megakaryocyte platelet thrombocyte macrophage histiocyte mast
    smudge basket damaged artefact artifact background debris
    cell other none rest unknown negative positive suspicious immature mature leukocyte leucocyte
    wbc rbc erythrocyte nucleated
    """.split()  # noqa: SIM905 - a list would take a line for each
)
"""Words, in the singular, that names of cell classes consist of."""


def unknown_roles(names: Iterable[str]) -> tuple[str, ...]:
    """Return a warning for each role none of whose words says which cells it means."""
    return tuple(
        f"role {name!r} is not a known cell class, and it appears in every verdict: "
        "write it as a reader of the report would"
        for name in names
        if not KNOWN & {_singular(word) for word in re.split(r"[-_.0-9]+", name.lower())}
    )


def _singular(word: str) -> str:
    return word if word in KNOWN else word.removesuffix("s")
