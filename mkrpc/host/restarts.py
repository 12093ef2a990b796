"""How often, and after which pauses, an interconnect that died is started again."""

from collections import deque

__all__ = ["LIMIT_WINDOW_S", "MAX_RESTARTS", "Restarts"]

MAX_RESTARTS = 10
"""Starts of another interconnect within :data:`LIMIT_WINDOW_S`; one more end is the cluster's."""

LIMIT_WINDOW_S = 60.0
"""Seconds over which starts are counted."""

_PAUSES_S = (0.0, 0.1, 0.2, 0.5, 1.0)
"""Before the first start within :data:`_IN_A_ROW_S`, the second, and so on; the last is for all
that follow. Instances hold out for a lease, 3 s: the first three are short enough for them."""

_IN_A_ROW_S = 10.0


class Restarts:
    """The starts so far, on a clock that never runs backwards."""

    def __init__(self) -> None:
        self.total = 0
        self._recent: deque[float] = deque()

    def next_pause_s(self, now_s: float) -> float | None:
        """Another start is wanted: the seconds to wait before it, which counts as a start.

        None if there have been :data:`MAX_RESTARTS` within the window.
        """
        while self._recent and now_s - self._recent[0] > LIMIT_WINDOW_S:
            self._recent.popleft()
        if len(self._recent) >= MAX_RESTARTS:
            return None
        in_a_row = sum(now_s - start_s <= _IN_A_ROW_S for start_s in self._recent)
        pause_s = _PAUSES_S[min(in_a_row, len(_PAUSES_S) - 1)]
        self._recent.append(now_s)
        self.total += 1
        return pause_s
