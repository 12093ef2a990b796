"""The time that a bus was last told, for those of its parts that note when something happened."""

__all__ = ["Clock"]


class Clock:
    """``now_us``: microseconds on a clock that never runs backwards; 0 until somebody tells."""

    __slots__ = ("now_us",)

    def __init__(self) -> None:
        self.now_us = 0
