"""Connections that wait for their client make room; those in work never do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeapl.web.connection_limit import Door, Guest, Limits, State

LIMITS = Limits(total=8, per_address=6, opening=4)


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


def entered(door: Door, address: str, state: State = State.OPENING) -> tuple[Line, Guest]:
    line = Line()
    guest = door.enter(line, address)
    assert guest is not None
    door.turn(guest, state)
    return line, guest


def test_the_oldest_unfinished_request_makes_room() -> None:
    door = Door(LIMITS)
    lines = [entered(door, "a")[0] for _ in range(LIMITS.opening + 2)]
    assert [line.dropped for line in lines] == [True, True, False, False, False, False]


def test_the_address_with_most_of_them_gives_one_up() -> None:
    door = Door(LIMITS)
    quiet, _ = entered(door, "quiet")
    flood = [entered(door, "flood")[0] for _ in range(10)]
    assert not quiet.dropped
    assert sum(not line.dropped for line in flood) == LIMITS.opening - 1


def test_kept_connections_make_room_when_no_request_is_unfinished() -> None:
    door = Door(LIMITS)
    idle = [entered(door, f"{n}", State.IDLE)[0] for n in range(3)]
    work = [entered(door, f"w{n}", State.WORKING)[0] for n in range(5)]
    entered(door, "new", State.WORKING)
    assert [line.dropped for line in idle] == [True, False, False]
    assert not any(line.dropped for line in work)


def test_work_is_never_ended_for_a_newcomer_and_leaves_places_to_other_addresses() -> None:
    door = Door(LIMITS)
    work = [entered(door, "a", State.WORKING)[0] for _ in range(LIMITS.per_address)]
    refused = Line()
    assert door.enter(refused, "a") is None
    assert refused.dropped
    assert not any(line.dropped for line in work)
    entered(door, "b")


@pytest.mark.parametrize(
    ("state", "unsent", "after_s"),
    [
        (State.OPENING, 0, LIMITS.request_s),
        (State.IDLE, 0, LIMITS.idle_s),
        (State.WORKING, 1, LIMITS.unread_s),
        (State.WORKING, 0, None),
    ],
)
def test_who_waits_too_long_is_dropped(state: State, unsent: int, after_s: float | None) -> None:
    clock = Clock()
    door = Door(LIMITS, clock)
    line, _ = entered(door, "a", state)
    line.waiting = unsent
    door.sweep()
    clock.s = after_s if after_s is not None else 1e6
    door.sweep()
    assert len(door) == 1
    clock.s += 0.1
    door.sweep()
    assert len(door) == (1 if after_s is None else 0)
    assert line.dropped == (after_s is not None)


def test_whoever_reads_a_little_is_given_time_anew() -> None:
    clock = Clock()
    door = Door(LIMITS, clock)
    line, _ = entered(door, "a", State.WORKING)
    for unsent in (9, 0, 9):
        line.waiting = unsent
        door.sweep()
        clock.s += LIMITS.unread_s
    door.sweep()
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
    door = Door(LIMITS)
    for _ in range(LIMITS.per_address):
        entered(door, one, State.WORKING)
    assert (door.enter(Line(), other) is None) == same


def test_limits_shrink_with_the_descriptors() -> None:
    small = Limits().within(100)
    assert (small.total, small.per_address, small.opening) == (100, 90, 50)
    assert Limits().within(10_000) == Limits()
    assert Limits().within(-5).total == 16


MOVES = st.lists(
    st.tuples(st.sampled_from(("enter", *State, "leave")), st.integers(0, 11)), max_size=120
)


@given(MOVES)
def test_it_counts_right_whatever_happens(moves: list[tuple[str | State, int]]) -> None:
    door = Door(LIMITS)
    guests: list[tuple[Line, Guest]] = []
    for move, number in moves:
        if move == "enter":
            line = Line()
            guest = door.enter(line, f"{number % 3}")
            if guest is not None:
                guests.append((line, guest))
        elif guests:
            line, guest = guests[number % len(guests)]
            if isinstance(move, State):
                door.turn(guest, move)
            else:
                door.leave(guest)
                guests.remove((line, guest))
        guests = [(line, guest) for line, guest in guests if not line.dropped]
        assert len(door) == len(guests) <= LIMITS.total
        opening = [guest for _, guest in guests if guest.state is State.OPENING]
        assert door._opening == len(opening)
