"""The whole machine in one thread: real kernels, real bus, no transport and no clock.

What the processes do over gRPC, :class:`Machine` does by handing frames over directly, so a test
or a recorded scenario exercises the very objects that run in production. Time stands still unless
the caller moves :attr:`Machine.now_us`.
"""

from collections.abc import Callable, Sequence
from typing import get_args

from mkrpc.errors import InvalidArgumentError
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.kernel import Kernel, KernelConfig
from mkrpc.instance.link_windows import LinkWindows, MemoryLinks
from mkrpc.instance.memory import SharedMemory
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.routing import Arbitration
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.tally import Tally
from mkrpc.link.messages import MAX_MESSAGE_BYTES
from mkrpc.x86.switches import check_switch

__all__ = ["MAX_ROUNDS", "MEMORY_BYTES", "Machine"]

MEMORY_BYTES = 1 << 20
"""Memory that all kernels of the machine share."""

MAX_ROUNDS = 1_000_000
"""Rounds of :meth:`Machine.settle` before a machine that never comes to rest is called a bug."""

_BUDGET = 64
"""Instruction boundaries that one kernel runs before the next one has its turn."""


class Machine:
    """A multikernel machine in one thread.

    ``configs``: one kernel each; their instance ids and APIC ids must not overlap
    (:class:`mkrpc.errors.AlreadyExistsError`). Incarnations are the instance ids, counted up at a
    restart: here nothing is random. ``arbitration`` of lowest-priority IPIs (R32) is the machine's;
    None is that of the first kernel which sends them, ``ppr`` if none does
    (:class:`mkrpc.errors.InvalidArgumentError` if a kernel contradicts it).
    """

    def __init__(
        self,
        configs: Sequence[KernelConfig],
        *,
        policy: Policy | None = None,
        memory: SharedMemory | None = None,
        arbitration: Arbitration | None = None,
    ) -> None:
        if arbitration is None:
            arbitration = _arbitration_of(configs)
        check_switch("arbitration", arbitration, get_args(Arbitration))
        self.now_us = 0
        self.memory = memory if memory is not None else SharedMemory(bytearray(MEMORY_BYTES))
        self.links = MemoryLinks(lambda instance_id: instance_id in self.kernels)
        self.bus = ApicBus(
            epoch=1,
            policy=policy if policy is not None else Policy.named("bare-metal"),
            arbitration=arbitration,
        )
        self.kernels: dict[int, Kernel] = {}
        self._attachments: dict[int, Attachment] = {}
        self._sessions: dict[int, Session] = {}
        self._incarnations = 0
        self._client_seq = 1
        for config in configs:
            self.boot(config)

    def boot(self, config: KernelConfig) -> Kernel:
        """Start a kernel and attach it; a new incarnation if its id ran before.

        Raises InvalidArgumentError if its ``lowest_priority`` is neither the machine's arbitration
        nor ``unsupported``, AlreadyExistsError for an id that is in use.
        """
        own = config.apic_policy.lowest_priority
        if own not in ("unsupported", self.bus.arbitration):
            raise InvalidArgumentError(
                f"lowest_priority is {own!r} in {config.name}, where the machine arbitrates by "
                f"{self.bus.arbitration!r}",
                advice="a kernel can only choose 'unsupported' in its place",
            )
        self._incarnations += 1
        incarnation = self._incarnations.to_bytes(16, "little")
        windows = LinkWindows(
            config.instance_id, incarnation, self.links, max_data=MAX_MESSAGE_BYTES
        )
        kernel = Kernel(
            config,
            incarnation=incarnation,
            now_us=lambda: self.now_us,
            memory=self.memory.beside(windows),
        )
        attachment = Attachment(kernel)
        session = self.bus.attach(attachment.hello(pid=0))
        attachment.welcome(self.bus.welcome(session))
        windows.open()
        self.kernels[config.instance_id] = kernel
        self._attachments[config.instance_id] = attachment
        self._sessions[config.instance_id] = session
        return kernel

    def crash(self, instance_id: int) -> None:
        """The instance vanishes, with whatever it had not reported."""
        self.bus.detach(self._sessions.pop(instance_id), "crashed")
        del self._attachments[instance_id]
        del self.kernels[instance_id]

    def cpu(self, apic_id: int) -> Cpu:
        """The CPU with this initial APIC id; ``KeyError`` if no kernel that runs has it."""
        for kernel in self.kernels.values():
            for cpu in kernel.cpus:
                if cpu.apic.initial_id == apic_id:
                    return cpu
        raise KeyError(f"no CPU has APIC id {apic_id}")

    def settle(self) -> None:
        """Move frames and run CPUs until nothing moves."""
        for _ in range(MAX_ROUNDS):
            if not self._round():
                return
        raise AssertionError(f"the machine did not come to rest in {MAX_ROUNDS} rounds")

    def exchange(self) -> bool:
        """Move every frame that is ready, without running programs; whether any moved."""
        moved = False
        for instance_id, attachment in list(self._attachments.items()):
            session = self._sessions[instance_id]
            while (up := attachment.next_frame()) is not None:
                self.bus.receive(session, up)
                moved = True
            while (down := self.bus.next_frame(session)) is not None:
                attachment.receive(down)
                moved = True
        while self.bus.unmade:
            self.bus.go_on()
            moved = True
        return moved

    def inject(
        self, word: int, count: int = 1, *, on_done: Callable[[Tally], None] | None = None
    ) -> Tally:
        """An external agent, the machine's only one, injects ``count`` ICR words."""
        first_seq = self._client_seq
        self._client_seq += count
        return self.bus.inject(
            client_id=b"in-memory client",
            first_seq=first_seq,
            word=word,
            count=count,
            resolved_below=first_seq,
            on_done=on_done if on_done is not None else lambda _tally: None,
        )

    def _round(self) -> bool:
        ran = [attachment.run(_BUDGET) for attachment in list(self._attachments.values())]
        return self.exchange() or any(ran)


def _arbitration_of(configs: Sequence[KernelConfig]) -> Arbitration:
    """That of the first kernel which sends lowest-priority IPIs."""
    for config in configs:
        chosen = config.apic_policy.lowest_priority
        if chosen != "unsupported":
            return chosen
    return "ppr"
