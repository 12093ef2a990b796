"""The part of the bus that is told what shall go wrong."""

from mkrpc.compiled.marks import mypyc_attr
from mkrpc.errors import InvalidArgumentError
from mkrpc.fault import Fault
from mkrpc.interconnect.bucket import Rates
from mkrpc.interconnect.faults import ActiveFault, Faults
from mkrpc.interconnect.succession import Succession
from mkrpc.interconnect.takeover import Takeover

__all__ = ["FaultInjection"]


@mypyc_attr(allow_interpreted_subclasses=True)
class FaultInjection(Succession):
    """Injects faults and clears them; ``lease_us``: of the bus."""

    def __init__(self, lease_us: int, takeover: Takeover | None, rates: Rates) -> None:
        super().__init__(takeover, rates)
        self.faults = Faults()
        self._longest_delay_us = lease_us // 3

    def set_fault(self, fault: Fault) -> ActiveFault:
        """Inject a fault from now on; it has a number from 1 up that none had before.

        :raises InvalidArgumentError: it cannot be, or delays by more than a third of the lease.
        :raises LimitReachedError: there are MAX_FAULTS.
        """
        if fault.delay_us + fault.jitter_us > self._longest_delay_us:
            raise InvalidArgumentError(
                f"delay: {(fault.delay_us + fault.jitter_us) / 1000:g} ms are more than a third of "
                f"the lease, {self._longest_delay_us / 1000:g} ms",
                advice="a partition keeps everything back for longer",
            )
        return self.faults.begin(fault)

    def clear_fault(self, number: int, reason: str = "cleared") -> ActiveFault:
        """End a fault.

        :raises NotFoundError: there is none of that number.
        """
        return self.faults.end(number, reason)
