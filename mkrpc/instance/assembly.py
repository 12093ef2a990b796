"""Puts an instance together from what it boots with: kernel, handlers, programs, attachment."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mkrpc.instance.attachment import Attachment
from mkrpc.instance.boot_clock import BootClock
from mkrpc.instance.kernel import Kernel
from mkrpc.instance.link_files import LINKS_DIRECTORY, LinkFiles
from mkrpc.instance.link_windows import LinkWindows
from mkrpc.instance.mapping import map_memory
from mkrpc.instance.recording import RecordedAttachment, RecordedMemory, begin_recording
from mkrpc.limits import IDENTITY_BYTES
from mkrpc.link.messages import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from mkrpc.instance.boot import Boot

__all__ = ["assemble", "open_links", "take_apart"]


def assemble(boot: "Boot") -> tuple[Kernel, Attachment]:
    """The kernel, booted, and its end of the link; with a journal if it is to be recorded.

    Programs begin to run once the link is up; here they are only put in place. Raises
    InvalidArgumentError and its like for programs and handlers that cannot be, StartUpError for
    memory that cannot be mapped or a journal that cannot be made.
    """
    incarnation = secrets.token_bytes(IDENTITY_BYTES)
    memory = None
    if boot.memory is not None:
        memory = map_memory(boot.memory, _windows(boot, incarnation, boot.memory.parent))
    recorder = None
    clock: Callable[[], int] = BootClock()
    if boot.recording is not None:
        recorder = begin_recording(
            boot.recording,
            config=boot.config,
            incarnation=incarnation,
            memory=memory,
            programs=boot.programs,
            handlers=boot.handlers,
        )
        clock = recorder.clock(clock)
        memory = RecordedMemory(memory, recorder.loaded) if memory is not None else None
    kernel = Kernel(boot.config, incarnation=incarnation, now_us=clock, memory=memory)
    for handler in boot.handlers:
        kernel.register_handler(handler)
    for cpu, program in boot.programs:
        kernel.start_program(cpu, program)
    if recorder is None:
        return kernel, Attachment(kernel)
    return kernel, RecordedAttachment(kernel, recorder)


def open_links(kernel: Kernel) -> None:
    """The incarnation has been welcomed: the others of its host may share memory with it."""
    windows = kernel.memory.windows if kernel.memory is not None else None
    if isinstance(windows, LinkWindows):
        windows.open()


def _windows(boot: "Boot", incarnation: bytes, state_dir: Path) -> LinkWindows | None:
    if boot.config.links != "memory" or not boot.config.multikernel:
        return None
    return LinkWindows(
        boot.config.instance_id,
        incarnation,
        LinkFiles(state_dir / LINKS_DIRECTORY),
        max_data=MAX_MESSAGE_BYTES,
    )


def take_apart(attachment: Attachment) -> None:
    """The process ends: so does its journal."""
    if isinstance(attachment, RecordedAttachment):
        attachment.close()
