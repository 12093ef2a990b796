"""Counting and sorting a burst: plainly, and with numpy where it is installed, to the same end."""

import subprocess
import sys
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.interconnect import word_kinds
from mkrpc.interconnect.word_kinds import kinds_of

NEVER = 1 << 30
U64 = (1 << 64) - 1
BURSTS = st.lists(st.sampled_from([0, 5, 0xEA, 1 << 32 | 0xEA, 7 << 40, U64]), min_size=1)


def both_ways(words):
    """The kinds of a burst by numpy and in plain Python."""
    pytest.importorskip("numpy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_kinds, "NUMPY_FROM", 1)
        quick = kinds_of(array("Q", words))
        patch.setattr(word_kinds, "NUMPY_FROM", NEVER)
        return quick, kinds_of(array("Q", words))


@given(BURSTS)
def test_words_are_counted_in_rising_order(words):
    for kinds in both_ways(words):
        assert list(kinds.counts.items()) == [
            (word, words.count(word)) for word in sorted({*words})
        ]


@given(BURSTS, st.integers(1, 1 << 60), st.data())
def test_a_burst_is_sorted_by_group_and_keeps_its_order(words, first_seq, data):
    groups = {word: data.draw(st.integers(0, 511)) for word in sorted({*words})}
    quick, plain = (kinds.sort(groups, first_seq) for kinds in both_ways(words))
    assert list(quick) == list(plain)
    for group in quick:
        expected = [
            (seq, word) for seq, word in enumerate(words, first_seq) if groups[word] == group
        ]
        for seqs, column in (quick[group], plain[group]):
            assert list(zip(seqs, column, strict=True)) == expected


@given(BURSTS, st.data())
def test_a_column_of_values(words, data):
    values = {word: data.draw(st.integers(0, (1 << 32) - 1)) for word in {*words}}
    quick, plain = both_ways(words)
    assert list(quick.column(values)) == [values[word] for word in words]
    assert plain.column(values) is None


def test_a_list_of_words_is_counted_too():
    assert kinds_of([3, 1, 3]).counts == {1: 1, 3: 2}
    assert kinds_of([3, 1, 3]).sort({1: 0, 3: 0}, 9) == {0: (range(9, 12), array("Q", [3, 1, 3]))}


def test_without_numpy_all_is_counted_plainly(monkeypatch):
    monkeypatch.setattr(word_kinds, "_loaded", [None])
    words = array("Q", [2, 1] * word_kinds.NUMPY_FROM)
    kinds = kinds_of(words)
    assert kinds.counts == {1: len(words) // 2, 2: len(words) // 2}
    assert kinds.column({1: 0, 2: 0}) is None


def test_numpy_is_imported_by_the_first_long_burst_and_not_before():
    pytest.importorskip("numpy")
    program = (
        "import sys; from array import array\n"
        "import mkrpc.interconnect.server\n"
        "from mkrpc.interconnect.word_kinds import NUMPY_FROM, kinds_of\n"
        "kinds_of(array('Q', [1, 2])); print('numpy' in sys.modules)\n"
        "kinds_of(array('Q', [1, 2] * NUMPY_FROM)); print('numpy' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "True"]
