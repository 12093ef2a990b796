"""What a client can ask of a kernel: one :class:`Reply` for every :class:`Command`."""

from collections import deque
from typing import TYPE_CHECKING

from mkrpc.errors import (
    ClusterStateError,
    InvalidArgumentError,
    LimitReachedError,
    MkrpcError,
)
from mkrpc.instance.accounting import view_of
from mkrpc.instance.cpu_slots import add_cpu, remove_cpu
from mkrpc.instance.diagnosis import pending_view
from mkrpc.instance.instructions import Hlt, WriteIcr
from mkrpc.instance.procfs import proc_cmdline, proc_interrupts, proc_stat
from mkrpc.link.frames import (
    MAX_REPLY_VIEWS,
    Command,
    CommandKind,
    LogRecord,
    PendingView,
    Reply,
)
from mkrpc.x86.apic_base import GeneralProtection
from mkrpc.x86.irq_vectors import NR_VECTORS

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu
    from mkrpc.instance.kernel import Kernel
    from mkrpc.instance.multikernel.errands import Errands

__all__ = [
    "MAX_COMMAND_WRITES",
    "MAX_LOG_REPLY_BYTES",
    "MAX_WAITING_COMMANDS",
    "CommandQueue",
]

MAX_COMMAND_WRITES = 1_000_000
"""ICR writes of one WRITE_ICR, as many as the interconnect lets pass; more is
InvalidArgumentError."""

MAX_WAITING_COMMANDS = 1024
"""Commands that wait until their CPU may write, on all CPUs; one more behind another of its CPU is
LimitReachedError."""

MAX_LOG_REPLY_BYTES = 200 * 1024
"""Records of one READ_LOG; what is over is for the next one, from the last number on."""

_RECORD_BYTES = 32
"""What a record takes on the wire beside its text, at most."""

_ERRANDS = (CommandKind.SEND_MESSAGE, CommandKind.MESSAGE_FATE, CommandKind.SEND_REQUEST)

_PROC_FILES = {"interrupts": proc_interrupts, "stat": proc_stat, "cmdline": proc_cmdline}


class _Waiting:
    """A WRITE_ICR that is not done."""

    __slots__ = ("command", "written")

    def __init__(self, command: Command) -> None:
        self.command = command
        self.written = 0


class CommandQueue:
    """Executes commands, those of one CPU in their order.

    A WRITE_ICR stops when its CPU may not write and goes on when writes are resolved; further
    WRITE_ICR of the same CPU wait behind it. It is software that waits for delivery status: with
    ``icr_busy`` an xAPIC has one such write under way at a time. The other kinds of command are
    answered at once. So is a FENCE: its reply is sent after everything that was done before it,
    which is what it asks for. What a WRITE_ICR has still to write was not done; that one's own
    reply is open until then.
    """

    __slots__ = ("_errands", "_halting", "_kernel", "_replies", "_waiting")

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self._waiting: dict[int, deque[_Waiting]] = {}
        """By CPU, none of them empty."""
        self._replies: list[Reply] = []
        self._halting: list[Command] = []
        self._errands: Errands | None = None

    def cancel(self) -> None:
        """Forget what waits, and replies that have not been taken."""
        self._waiting.clear()
        self._replies.clear()
        self._halting.clear()
        self._errands = None

    def take_replies(self) -> list[Reply]:
        """Replies of commands that had to wait, oldest first."""
        parking = self._kernel.hotplug.parking
        if self._halting and parking.complete:
            self._replies += (_parked(command, len(parking.parked)) for command in self._halting)
            self._halting.clear()
        if self._errands is not None:
            self._replies += self._errands.take_replies()
        replies, self._replies = self._replies, []
        return replies

    def execute(self, command: Command) -> Reply | None:
        """The reply, or None if it comes later. What is wrong is in the reply, never raised."""
        try:
            if command.kind is CommandKind.WRITE_ICR:
                return self._enqueue(command)
            if command.kind is CommandKind.FORCE_HALT:
                self._force_halt(command)
                return None
            if command.kind in _ERRANDS:
                return self._errand(command)
            return self._answer(command)
        except MkrpcError as error:
            return _error_reply(command, error)

    def resume(self) -> None:
        """Go on with what waits, as far as the window allows."""
        for cpu, queue in list(self._waiting.items()):
            while queue:
                reply = self._continue(queue[0])
                if reply is None:
                    break
                queue.popleft()
                self._replies.append(reply)
            if not queue:
                del self._waiting[cpu]

    def _enqueue(self, command: Command) -> Reply | None:
        self._cpu(command)
        if not 1 <= command.count <= MAX_COMMAND_WRITES:
            raise InvalidArgumentError(
                f"{command.count} ICR writes in one command",
                advice=f"ask for 1 to {MAX_COMMAND_WRITES}",
            )
        waiting = _Waiting(command)
        queue = self._waiting.get(command.cpu)
        if queue is None:
            reply = self._continue(waiting)
            if reply is None:
                self._waiting[command.cpu] = deque([waiting])
            return reply
        if sum(map(len, self._waiting.values())) >= MAX_WAITING_COMMANDS:
            raise LimitReachedError(
                f"{MAX_WAITING_COMMANDS} commands wait for the write window",
                advice="wait for replies before sending more",
            )
        queue.append(waiting)
        return None

    def _continue(self, waiting: _Waiting) -> Reply | None:
        """Write until the count is reached; None when the CPU has to wait."""
        command = waiting.command
        instruction = WriteIcr(command.word)
        try:
            cpu = self._cpu(command)
            always_idle = cpu.apic.policy.icr_busy == "never"
            while waiting.written < command.count:
                if not cpu.may_write or not (always_idle or cpu.icr_idle):
                    # R20: delivery status is busy, or the window as if it were; the CPU's programs
                    # still run.
                    return None
                if not cpu.execute(instruction, command=command.number):
                    raise ClusterStateError(
                        f"the APIC of CPU {cpu.number} is globally disabled: the write is lost",
                        advice="set bit 11 of its IA32_APIC_BASE first",
                    )
                waiting.written += 1
        except GeneralProtection as fault:
            error = InvalidArgumentError(
                f"#GP on CPU {command.cpu}: {fault}",
                advice="in x2APIC mode bits 31:20, 17:16 and 13 of the ICR are reserved, with "
                "icr_bit12 = gp bit 12 too",
            )
            return _error_reply(command, error, written=waiting.written)
        except MkrpcError as error:
            return _error_reply(command, error, written=waiting.written)
        return Reply(command.number, written=waiting.written)

    def _force_halt(self, command: Command) -> None:
        """The reply comes when every CPU has parked; :meth:`take_replies` looks."""
        if len(self._halting) >= MAX_WAITING_COMMANDS:
            raise LimitReachedError(
                f"{MAX_WAITING_COMMANDS} commands wait until this kernel has halted",
                advice="its CPUs take no NMI: end its process",
            )
        self._kernel.hotplug.parking.force_halt = True
        self._halting.append(command)

    @property
    def later(self) -> bool:
        """Whether replies may be due that no frame brings about, but what the kernel runs."""
        return self._errands is not None

    def _errand(self, command: Command) -> Reply | None:
        if self._errands is None:
            from mkrpc.instance.multikernel.errands import Errands

            self._errands = Errands(self._kernel)
        return self._errands.execute(command)

    def _answer(self, command: Command) -> Reply:
        match command.kind:
            case CommandKind.SET_CPU:
                cpu = self._cpu(command)
                _set_cpu(cpu, command.action)
                return Reply(command.number, cpus=[view_of(cpu)])
            case CommandKind.READ_CPU:
                return Reply(command.number, cpus=[view_of(self._kernel.cpu(command.cpu))])
            case CommandKind.READ_ACCOUNT:
                last = command.cpu + command.count if command.count else len(self._kernel.cpus)
                chosen = self._kernel.cpus[command.cpu : last]
                if len(chosen) > MAX_REPLY_VIEWS:
                    raise InvalidArgumentError(
                        f"the accounts of {len(chosen)} CPUs in one reply",
                        advice=f"ask for at most {MAX_REPLY_VIEWS} at a time",
                    )
                return Reply(command.number, cpus=[view_of(cpu) for cpu in chosen])
            case CommandKind.READ_LOG:
                return self._log(command)
            case CommandKind.FENCE:
                return Reply(command.number)
            case CommandKind.READ_PROC:
                return Reply(command.number, text=self._proc(command.action))
            case CommandKind.READ_PENDING:
                return Reply(command.number, pending=self._pending(command))
            case CommandKind.REMOVE_CPU:
                return Reply(command.number, text=str(remove_cpu(self._kernel, command.word)))
            case CommandKind.ADD_CPU:
                return Reply(command.number, text=str(add_cpu(self._kernel, command.word)))
            case CommandKind.SHUTDOWN:
                self._kernel.hotplug.parking.shut_down()
                return _parked(command, len(self._kernel.hotplug.parking.parked))
            case _:
                raise InvalidArgumentError(f"command {command.kind} does not exist")

    def _cpu(self, command: Command) -> "Cpu":
        """The CPU that is to do something. Raises NotFoundError, ClusterStateError."""
        cpu = self._kernel.cpu(command.cpu)
        if self._kernel.failed is not None:
            raise ClusterStateError(
                f"the kernel has failed: {self._kernel.failed}", advice="start the instance again"
            )
        return cpu

    def _log(self, command: Command) -> Reply:
        """Records from number ``count`` on, as many as fit; at least one, if there is any."""
        log = self._kernel.log
        size = 0
        records: list[LogRecord] = []
        for record in log.since(command.count):
            size += _RECORD_BYTES + len(record.text.encode())
            if records and size > MAX_LOG_REPLY_BYTES:
                break
            records.append(record)
        return Reply(command.number, records=records, records_dropped=log.dropped)

    def _pending(self, command: Command) -> PendingView:
        if command.word >= NR_VECTORS:
            raise InvalidArgumentError(
                f"vector {command.word} is out of range", advice="vectors are 0 to 255"
            )
        return pending_view(self._kernel.cpu(command.cpu), command.word)

    def _proc(self, path: str) -> str:
        render = _PROC_FILES.get(path)
        if render is None:
            raise InvalidArgumentError(
                f"no file {path!r} in /proc",
                advice=f"there are {', '.join(_PROC_FILES)}, and of the host multikernel, kimage",
            )
        return render(self._kernel)


def _parked(command: Command, cpus: int) -> Reply:
    return Reply(command.number, text=str(cpus))


def _error_reply(command: Command, error: MkrpcError, *, written: int = 0) -> Reply:
    return Reply(
        command.number,
        error=str(error),
        reason=error.reason,
        advice=error.advice,
        written=written,
    )


def _set_cpu(cpu: "Cpu", action: str) -> None:
    """Do a space-separated list of ``if=0|1``, ``hlt=0|1``, ``tpr=N``; then the boundary. Or do
    ``online=0|1`` alone, as echo into /sys/devices/system/cpu/cpuN/online.

    As a debugger sets registers, whatever the CPU executes: IF changes as by POPF, without a shadow
    (R56). Nothing is changed if one of them is wrong. Raises InvalidArgumentError, and
    ClusterStateError on a CPU that waits for SIPI or is stopped.
    """
    if action in ("online=0", "online=1"):
        hotplug = cpu.kernel.hotplug
        (hotplug.bring_online if action[-1] == "1" else hotplug.take_offline)(cpu.number)
        return
    settings = [_setting(token) for token in action.split()]
    if not settings:
        raise InvalidArgumentError("nothing to set", advice="give if=0, if=1, hlt=1, tpr=0x20, …")
    cpu.assert_alive()
    for name, value in settings:
        if name == "if":
            cpu.interrupts_enabled = bool(value)
            cpu.interrupt_shadow = 0
        elif name == "hlt" and value:
            cpu.perform(Hlt())
        elif name == "hlt":
            cpu.halted = False
        else:
            cpu.write_tpr(value)
    cpu.changed = True
    cpu.boundary()


def _setting(token: str) -> tuple[str, int]:
    name, _, text = token.partition("=")
    limit = {"if": 1, "hlt": 1, "tpr": 0xFF}.get(name)
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if limit is None or not 0 <= value <= limit:
        raise InvalidArgumentError(
            f"{token!r} sets nothing", advice="give if=0 or 1, hlt=0 or 1, tpr=0 to 255"
        )
    return name, value
