"""The host's view of its instances as text: /sys/fs/multikernel, /proc/multikernel, /proc/kimage.

Files, columns and words are those of the multikernel series. One thing differs, because an image
has no memory here: its start address is that of the start-up IPI, and its segments are the kernel
itself and each program and handler that is loaded into it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mkrpc.devicetree.writing import instance_source, pool_source
from mkrpc.errors import NotFoundError
from mkrpc.interconnect.host_orders import HostedProcess
from mkrpc.interconnect.start_up import START_PAGE
from mkrpc.lifecycle import HOST_ID, InstanceState
from mkrpc.v1 import types_pb2 as types

__all__ = ["Entry", "read_kernfs", "proc_kimage", "proc_multikernel"]

_START = START_PAGE << 12
_FOLDER = "instances"
_FILES = ("id", "status", "device_tree")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file with its ``text``, or a folder with its ``entries``."""

    text: str | None = None
    entries: tuple[str, ...] = ()


def _segments(image: types.Image) -> int:
    return 1 + len(image.handlers) + len(image.programs) + image.callables


def _loaded(processes: Iterable[HostedProcess]) -> list[tuple[HostedProcess, types.Image]]:
    return [
        (each, each.image)
        for each in sorted(processes, key=lambda process: process.instance_id)
        if each.image is not None and each.instance_id != HOST_ID
    ]


def proc_multikernel(processes: Iterable[HostedProcess]) -> str:
    """The table of loaded images, as patch 7 of the first series has it. The host's own kernel is
    none of them."""
    lines = ["Type        Start Address   Segments", "----------  --------------  --------"]
    rows = [
        f"{'multikernel':<10}  0x{_START:012x}  {_segments(image):8d}"
        for _, image in _loaded(processes)
    ]
    return "\n".join(lines + (rows or ["No kimages loaded"])) + "\n"


def proc_kimage(processes: Iterable[HostedProcess]) -> str:
    """The same with the columns of the second series: id and command line."""
    lines = [f"{'MK_ID':<5}  {'Type':<11}  {'Start Address':<14}  {'Segments':>8}  Mode  Cmdline"]
    for process, image in _loaded(processes):
        lines.append(
            f"{process.instance_id:<5}  {'multikernel':<11}  0x{_START:012x}  "
            f"{_segments(image):8d}  smp   {image.cmdline}".rstrip()
        )
    return "\n".join(lines if len(lines) > 1 else [*lines, "No kimages loaded"]) + "\n"


def read_kernfs(
    path: str,
    processes: Sequence[HostedProcess],
    states: dict[int, InstanceState],
    pool: Iterable[int],
) -> Entry:
    """A file or folder, by its path below /sys/fs/multikernel. NotFoundError (ENOENT).

    The host instance, which has no folder there, has none here.
    """
    spawned = {each.name: each for each in processes if each.instance_id != HOST_ID}
    match path.strip("/").split("/"):
        case [""]:
            return Entry(entries=("device_tree", f"{_FOLDER}/"))
        case ["device_tree"]:
            return Entry(text=pool_source(sorted(pool)))
        case [folder] if folder == _FOLDER:
            return Entry(entries=tuple(f"{name}/" for name in sorted(spawned)))
        case [folder, name] if folder == _FOLDER and name in spawned:
            return Entry(entries=_FILES)
        case [folder, name, file] if folder == _FOLDER and name in spawned and file in _FILES:
            return Entry(text=_file(spawned[name], file, states))
    raise NotFoundError(
        f"ENOENT: no {path!r} in /sys/fs/multikernel",
        advice="'mkrpc show --kernfs' lists what there is",
    )


def _file(process: HostedProcess, file: str, states: dict[int, InstanceState]) -> str:
    if file == "id":
        return f"{process.instance_id}\n"
    if file == "status":
        return f"{states[process.instance_id]}\n"
    return instance_source(process.name, process.instance_id, process.apic_ids)
