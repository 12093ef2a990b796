"""A request that has legs, as something to await."""

import asyncio

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.tally import Tally

__all__ = ["TallyWaiter"]


class TallyWaiter:
    """Awaits a tally, whose call-back may come at once or much later."""

    def __init__(self, bus: ApicBus) -> None:
        self._bus = bus
        self._future: asyncio.Future[Tally] = asyncio.get_running_loop().create_future()

    def done(self, tally: Tally) -> None:
        """The call-back that the bus makes, once; perhaps just after the client has gone."""
        if not self._future.done():
            self._future.set_result(tally)

    async def wait(self, tally: Tally) -> Tally:
        """The tally when it is done; withdrawn if the client goes away before."""
        if not tally.done:
            try:
                tally = await self._future
            except asyncio.CancelledError:
                self._bus.abandon(tally)
                raise
        if tally.error is not None:
            raise tally.error
        return tally
