"""The beats of an instance from a thread of their own (design 3.5).

A handler that never returns, or a flood that fills the stream, is no reason to be taken for a
process that has stopped. The thread beats while the answers over the stream stay out, so that it
costs nothing otherwise. What it finds out is one number, which the event loop reads. Its
beats also tell what holds the loop, since nobody else can.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import grpc
import structlog

from mkrpc.codec import core_state_to_pb
from mkrpc.frame_codec import BEAT
from mkrpc.link.frames import Welcome
from mkrpc.link.lease import BEATS_PER_LEASE
from mkrpc.transport.address import Address
from mkrpc.transport.aio import channel_options
from mkrpc.v1 import interconnect_pb2 as pb
from mkrpc.x86.pending import CoreState

__all__ = ["Describe", "Heartbeat", "Heartbeats"]

_LATE = 1.25
"""Intervals after which an answer over the stream is late."""

Describe = Callable[[], tuple[list[CoreState], str]]

_log = structlog.get_logger("mkrpc.instance")


def _nothing() -> tuple[list[CoreState], str]:
    return [], ""


class Heartbeats:
    """The heartbeat of an instance, one after another: a new interconnect may be elsewhere.

    ``where``: where to beat, from what a welcome tells; None for nowhere. The rest as for
    :class:`Heartbeat`.
    """

    def __init__(
        self,
        where: Callable[[str], Address | None],
        incarnation: bytes,
        *,
        now_us: Callable[[], int],
        renewed_us: Callable[[], int],
        describe: Describe = _nothing,
    ) -> None:
        self._where = where
        self._incarnation = incarnation
        self._now_us = now_us
        self._renewed_us = renewed_us
        self._describe = describe
        self._epoch = 0
        self._current: Heartbeat | None = None

    @property
    def answered_us(self) -> int:
        """See :class:`Heartbeat`; 0 while there is none."""
        return self._current.answered_us if self._current is not None else 0

    def welcomed(self, welcome: Welcome) -> None:
        """An interconnect has answered; a heartbeat for another one before it ends."""
        if welcome.epoch == self._epoch:
            return
        self.stop()
        self._epoch = welcome.epoch
        address = self._where(welcome.beat_address)
        if not welcome.lease_us or address is None:
            return
        lease_s = welcome.lease_us / 1e6
        self._current = Heartbeat(
            address,
            self._incarnation,
            interval_s=lease_s / BEATS_PER_LEASE,
            timeout_s=lease_s,
            now_us=self._now_us,
            renewed_us=self._renewed_us,
            describe=self._describe,
        )
        self._current.start()

    def stop(self) -> None:
        """Beat no more; returns at once."""
        if self._current is not None:
            self._current.stop()
            self._current = None


class Heartbeat:
    """Beats while the lease was renewed longer ago than an ``interval_s`` and a bit.

    ``renewed_us``: since when the lease runs, on the clock ``now_us``. ``answered_us``: when the
    last beat from here was sent that has been answered; 0 before the first. ``timeout_s``: what is
    answered later than that could renew nothing. ``describe``: what a beat tells besides: the CPUs
    that owe somebody something, and where the event loop is.
    """

    def __init__(
        self,
        address: Address,
        incarnation: bytes,
        *,
        interval_s: float,
        timeout_s: float,
        now_us: Callable[[], int],
        renewed_us: Callable[[], int],
        describe: Describe = _nothing,
    ) -> None:
        self.answered_us = 0
        self._address = address
        self._incarnation = incarnation
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._now_us = now_us
        self._renewed_us = renewed_us
        self._describe = describe
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more; returns at once."""
        self._stop.set()

    def _run(self) -> None:
        with ExitStack() as open_channel:
            beat: Any = None
            while not self._stop.wait(self._interval_s / 2):
                sent_us = self._now_us()
                if not self._is_late(sent_us):
                    continue
                if beat is None:
                    # Only now: most instances never need it.
                    options = tuple(channel_options())
                    channel = grpc.insecure_channel(self._address.connect_target, options)
                    beat = open_channel.enter_context(channel).unary_unary(BEAT)
                try:
                    beat(self._request(), timeout=self._timeout_s)
                except grpc.RpcError as refusal:
                    _log.debug("a beat past the stream went unanswered", error=str(refusal))
                else:
                    self.answered_us = sent_us

    def _is_late(self, now_us: int) -> bool:
        renewed_us = max(self._renewed_us(), self.answered_us)
        return now_us - renewed_us >= _LATE * self._interval_s * 1e6

    def _request(self) -> bytes:
        cores, where = self._describe()
        return pb.BeatRequest(
            incarnation=self._incarnation, cores=map(core_state_to_pb, cores), where=where
        ).SerializeToString()
