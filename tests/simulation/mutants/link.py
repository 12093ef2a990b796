"""Mistakes in links, sessions and leases: each is shown by a seed."""

from dataclasses import replace
from typing import Any

from mkrpc.instance.attachment import Attachment
from mkrpc.interconnect import lease as bus_lease
from mkrpc.interconnect import roster
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.session import Session
from mkrpc.link.endpoint import LinkEnd
from mkrpc.link.lease import HeldLease

_resume = LinkEnd.resume
_receive = LinkEnd.receive
_stamp_ack = LinkEnd.stamp_ack


def retained_frames_are_forgotten(self: Any, peer_received: int) -> None:
    _resume(self, peer_received)
    self._unacknowledged.clear()
    self._again = self._sent + 1


def one_frame_too_few_is_sent_again(self: Any, peer_received: int) -> None:
    _resume(self, peer_received)
    if self._again <= self._sent:
        self._again += 1


def numbers_begin_anew_with_each_link(self: Any, peer_received: int) -> None:
    for number, frame in enumerate(self._unacknowledged, 1):
        frame.frame = number
    self._sent = len(self._unacknowledged)
    self._received, self._again = 0, 1


def repeated_frames_are_applied(self: Any, frame: Any) -> bool:
    repeated = 0 < frame.frame <= self._received
    return _receive(self, frame) or repeated


def the_frame_window_is_never_released(self: Any, frame: Any) -> bool:
    frame = replace(frame, ack=0)
    return _receive(self, frame)


def one_frame_too_many_is_acknowledged(self: Any, frame: Any) -> Any:
    _stamp_ack(self, frame)
    frame.ack += 1
    return frame


def the_bus_takes_frames_of_older_links(self: Any, generation: int) -> bool:
    return bool(self.alive and self.connected)


def an_instance_takes_frames_of_older_links(
    self: Any, frame: Any, generation: int | None = None
) -> None:
    _attachment_receive(self, frame)


_attachment_receive = Attachment.receive


def a_broken_stream_is_a_death(self: Any, session: Any, generation: int) -> None:
    if session.speaks(generation):
        self.detach(session, "its stream ended")


def the_end_of_an_older_stream_ends_the_newer_one(self: Any, session: Any, generation: int) -> None:
    if session.alive:
        session.disconnect(self.now_us)


_session_resume = Session.resume


def a_resumed_session_keeps_its_generation(self: Any, hello: Any, received: int) -> None:
    generation = self.generation
    _session_resume(self, hello, received)
    self.generation = generation


def a_lease_is_renewed_from_when_the_answer_came(self: Any, sent_us: int) -> None:
    self.since_us = self.now_us


def nothing_stops_at_the_end_of_the_lease(self: Any) -> None:
    return None


def instances_are_granted_more_than_the_lease(lease_us: int) -> int:
    return lease_us + lease_us // 2


def only_the_first_frame_renews_a_lease(self: Any, session: Any) -> None:
    self._heard.setdefault(session, self.looked_us)


def a_report_of_a_death_ends_whoever_has_the_id(
    self: Any, instance_id: int, pid: int, reason: str
) -> None:
    record = self._registry.records.get(instance_id)
    if record is not None and record.session is not None:
        self.detach(record.session, reason)


_claimant = Registry.claimant


def a_dead_incarnation_may_come_back(self: Any, hello: Any, epoch: int, *, takes_over: bool) -> Any:
    record = self.records.get(hello.instance_id)
    if record is not None and record.session is None:
        return None
    return _claimant(self, hello, epoch, takes_over=takes_over)


def an_instance_id_may_be_taken_from_who_lives(self: Any, hello: Any) -> None:
    return None


def beats_past_the_stream_renew_nothing(self: Any, incarnation: bytes) -> None:
    return None


def beats_of_the_dead_are_answered(self: Any) -> set[bytes]:
    return set(self._registry._incarnations)


def a_beat_past_the_stream_renews_from_when_it_was_answered(self: Any, sent_us: int) -> None:
    self.since_us = self.now_us


MUTANTS = [
    (roster.Roster, "beat", beats_past_the_stream_renew_nothing, 3),
    (ApicBus, "may_beat", beats_of_the_dead_are_answered, 268),
    (
        HeldLease,
        "answered_elsewhere",
        a_beat_past_the_stream_renews_from_when_it_was_answered,
        7,
    ),
    (LinkEnd, "resume", retained_frames_are_forgotten, 8),
    (LinkEnd, "resume", one_frame_too_few_is_sent_again, 8),
    (LinkEnd, "resume", numbers_begin_anew_with_each_link, 6),
    (LinkEnd, "receive", repeated_frames_are_applied, 2),
    (LinkEnd, "receive", the_frame_window_is_never_released, 110),
    (LinkEnd, "stamp_ack", one_frame_too_many_is_acknowledged, 1),
    (Session, "speaks", the_bus_takes_frames_of_older_links, 8),
    (Attachment, "receive", an_instance_takes_frames_of_older_links, 169),
    (ApicBus, "disconnect", a_broken_stream_is_a_death, 1),
    (ApicBus, "disconnect", the_end_of_an_older_stream_ends_the_newer_one, 8),
    (Session, "resume", a_resumed_session_keeps_its_generation, 1),
    (HeldLease, "_renew", a_lease_is_renewed_from_when_the_answer_came, 634),
    (Attachment, "_check_lease", nothing_stops_at_the_end_of_the_lease, 34),
    (roster, "granted_us", instances_are_granted_more_than_the_lease, 31),
    (bus_lease.Leases, "hear", only_the_first_frame_renews_a_lease, 1),
    (ApicBus, "process_ended", a_report_of_a_death_ends_whoever_has_the_id, 3),
    (Registry, "claimant", a_dead_incarnation_may_come_back, 49),
    (Registry, "_check_free", an_instance_id_may_be_taken_from_who_lives, 1),
]
