"""Numbers for people, with enough digits that none contradicts a limit shown beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

NO_BREAK = "\N{NO-BREAK SPACE}"


def number(value: float, limits: Sequence[float] = (), least: int = 3) -> str:
    """Format one number; see `numbers`."""
    return numbers([value], limits, least)[0]


def numbers(values: Sequence[float], limits: Sequence[float] = (), least: int = 3) -> list[str]:
    """Format numbers with the same number of decimals, at least `least`.

    There are enough of them that each printed number is below a limit exactly when its value is:
    0.0996 is not printed as 0.100 beside a limit of 0.1.

    Parameters
    ----------
    values, limits : finite.
    """
    return [f"{rounded:f}" for rounded in _rounded(_decimals(values), _decimals(limits), least)]


def above(value: float, limit: float, least: int = 1) -> tuple[str, str]:
    """Format a value and the measured limit it exceeds, so that it does so as printed.

    A value that is infinite or not a number is printed as it is.
    """
    if not (math.isfinite(value) and value > limit):
        return f"{value:.{least}f}", f"{limit:.{least}f}"
    one, other = _decimals([value, limit])
    while _at(one, least) <= _at(other, least):
        least += 1
    return f"{_at(one, least):f}", f"{_at(other, least):f}"


def exact(limit: float) -> str:
    """Format a limit with all its digits and no more, so that comparisons are exact."""
    return _plain(Decimal(repr(float(limit))))


def percent(share: float, limits: Sequence[float] = (), gap: str = " ") -> str:
    """Format a share, 0 to 1, in percent; see `percents`."""
    return percents([share], limits, gap)[0]


def percents(shares: Sequence[float], limits: Sequence[float] = (), gap: str = " ") -> list[str]:
    """Format shares in percent, with one decimal or as many as `numbers` needs.

    No share is rounded to 0 or 100 unless it is 0 or 1.

    Parameters
    ----------
    shares, limits : 0 to 1. gap : between number and percent sign.
    """
    values, beside = _decimals(shares), _decimals(limits)
    rounded = _rounded([100 * value for value in values], [100 * limit for limit in beside], 1)
    return [f"{_share(value, of, beside)}{gap}%" for value, of in zip(values, rounded, strict=True)]


def exact_percent(limit: float, gap: str = " ") -> str:
    """Format a limit, 0 to 1, in percent with all its digits and no more."""
    return f"{_plain(100 * Decimal(repr(float(limit))))}{gap}%"


def plural(count: int, one: str, many: str = "") -> str:
    """Format a count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}".replace(",", NO_BREAK)


def _share(value: Decimal, rounded: Decimal, limits: Sequence[Decimal]) -> str:
    """Format one share, `rounded` in percent, without the sign."""
    few, most = Decimal("0.001"), Decimal("0.999")
    if value in (0, 1):
        return f"{100 * value:.0f}"
    if value < few and not any(0 < limit < few for limit in limits):
        return "below 0.1"
    if value > most and not any(limit > most for limit in limits):
        return "above 99.9"
    while rounded in (0, 100):  # beside a limit that is as close to 0 or 100
        places = 1 - int(rounded.as_tuple().exponent)
        rounded = _rounded([100 * value], [100 * limit for limit in limits], places)[0]
    return f"{rounded:f}"


def _decimals(values: Sequence[float]) -> list[Decimal]:
    """Return the shortest decimal fraction of each float: what it prints as in full."""
    return [Decimal(repr(float(value))) for value in values]


def _rounded(values: Sequence[Decimal], limits: Sequence[Decimal], least: int) -> list[Decimal]:
    places = least
    while True:
        rounded = [_at(value, places) for value in values]
        if all(
            (short >= limit) == (value >= limit)
            for short, value in zip(rounded, values, strict=True)
            for limit in limits
        ):
            return rounded
        places += 1


def _at(value: Decimal, places: int) -> Decimal:
    """Round to `places` decimals, or pad with zeros."""
    return value.quantize(Decimal(1).scaleb(-places)) if places < _MOST_PLACES else value


_MOST_PLACES = 25
"""Shares need no more decimals; smaller ones are written out in full."""


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
