"""Sequence numbers, acknowledgement and windows as pure objects, used by both ends of a link."""
