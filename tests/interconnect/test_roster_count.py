"""The roster number (design 3.3, rule 3)."""

from mkrpc.interconnect.roster_count import RosterCount


def test_roster_numbers_never_run_backwards() -> None:
    count = RosterCount(7, 5)
    count.heard_of(3)
    assert count.born() == 8
    count.heard_of(20)
    assert (count.ended(elsewhere=False), count.last_end, count.number) == (21, 21, 21)
