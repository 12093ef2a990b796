"""Ids, names and CPUs for instances: what is chosen, and every refusal with its errno."""

import pytest

from mkrpc.errors import (
    AlreadyExistsError,
    InstanceBusyError,
    InvalidArgumentError,
    LimitReachedError,
    PermissionDeniedError,
)
from mkrpc.interconnect.cpu_pool import check_name, choose_cpus, choose_id
from mkrpc.limits import MAX_CPUS, MAX_INSTANCE_ID, RESERVED_NAMES


@pytest.mark.parametrize(
    ("wanted", "taken", "chosen"),
    [
        (None, {0}, 1),
        (None, {0, 1, 2, 4}, 3),
        (None, range(MAX_INSTANCE_ID), MAX_INSTANCE_ID),
        (7, {0}, 7),
        (7, {0, 7}, 7),
        (MAX_INSTANCE_ID, {0}, MAX_INSTANCE_ID),
    ],
)
def test_the_id_is_the_one_wanted_or_the_lowest_free_one(wanted, taken, chosen):
    assert choose_id(wanted, taken) == chosen


@pytest.mark.parametrize("wanted", [0, -1, MAX_INSTANCE_ID + 1])
def test_an_id_that_cannot_be(wanted):
    with pytest.raises(InvalidArgumentError, match=rf"^EINVAL: instance id {wanted}$") as caught:
        choose_id(wanted, {0})
    assert caught.value.advice == "ids are 1 to 511; 0 is the host, which the machine boots"


def test_no_id_is_left():
    with pytest.raises(LimitReachedError, match=r"^ENOSPC: all 511 instance ids are taken$"):
        choose_id(None, range(MAX_INSTANCE_ID + 1))


@pytest.mark.parametrize("name", ["a", "web", "web-2", "a" * 63, "x9"])
def test_a_name(name):
    check_name(name, {"web-1": 3})


@pytest.mark.parametrize(
    "name",
    [
        *("", "-web", "web-", "9web", "Web", "web_1", "a" * 64, "wéb", "web\n", "a b", "../x"),
        *RESERVED_NAMES,
    ],
)
def test_what_is_no_name(name):
    with pytest.raises(InvalidArgumentError, match=r"^EINVAL: .* is no name") as caught:
        check_name(name, {})
    assert "\n" not in str(caught.value)
    assert "beginning with a letter" in caught.value.advice


def test_a_name_that_is_taken_says_by_whom():
    with pytest.raises(AlreadyExistsError, match=r"^EEXIST: instance 3 is called web$"):
        check_name("web", {"web": 3})


OWNERS = {0: 0, 1: 5}
POOL = {8, 4, 6}


@pytest.mark.parametrize(
    ("apic_ids", "count", "chosen"),
    [
        ((), 0, ()),
        ((), 2, (4, 6)),
        ((), 3, (4, 6, 8)),
        ((6,), 0, (6,)),
        ((8, 4), 0, (8, 4)),
    ],
)
def test_cpus_are_those_named_in_their_order_or_the_lowest(apic_ids, count, chosen):
    assert choose_cpus(apic_ids, count, pool=POOL, owners=OWNERS) == chosen


@pytest.mark.parametrize(
    ("apic_ids", "count", "error", "what", "advice"),
    [
        ((8, 4, 4), 0, InvalidArgumentError, "EINVAL: APIC id 4 is named twice", "each once"),
        (
            tuple(range(MAX_CPUS + 1)),
            0,
            InvalidArgumentError,
            f"EINVAL: {MAX_CPUS + 1} CPUs",
            "up to",
        ),
        ((), MAX_CPUS + 1, InvalidArgumentError, f"EINVAL: {MAX_CPUS + 1} CPUs", "up to"),
        ((), 4, InstanceBusyError, "EBUSY: 4 CPUs, and 3 are free", "ask for fewer"),
        (
            (4, 1),
            0,
            InstanceBusyError,
            "EBUSY: the CPU with APIC id 1 belongs to instance 5",
            "free for it: 4, 6, 8",
        ),
        (
            (4, 9),
            0,
            InvalidArgumentError,
            "EINVAL: the machine has no CPU with APIC id 9",
            "free for it: 4, 6, 8",
        ),
    ],
)
def test_cpus_that_cannot_be_had(apic_ids, count, error, what, advice):
    with pytest.raises(error) as caught:
        choose_cpus(apic_ids, count, pool=POOL, owners=OWNERS)
    assert type(caught.value) is error
    assert str(caught.value).startswith(what)
    assert advice in caught.value.advice


def test_an_empty_pool_is_eperm_but_whose_a_cpu_is_can_still_be_told():
    with pytest.raises(PermissionDeniedError, match=r"^EPERM: the pool of this machine is empty$"):
        choose_cpus((), 1, pool=(), owners=OWNERS)
    with pytest.raises(InstanceBusyError, match="belongs to instance 0") as caught:
        choose_cpus((0,), 0, pool=(), owners=OWNERS)
    assert caught.value.advice == "free for it: none"
    assert choose_cpus((), 0, pool=(), owners=OWNERS) == ()


def test_a_long_pool_is_told_in_short():
    with pytest.raises(InvalidArgumentError) as caught:
        choose_cpus((999,), 0, pool=range(100), owners={})
    listed = ", ".join(map(str, range(16)))
    assert caught.value.advice == f"free for it: {listed}, …"
