"""Numbers for people, with enough digits that none contradicts a limit that stands beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

NO_BREAK = "\N{NO-BREAK SPACE}"


def number(value: float, limits: Sequence[float] = (), least: int = 3) -> str:
    """Write one number; see `numbers`."""
    return numbers([value], limits, least)[0]


def numbers(values: Sequence[float], limits: Sequence[float] = (), least: int = 3) -> list[str]:
    """Write numbers with the same digits after the point, no fewer than `least`.

    There are enough of them that each number, as it is printed, is below a limit just when it is,
    and at or above it just when it is: 0.0996 is not 0.100 where the limit is 0.1.

    Parameters
    ----------
    values, limits : finite.
    """
    return [f"{rounded:f}" for rounded in _rounded(_decimals(values), _decimals(limits), least)]


def above(value: float, limit: float, least: int = 1) -> tuple[str, str]:
    """Write a value and the measured limit that it exceeds, so that it does as they are printed.

    A value that is no number, or has none that ends, is written as it is.
    """
    if not (math.isfinite(value) and value > limit):
        return f"{value:.{least}f}", f"{limit:.{least}f}"
    one, other = _decimals([value, limit])
    while _at(one, least) <= _at(other, least):
        least += 1
    return f"{_at(one, least):f}", f"{_at(other, least):f}"


def exact(limit: float) -> str:
    """Write a limit with all its digits and no more, so that nothing is compared with another."""
    return _plain(Decimal(repr(float(limit))))


def percent(share: float, limits: Sequence[float] = (), gap: str = " ") -> str:
    """Write a share, 0 to 1, in percent; see `percents`."""
    return percents([share], limits, gap)[0]


def percents(shares: Sequence[float], limits: Sequence[float] = (), gap: str = " ") -> list[str]:
    """Write shares in percent, with one digit after the point or as many as `numbers` needs.

    None is rounded to none or all that is not.

    Parameters
    ----------
    shares, limits : 0 to 1. gap : between number and sign.
    """
    values, beside = _decimals(shares), _decimals(limits)
    rounded = _rounded([100 * value for value in values], [100 * limit for limit in beside], 1)
    return [f"{_share(value, of, beside)}{gap}%" for value, of in zip(values, rounded, strict=True)]


def exact_percent(limit: float, gap: str = " ") -> str:
    """Write a limit, 0 to 1, in percent with all its digits and no more."""
    return f"{_plain(100 * Decimal(repr(float(limit))))}{gap}%"


def plural(count: int, one: str, many: str = "") -> str:
    """Write a count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}".replace(",", NO_BREAK)


def _share(value: Decimal, rounded: Decimal, limits: Sequence[Decimal]) -> str:
    """Write one share, `rounded` in percent, without its sign."""
    few, most = Decimal("0.001"), Decimal("0.999")
    if value in (0, 1):
        return f"{100 * value:.0f}"
    if value < few and not any(0 < limit < few for limit in limits):
        return "below 0.1"
    if value > most and not any(limit > most for limit in limits):
        return "above 99.9"
    while rounded in (0, 100):  # beside a limit as small, or as near to all
        places = 1 - int(rounded.as_tuple().exponent)
        rounded = _rounded([100 * value], [100 * limit for limit in limits], places)[0]
    return f"{rounded:f}"


def _decimals(values: Sequence[float]) -> list[Decimal]:
    """Give the shortest decimal fraction of each float: what it is printed as in full."""
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
    """Round to so many places; what has no more of them is only filled up with zeros."""
    return value.quantize(Decimal(1).scaleb(-places)) if places < _MOST_PLACES else value


_MOST_PLACES = 25
"""A share needs no more: below, it is written out."""


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
