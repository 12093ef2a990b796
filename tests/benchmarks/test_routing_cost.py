"""The benchmark of the interconnect alone runs, and its table is whole."""

from mkrpc.benchmarks import refused, routing
from mkrpc.interconnect import word_kinds, word_routing


def test_the_table_has_every_burst_in_every_way(capsys):
    before = word_routing.SPREAD_FROM, word_kinds.NUMPY_FROM
    routing.main(rounds=1, words=16)
    head, *rows = capsys.readouterr().out.splitlines()
    assert all(way in head for way in routing.WAYS)
    assert len(rows) == len(routing.SHAPES) * len(routing.BURSTS)
    assert all(float(cost) >= 0 for row in rows for cost in row.split()[3:])
    assert before == (word_routing.SPREAD_FROM, word_kinds.NUMPY_FROM)


def test_frames_that_are_refused_are_measured() -> None:
    assert refused.measure(20, frames=5) > 0
