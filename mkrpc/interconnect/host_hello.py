"""What a host agent may say of itself and its processes when it attaches."""

from mkrpc.errors import InvalidArgumentError
from mkrpc.interconnect.hello_shape import MAX_NAME
from mkrpc.limits import MAX_CPUS, MAX_INSTANCE_ID
from mkrpc.link.frames import NOBODY
from mkrpc.v1 import interconnect_pb2 as pb

__all__ = ["MAX_HOST_NAME", "check_hello"]

MAX_HOST_NAME = 255
"""Characters in a host's name: _POSIX_HOST_NAME_MAX (limits.h)."""


def check_hello(hello: pb.HostHello) -> None:
    """:class:`InvalidArgumentError` for what no host agent can be or have."""
    if len(hello.host_name) > MAX_HOST_NAME or not hello.host_name.isprintable():
        raise _cannot_be(f"a host name of {len(hello.host_name)} characters")
    if len(hello.instances) > MAX_INSTANCE_ID + 1:
        raise _cannot_be(f"a host agent of {len(hello.instances)} instances")
    if len({instance.instance_id for instance in hello.instances}) != len(hello.instances):
        raise _cannot_be("an instance id that is given twice")
    for instance in hello.instances:
        if instance.instance_id > MAX_INSTANCE_ID:
            raise _cannot_be(f"instance id {instance.instance_id}")
        who = f"instance {instance.instance_id}"
        if not 1 <= len(instance.name) <= MAX_NAME or not instance.name.isprintable():
            raise _cannot_be(f"{who} with the name {instance.name[: MAX_NAME + 1]!r}")
        apic_ids = instance.apic_ids
        if len(apic_ids) > MAX_CPUS or len(set(apic_ids)) != len(apic_ids):
            raise _cannot_be(f"{who} of {len(apic_ids)} CPUs, {len(set(apic_ids))} APIC ids")
        if NOBODY in apic_ids:
            raise _cannot_be(f"{who} with APIC id {NOBODY:#x}, the broadcast (R25)")
        if instance.running and (not instance.pid or instance.exit_code):
            raise _cannot_be(f"{who}, which runs, with no process or with an exit code")


def _cannot_be(what: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"a host agent announced {what}",
        advice=f"ids are 0 to {MAX_INSTANCE_ID}, names have 1 to {MAX_NAME} printable characters, "
        f"instances up to {MAX_CPUS} CPUs",
    )
