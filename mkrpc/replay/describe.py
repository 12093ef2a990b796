"""Frames in words, short enough for a line."""

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from mkrpc.link.frames import DownFrame, SettledWrite, UpFrame, Writes

__all__ = ["MAX_TEXT", "frame_line", "frame_text"]

MAX_TEXT = 400
"""Characters of a frame that are shown."""


def frame_text(frame: Any) -> str:
    """Everything in it but what is as it is by default, as far as it fits."""
    text = _compact(frame)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"


def _compact(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex() or "nobody"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list):
        return f"[{', '.join(map(_compact, value))}]"
    if is_dataclass(value) and not isinstance(value, type):
        shown = [
            f"{field.name}={_compact(each)}"
            for field in fields(value)
            if (each := getattr(value, field.name)) != field.default and each not in ([], {}, ())
        ]
        return f"{type(value).__name__}({', '.join(shown)})"
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return f"({', '.join(map(_compact, value))})"
    return repr(value)


def frame_line(frame: UpFrame | DownFrame) -> str:
    """What it carries, by number."""
    parts = [f"frame {frame.frame}" if frame.frame else "a bare acknowledgement"]
    parts.append(f"ack {frame.ack}")
    if isinstance(frame, UpFrame):
        words = sum(len(event.words) for event in frame.events if isinstance(event, Writes))
        words += sum(isinstance(event, SettledWrite) for event in frame.events)
        parts += [f"applied {frame.applied}"]
        counts = {
            "writes": words,
            "outcome runs": len(frame.outcomes),
            "accounts": len(frame.accounts),
            "replies": len(frame.replies),
        }
    else:
        counts = {
            "legs": sum(map(len, frame.legs)),
            "runs resolved": len(frame.resolved),
            "floors": len(frame.floors),
            "commands": len(frame.commands),
        }
    parts += [f"{count} {what}" for what, count in counts.items() if count]
    if frame.beat:
        parts.append(f"beat {frame.beat}")
    return ", ".join(parts)
