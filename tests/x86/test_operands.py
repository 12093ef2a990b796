"""What an operand of an instruction may be."""

from enum import IntEnum

import pytest

from mkrpc.errors import InvalidArgumentError
from mkrpc.x86.operands import check_bits, check_integer


class Named(IntEnum):
    FIVE = 5
    LARGE = 256


@pytest.mark.parametrize("value", [0, 1, 255, Named.FIVE])
def test_a_number_or_a_name_of_one_fits(value: int) -> None:
    check_integer("vector", value)
    check_bits("vector", value, 8)


@pytest.mark.parametrize("value", [-1, 256, Named.LARGE])
def test_one_that_is_too_large_does_not(value: int) -> None:
    check_integer("vector", value)
    with pytest.raises(InvalidArgumentError, match=r"vector .*does not fit 8 bits") as caught:
        check_bits("vector", value, 8)
    assert caught.value.advice == "give a number from 0 to 0xff"


@pytest.mark.parametrize("value", [True, False, None, 1.0, "1", b"1"])
def test_all_else_is_no_integer(value: int) -> None:
    with pytest.raises(TypeError, match=r"vector .* is no integer"):
        check_integer("vector", value)
    with pytest.raises(TypeError, match=r"vector .* is no integer"):
        check_bits("vector", value, 8)
