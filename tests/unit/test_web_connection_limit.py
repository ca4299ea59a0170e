"""Connections that wait for their client make room; those in work never do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeapl.web.connection_limit import (
    ConnectionLimiter,
    ConnectionLimits,
    ConnectionState,
    TrackedConnection,
)

LIMITS = ConnectionLimits(total=8, per_address=6, opening=4)


class Line:
    """A connection made by hand."""

    def __init__(self) -> None:
        self.dropped = False
        self.waiting = 0

    def unsent(self) -> int:
        return self.waiting

    def drop(self) -> None:
        self.dropped = True


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def accepted(
    limiter: ConnectionLimiter, address: str, state: ConnectionState = ConnectionState.OPENING
) -> tuple[Line, TrackedConnection]:
    line = Line()
    connection = limiter.accept(line, address)
    assert connection is not None
    limiter.set_state(connection, state)
    return line, connection


def test_the_oldest_unfinished_request_makes_room() -> None:
    limiter = ConnectionLimiter(LIMITS)
    lines = [accepted(limiter, "a")[0] for _ in range(LIMITS.opening + 2)]
    assert [line.dropped for line in lines] == [True, True, False, False, False, False]


def test_the_address_with_most_of_them_gives_one_up() -> None:
    limiter = ConnectionLimiter(LIMITS)
    quiet, _ = accepted(limiter, "quiet")
    flood = [accepted(limiter, "flood")[0] for _ in range(10)]
    assert not quiet.dropped
    assert sum(not line.dropped for line in flood) == LIMITS.opening - 1


def test_kept_connections_make_room_when_no_request_is_unfinished() -> None:
    limiter = ConnectionLimiter(LIMITS)
    idle = [accepted(limiter, f"{n}", ConnectionState.IDLE)[0] for n in range(3)]
    work = [accepted(limiter, f"w{n}", ConnectionState.WORKING)[0] for n in range(5)]
    accepted(limiter, "new", ConnectionState.WORKING)
    assert [line.dropped for line in idle] == [True, False, False]
    assert not any(line.dropped for line in work)


def test_work_is_never_ended_for_a_newcomer_and_leaves_places_to_other_addresses() -> None:
    limiter = ConnectionLimiter(LIMITS)
    work = [accepted(limiter, "a", ConnectionState.WORKING)[0] for _ in range(LIMITS.per_address)]
    refused = Line()
    assert limiter.accept(refused, "a") is None
    assert refused.dropped
    assert not any(line.dropped for line in work)
    accepted(limiter, "b")


@pytest.mark.parametrize(
    ("state", "unsent", "after_s"),
    [
        (ConnectionState.OPENING, 0, LIMITS.request_s),
        (ConnectionState.IDLE, 0, LIMITS.idle_s),
        (ConnectionState.WORKING, 1, LIMITS.unread_s),
        (ConnectionState.WORKING, 0, None),
    ],
)
def test_who_waits_too_long_is_dropped(
    state: ConnectionState, unsent: int, after_s: float | None
) -> None:
    clock = Clock()
    limiter = ConnectionLimiter(LIMITS, clock)
    line, _ = accepted(limiter, "a", state)
    line.waiting = unsent
    limiter.sweep()
    clock.s = after_s if after_s is not None else 1e6
    limiter.sweep()
    assert len(limiter) == 1
    clock.s += 0.1
    limiter.sweep()
    assert len(limiter) == (1 if after_s is None else 0)
    assert line.dropped == (after_s is not None)


def test_whoever_reads_a_little_is_given_time_anew() -> None:
    clock = Clock()
    limiter = ConnectionLimiter(LIMITS, clock)
    line, _ = accepted(limiter, "a", ConnectionState.WORKING)
    for unsent in (9, 0, 9):
        line.waiting = unsent
        limiter.sweep()
        clock.s += LIMITS.unread_s
    limiter.sweep()
    assert not line.dropped


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2::ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_one_client_holds_a_whole_half_of_ipv6(one: str, other: str, same: bool) -> None:
    limiter = ConnectionLimiter(LIMITS)
    for _ in range(LIMITS.per_address):
        accepted(limiter, one, ConnectionState.WORKING)
    assert (limiter.accept(Line(), other) is None) == same


def test_limits_shrink_with_the_descriptors() -> None:
    small = ConnectionLimits().within(100)
    assert (small.total, small.per_address, small.opening) == (100, 90, 50)
    assert ConnectionLimits().within(10_000) == ConnectionLimits()
    assert ConnectionLimits().within(-5).total == 16


MOVES = st.lists(
    st.tuples(st.sampled_from(("enter", *ConnectionState, "leave")), st.integers(0, 11)),
    max_size=120,
)


@given(MOVES)
def test_it_counts_right_whatever_happens(moves: list[tuple[str | ConnectionState, int]]) -> None:
    limiter = ConnectionLimiter(LIMITS)
    connections: list[tuple[Line, TrackedConnection]] = []
    for move, number in moves:
        if move == "enter":
            line = Line()
            connection = limiter.accept(line, f"{number % 3}")
            if connection is not None:
                connections.append((line, connection))
        elif connections:
            line, connection = connections[number % len(connections)]
            if isinstance(move, ConnectionState):
                limiter.set_state(connection, move)
            else:
                limiter.release(connection)
                connections.remove((line, connection))
        connections = [(line, connection) for line, connection in connections if not line.dropped]
        assert len(limiter) == len(connections) <= LIMITS.total
        opening = [
            connection
            for _, connection in connections
            if connection.state is ConnectionState.OPENING
        ]
        assert limiter._opening == len(opening)
