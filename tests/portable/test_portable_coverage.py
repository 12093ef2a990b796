"""Every portable test has its number here, its full count of rows, and its line in README.md."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent

# What the tables of the reference come to. The logical destinations are 10,104 in all.
COUNTS = {
    6: 1016,
    7: 480,
    8: 7168,
    9: 1440,
    18: 2 * 256,
    30: 114_399,
    31: 24_753,
    32: 3568,
}


@pytest.fixture(scope="module")
def documented() -> ModuleType:
    """The script that writes the table."""
    spec = importlib.util.spec_from_file_location(
        "document_portable", HERE / "document_portable.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_number_has_a_test_or_a_reason(documented):
    shown = {number for test in documented.tests() for number in test.numbers}
    assert shown.isdisjoint(documented.NOT_PORTABLE)
    assert shown | set(documented.NOT_PORTABLE) == set(range(1, 55))


def test_every_test_of_this_folder_says_what_it_shows(documented):
    rules = {f"R{number}" for number in range(1, 63)}
    for test in documented.tests():
        assert test.numbers, test.name
        assert test.rules, test.name
        assert set(test.rules) <= rules, test.name
        assert test.what, test.name


@pytest.mark.parametrize("number", COUNTS)
def test_a_table_has_as_many_rows_as_the_reference_counts(documented, number):
    counts = [test.rows for test in documented.tests() if number in test.numbers]
    assert COUNTS[number] in counts


def test_the_logical_destinations_are_10104_rows(documented):
    together = [test.rows for test in documented.tests() if test.numbers == (6, 7, 8, 9)]
    assert together == [sum(COUNTS[number] for number in (6, 7, 8, 9))] == [10_104]


def test_the_table_of_the_page_is_what_the_markers_say(documented):
    text = (HERE / "README.md").read_text()
    assert documented.page(text) == text, "run python tests/portable/document_portable.py"


def test_sampling_steps_are_prime(documented):
    """A step that divides a loop of the table would leave out the same rows again and again."""
    for test in documented.tests():
        assert all(test.every % divisor for divisor in range(2, test.every)), test.name
