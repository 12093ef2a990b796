"""An instance's timer on an event loop that does what is due at once, as uvloop does: it then gives
back a handle that does not say when."""

import asyncio
from typing import Any

import pytest
from e2e.one_instance import rig

pytestmark = pytest.mark.e2e


async def test_a_timer_that_is_due_at_once_need_not_say_when(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with rig() as made:
        loop = asyncio.get_running_loop()
        called: list[float] = []

        def call_at(when: float, callback: Any) -> asyncio.Handle:
            called.append(when)
            return loop.call_soon(callback)

        instance = made.instance
        assert instance._timer is not None
        instance._timer.cancel()
        with monkeypatch.context() as patch:
            patch.setattr(loop, "call_at", call_at)
            for _ in range(2):
                instance._set_timer()
        assert called, "a timer was set"
        await made.inject(1)
