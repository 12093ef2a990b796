"""How parts of a run are named on the command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import InvalidArgumentError
from mkrpc.simulation.tags import MAX_TAG, parse_tags, tags_text


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", set()),
        ("f1", {"f1"}),
        ("f1, s3 ,i0", {"f1", "s3", "i0"}),
        ("s9-11,s10-12", {"s9", "s10", "s11", "s12"}),
        ("s5-4", set()),
    ],
)
def test_a_list_of_tags(text: str, tags: set[str]) -> None:
    assert parse_tags(text) == tags


@pytest.mark.parametrize("text", ["x1", "s", "1", "s1-", "s-3", "s1--3", "s99999", "f1 f2"])
def test_what_is_no_tag(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="names no part of a run"):
        parse_tags(text)


def test_runs_are_folded_and_sorted_by_number() -> None:
    assert tags_text(["s10", "s9", "f2", "s1", "s11", "i0"]) == "f2,i0,s1,s9-11"


@given(st.frozensets(st.builds("{}{}".format, st.sampled_from("sfi"), st.integers(0, MAX_TAG))))
def test_printed_and_read_again_they_are_the_same(tags: frozenset[str]) -> None:
    assert parse_tags(tags_text(tags)) == tags
