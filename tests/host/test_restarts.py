"""How often an interconnect that dies is started again."""

from mkrpc.host.restarts import LIMIT_WINDOW_S, MAX_RESTARTS, Restarts


def test_the_first_start_is_at_once_and_the_pauses_grow():
    restarts = Restarts()
    pauses = [restarts.next_pause_s(10.0) for _ in range(MAX_RESTARTS)]
    assert pauses[0] == 0.0
    assert pauses == sorted(pauses)
    assert sum(pauses[:3]) < 1.0, "instances hold out for a lease only"


def test_one_that_served_for_a_while_is_followed_at_once():
    restarts = Restarts()
    assert [restarts.next_pause_s(now_s) for now_s in (10.0, 15.0, 30.0)] == [0.0, 0.1, 0.0]


def test_too_many_within_the_window_are_the_end():
    restarts = Restarts()
    for _ in range(MAX_RESTARTS):
        assert restarts.next_pause_s(10.0) is not None
    assert restarts.next_pause_s(10.0 + LIMIT_WINDOW_S) is None
    assert restarts.total == MAX_RESTARTS, "what is refused is no start"


def test_a_start_long_ago_counts_no_more():
    restarts = Restarts()
    for now_s in range(MAX_RESTARTS):
        restarts.next_pause_s(float(now_s))
    assert MAX_RESTARTS < LIMIT_WINDOW_S
    assert restarts.next_pause_s(LIMIT_WINDOW_S + 0.5) is not None, "that at 0 s is forgotten"
    assert restarts.next_pause_s(LIMIT_WINDOW_S + 0.6) is None, "that at 1 s is not"
    assert restarts.next_pause_s(4 * LIMIT_WINDOW_S) == 0.0
