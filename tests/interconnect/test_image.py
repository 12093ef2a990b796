"""What may be loaded into an instance, and what is refused."""

import pytest

from mkrpc.errors import InvalidArgumentError
from mkrpc.interconnect.image import check_image
from mkrpc.limits import MAX_CMDLINE, MAX_ENTRY, MAX_HANDLERS
from mkrpc.v1 import types_pb2 as types


def image(*programs: tuple[int, str], cmdline: str = "", handlers: tuple[str, ...] = ()):
    made = [types.ImageProgram(cpu=cpu, entry=entry) for cpu, entry in programs]
    return types.Image(cmdline=cmdline, handlers=handlers, programs=made)


@pytest.mark.parametrize(
    "given",
    [
        image(),
        image(cmdline="maxcpus=2 quiet root=/dev/sda1 ~"),
        image(cmdline="x" * MAX_CMDLINE),
        image(handlers=("a:b",) * MAX_HANDLERS),
        image((0, "package.module:name"), (1, "_a.b2:Class.method")),
    ],
)
def test_what_may_be_loaded(given):
    check_image(given, cpus=2)


@pytest.mark.parametrize(
    ("given", "what", "advice"),
    [
        (
            image(cmdline="x" * (MAX_CMDLINE + 1)),
            f"a command line of {MAX_CMDLINE + 1} characters",
            f"at most {MAX_CMDLINE}, printable ASCII",
        ),
        (image(cmdline="a\nb"), "a command line of 3 characters", "printable ASCII"),
        (image(cmdline="\x1b[31m"), "a command line of 5 characters", "printable ASCII"),
        (image(cmdline="é"), "a command line of 1 characters", "printable ASCII"),
        (
            image(handlers=("a:b",) * (MAX_HANDLERS + 1)),
            f"{MAX_HANDLERS + 1} handlers",
            f"at most {MAX_HANDLERS}",
        ),
        (image((0, "a:" + "b" * MAX_ENTRY)), f"a name of {MAX_ENTRY + 2} characters", "at most"),
        *(
            (image(handlers=(entry,)), f"{entry!r} names nothing", "package.module:name")
            for entry in ("", "a", "a:", ":b", "a:b:c", "a b:c", "a..b:c", "1a:b", "a:b\n", "a/b:c")
        ),
        *(
            (image((0, entry)), f"{entry!r} names nothing", "package.module:name")
            for entry in ("a:b²", "a:²", "ä:b")
        ),
        (image((0, "nothing")), "'nothing' names nothing", "package.module:name"),
        (image((2, "a:b")), "a program on CPU 2: not one of its 2 CPUs", "numbered from 0"),
        (image((1, "a:b"), (1, "a:c")), "a program on CPU 1: two programs", "numbered from 0"),
    ],
)
def test_what_no_instance_can_run_is_einval(given, what, advice):
    with pytest.raises(InvalidArgumentError) as caught:
        check_image(given, cpus=2)
    assert str(caught.value).startswith(f"EINVAL: {what}")
    assert advice in caught.value.advice
    assert "\n" not in str(caught.value)
