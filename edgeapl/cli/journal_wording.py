"""How rows of the journal are told in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeapl.journal import Row


def bundle_text(content: Mapping[str, Any]) -> str:
    """Name the bundle of a verdict, and say when it is no patient's; old records do not say."""
    bundle = content.get("bundle", {})
    name = f"{bundle.get('name', '')} {bundle.get('version', '')}".strip() or "-"
    return f"{name} (demonstration)" if content.get("demonstration") is True else name


def said_in_short(row: Row) -> str:
    """Return what a person did in a row that is not a verdict."""
    from edgeapl.errors import UsageError
    from edgeapl.journal import BUNDLE, sign_off_of

    content = row.content
    what = row.kind
    if row.kind == BUNDLE:
        bundle = content.get("bundle") or {}
        return f"{content.get('action')} bundle {bundle.get('name')} {bundle.get('version')}"
    if "sign_off" in content:
        try:
            what = sign_off_of(row).words
        except UsageError:  # of another version
            what = str(content["sign_off"])
    elif "cell" in content:
        what = f"cell {content['cell']} called {content.get('label')}"
    return f"{what} by {content['person']}" if "person" in content else what
