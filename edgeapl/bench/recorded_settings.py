"""Whether the settings that engines were built with are the best that a bench has seen."""

from __future__ import annotations

from collections.abc import Sequence

from edgeapl.bench.bare_networks import Rate, Setting
from edgeapl.bench.candidate import Candidate
from edgeapl.bench.comparison import Comparison

CLEAR = 1.03
"""Times as long: less is not told apart from chance, as when engines are built."""


def note_of_networks(
    candidate: Candidate, tried: Sequence[tuple[int, Sequence[Rate]]]
) -> tuple[str, ...]:
    """Say when the bare networks are faster in other settings; nothing when they are not.

    tried : for each network, the cells of a pass and the rates of the settings.
    """
    if candidate.engines is None or not tried:
        return ()
    model = candidate.model
    mine = Setting(model.workers, candidate.threads, model.batch_size)
    known = [{rate.setting: cells / rate.rows_per_s for rate in rates} for cells, rates in tried]
    together = set.intersection(*(set(one) for one in known))
    if mine not in together:
        return ()
    seconds = {setting: sum(one[setting] for one in known) for setting in together}
    best = min(seconds, key=lambda setting: (seconds[setting], str(setting)))
    ratio = seconds[mine] / seconds[best]
    return (_words(candidate, str(best), ratio),) if ratio > CLEAR else ()


def note_of_pair(one: Candidate, other: Candidate, versus: Comparison) -> tuple[str, ...]:
    """Say when the same engines, in other settings, were surely faster in turns with these."""
    interval = versus.ratio.interval
    if one.engines is None or other.engines is None or interval is None:
        return ()
    if one.engines.folder != other.engines.folder:
        return ()
    recorded = one.engines.record.settings.text
    if one.settings_text == recorded != other.settings_text and interval[0] > 1:
        return (_words(one, other.settings_text, versus.ratio.value),)
    if other.settings_text == recorded != one.settings_text and interval[1] < 1:
        return (_words(other, one.settings_text, 1 / versus.ratio.value),)
    return ()


def _words(candidate: Candidate, better: str, ratio: float) -> str:
    assert candidate.engines is not None
    return (
        f"the recorded settings, {candidate.settings_text}, are not the best seen: {better} takes "
        f"{1 / ratio:.2f} of the time; edgeapl engines tune {candidate.engines.folder.name} "
        "measures them again"
    )
