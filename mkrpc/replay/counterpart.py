"""What a frame held that is not sent any more: read from the journal of whoever received it."""

from collections.abc import Iterable, Sequence
from dataclasses import fields

from mkrpc.frame_codec import decode_down, decode_up
from mkrpc.journal.calls import unpack_sent, unpack_session
from mkrpc.journal.format import Journal
from mkrpc.link.frames import DownFrame, Hello, UpFrame, Welcome
from mkrpc.replay.bus_life import BusLife
from mkrpc.replay.describe import frame_text
from mkrpc.replay.instance_life import InstanceLife
from mkrpc.replay.life import Life

__all__ = ["explain"]

Frame = UpFrame | DownFrame


def explain(life: Life, lives: Iterable[Life]) -> list[str]:
    """Field by field, the frame that was sent then beside the one of now; empty if that of then
    was received by nobody, or if it is no frame that differs."""
    step, now = life.difference_step, life.given
    if step is None or step.method != "next_frame":
        return []
    session, sent = unpack_sent(step.payload)
    if sent is None or not sent.frame:
        return []
    then: Frame | None = None
    if isinstance(life, InstanceLife):
        journals = [Journal(other.journal.path) for other in lives if isinstance(other, BusLife)]
        then = _received_up(journals, life.incarnation, sent.frame)
    elif isinstance(life, BusLife):
        incarnation = life.incarnation_of(session)
        journals = [
            Journal(other.journal.path)
            for other in lives
            if isinstance(other, InstanceLife) and other.incarnation == incarnation
        ]
        then = _received_down(journals, life.journal.header["epoch"], sent.frame)
    return _differing(then, now) if then is not None else []


def _differing(then: Frame, now: object) -> list[str]:
    if type(then) is not type(now):
        return [f"then: {frame_text(then)}", "now: nothing"]
    return [
        f"{field.name}: then {frame_text(before)}, now {frame_text(after)}"
        for field in fields(then)
        if (before := getattr(then, field.name)) != (after := getattr(now, field.name))
    ]


def _received_up(journals: Sequence[Journal], incarnation: bytes, number: int) -> UpFrame | None:
    for journal in journals:
        sessions: list[bytes] = []
        for step in journal.steps():
            if step.method == "attach":
                hello = decode_up(step.payload)
                refused = any(output.text.startswith("raised") for output in step.outputs)
                if isinstance(hello, Hello) and not refused and hello.incarnation not in sessions:
                    sessions.append(hello.incarnation)
            elif step.method == "receive":
                session, _, _, wire = unpack_session(step.payload)
                if session < len(sessions) and sessions[session] == incarnation:
                    frame = decode_up(wire)
                    if isinstance(frame, UpFrame) and frame.frame == number:
                        return frame
    return None


def _received_down(journals: Sequence[Journal], epoch: int, number: int) -> DownFrame | None:
    for journal in journals:
        of_epoch = False
        for step in journal.steps():
            if step.method == "welcome":
                welcome = decode_down(step.payload)
                of_epoch = isinstance(welcome, Welcome) and welcome.epoch == epoch
            elif step.method == "receive" and of_epoch:
                frame = decode_down(unpack_session(step.payload)[3])
                if isinstance(frame, DownFrame) and frame.frame == number:
                    return frame
    return None
