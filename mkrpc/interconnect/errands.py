"""What the interconnect has one kernel do for a client: send a message to another, or a request.

The message itself goes from kernel to kernel, by their channel, with the doorbell as an ICR write;
only the wish to send it comes from here, and what became of it goes back.
"""

import asyncio
import errno
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from mkrpc.errors import (
    ClusterStateError,
    DeadlineExceededError,
    InstanceBusyError,
    InvalidArgumentError,
    LimitReachedError,
    MkrpcError,
    NoCpuError,
    ProtocolError,
    StuckError,
)
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.asks import ask, number_in
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.start_up import host_of
from mkrpc.link.frames import CommandKind, CpuAccount

__all__ = [
    "TAKING",
    "Errand",
    "MessageEnd",
    "ask_for_cpu",
    "refusal",
    "send_message",
    "shut_down_on_channel",
]

TAKING = "waiting"
"""The fate of a message that lies where its receiver will find it."""

_ADD, _REMOVE, _SHUTDOWN = 0x2001, 0x2002, 0x3002
"""MK_RES_CPU_ADD, MK_RES_CPU_REMOVE and MK_SYS_SHUTDOWN of the series' subtypes."""

_REQUEST_PATIENCE_S = 12.0
"""For a request about a CPU: the kernel itself gives up after 10 s, and says so when it next has
something to do."""

_LOOK_S = 0.005
_LOOK_MOST_S = 0.1
"""Seconds between two looks at something that nobody tells of, at first and at most."""

_log = structlog.get_logger("mkrpc.interconnect")

_SERVE = (
    "does that kernel answer requests? One that runs "
    "--program 0=mkrpc.instance.multikernel.cpu_hotplug:serve_cpus does (mkrpc load)"
)

_ERRORS: dict[int, tuple[type[MkrpcError], str]] = {
    errno.EBUSY: (InstanceBusyError, "it runs something, or cannot be started now"),
    errno.EINVAL: (InvalidArgumentError, "the kernel's log says why: mkrpc dmesg"),
    errno.EIO: (StuckError, "it was sent INIT and SIPI: mkrpc dmesg"),
    errno.ENODEV: (NoCpuError, "mkrpc show lists instances and their CPUs"),
    errno.ENOMEM: (LimitReachedError, "too many handlers are registered there"),
    errno.ENOSPC: (LimitReachedError, "those before it were not taken: does the receiver listen?"),
    errno.ETIMEDOUT: (StuckError, _SERVE),
}


def refusal(result: int, what: str) -> MkrpcError:
    """A negative errno of a kernel as an error."""
    number = -result
    kind, advice = _ERRORS.get(number, (ClusterStateError, ""))
    return kind(f"{errno.errorcode.get(number, str(number))}: {what}", advice=advice)


@dataclass(frozen=True, slots=True)
class Errand:
    """``sender`` is to send something to ``target``, instance ids both."""

    bus: ApicBus
    drain: Callable[[], None]
    sender: int
    target: int

    def session(self) -> Session:
        """The target's. NotFoundError; ClusterStateError if it takes no messages."""
        session = self.bus.session(self.target)
        if session.hello.deaf:
            raise ClusterStateError(
                f"instance {self.target} takes no multikernel interrupt",
                advice='only kernels with multikernel = true and entry = "idt" have messages',
            )
        return session

    async def command(
        self, kind: CommandKind, what: int = 0, *, high: int = 0, action: str = ""
    ) -> str:
        """Have the sender do it; the text of its reply."""
        doorbell = self.session().addresses[0].apic_id
        reply = await ask(
            self.bus,
            self.drain,
            self.sender,
            kind,
            word=self.target << 32 | what,
            count=high << 32 | doorbell,
            action=action,
        )
        return reply.text

    async def fate(self, way: str, number: int) -> str:
        """Of a message that was sent."""
        reply = await ask(
            self.bus,
            self.drain,
            self.sender,
            CommandKind.MESSAGE_FATE,
            word=self.target << 32,
            count=number,
            action=way,
        )
        return reply.text


@dataclass(frozen=True, slots=True)
class MessageEnd:
    """``way``: ``memory`` or ``interconnect``. ``fate``: ``taken``, ``waiting`` where patience came
    to its end, ``left``, or an outcome."""

    way: str
    fate: str


async def send_message(
    errand: Errand, ipi_type: int, text: str, *, patience_s: float
) -> MessageEnd:
    """Send it, and look until it is known what became of it, or for so long.

    Raises what the sender's errno stands for, NotFoundError, ClusterStateError.
    """
    sent = await errand.command(CommandKind.SEND_MESSAGE, ipi_type, action=text)
    way, _, number = sent.partition(" ")
    if not number:
        what = f"instance {errand.sender} cannot send to {errand.target}"
        raise refusal(_number(errand, sent), what)
    fate = TAKING
    pause_s = _LOOK_S
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            while (fate := await errand.fate(way, _number(errand, number))) == TAKING:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LOOK_MOST_S)
    return MessageEnd(way, fate)


async def ask_for_cpu(errand: Errand, apic_id: int, *, online: bool) -> None:
    """Have the sender ask the owner of a CPU to bring it up or to take it offline.

    Raises what the errno stands for, StuckError without an answer, NotFoundError.
    """
    verb = "bring up" if online else "give up"
    what = f"instance {errand.target} does not {verb} the CPU with APIC id {apic_id}"
    try:
        async with asyncio.timeout(_REQUEST_PATIENCE_S):
            text = await errand.command(
                CommandKind.SEND_REQUEST, _ADD if online else _REMOVE, high=apic_id
            )
    except TimeoutError:
        text = str(-errno.ETIMEDOUT)
    result = _number(errand, text)
    if result:
        raise refusal(result, what)


def _number(errand: Errand, text: str) -> int:
    number = number_in(text)
    if number is None:
        raise ProtocolError(f"instance {errand.sender} answered {text[:40]!r}, which is no number")
    return number


async def shut_down_on_channel(
    bus: ApicBus, drain: Callable[[], None], instance_id: int
) -> int | None:
    """The host's kernel sends SHUTDOWN, and the instance acknowledges it and parks; how many CPUs
    did, 0 if it ended by itself. None: there is no channel between them, or nobody at its end: the
    CPU that would be rung waits for SIPI, or has parked.

    Raises NotFoundError; DeadlineExceededError if the host's kernel gave up. Runs until then.
    """
    session, host = bus.session(instance_id), host_of(bus)
    if host is None or host is session or not (_hears(bus, host) and _hears(bus, session)):
        return None
    errand = Errand(bus, drain, host.instance_id, instance_id)
    asked = asyncio.create_task(
        errand.command(CommandKind.SEND_REQUEST, _SHUTDOWN), name=f"shut down {instance_id}"
    )
    try:
        while not asked.done():
            if not session.alive:
                return 0
            await asyncio.wait({asked}, timeout=_LOOK_MOST_S)
        try:
            result = _number(errand, asked.result())
        except MkrpcError as error:
            _log.info("no SHUTDOWN on the channel", instance=instance_id, error=str(error))
            return None
        if result == -errno.ETIMEDOUT:
            raise DeadlineExceededError(f"instance {instance_id} did not acknowledge SHUTDOWN")
        if result:
            code = errno.errorcode.get(-result, str(result))
            _log.info("no SHUTDOWN on the channel", instance=instance_id, error=code)
            return None
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
    while not _parked(bus, instance_id):  # acknowledged it has; the mirror tells the rest
        if not session.alive:
            return 0
        await asyncio.sleep(_LOOK_S)
    _, accounts = bus.mirrored(instance_id)
    vacant = {address.cpu for address in session.addresses if address.vacant}
    return sum(each.activity == "halted" and each.cpu not in vacant for each in accounts)


def _parked(bus: ApicBus, instance_id: int) -> bool:
    _, accounts = bus.mirrored(instance_id)
    return bool(accounts) and all(map(_is_out, accounts))


def _hears(bus: ApicBus, session: Session) -> bool:
    """Whether its doorbell is answered: the CPU that is rung may have interrupts disabled for a
    while, but it is there."""
    if session.hello.deaf or not session.addresses[0].software_enabled:
        return False
    _, accounts = bus.mirrored(session.instance_id)
    return not accounts or not _is_out(accounts[0])


def _is_out(account: CpuAccount) -> bool:
    """Whether a CPU takes no interrupt any more, and executes nothing."""
    halted = account.activity == "halted" and not account.interrupts_enabled
    return halted or account.activity == "wait-for-sipi"
