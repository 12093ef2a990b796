"""The ``[[faults]]`` tables of a topology: what goes wrong from the start (docs/faults.md)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, StrictFloat, StrictInt
from pydantic_core import PydanticCustomError

from mkrpc.errors import InvalidArgumentError
from mkrpc.fault import MAX_FAULT_US, MAX_STRIKES, Direction, Fault, FaultKind
from mkrpc.topology_report import Problem
from mkrpc.topology_spec import Spec

__all__ = ["FaultSpec", "fault_problems"]


def _id_or_name(value: object) -> object:
    if value is not None and type(value) not in (int, str):
        raise PydanticCustomError("instance", "should be an instance's id or name")
    return value


_Instance = Annotated[int | str | None, PlainValidator(_id_or_name)]
_Strikes = Annotated[StrictInt, Field(ge=0, le=MAX_STRIKES)]
_Milliseconds = Annotated[StrictFloat, Field(ge=0, le=MAX_FAULT_US / 1e3)]
_Seconds = Annotated[StrictFloat, Field(ge=0, le=MAX_FAULT_US / 1e6)]


class FaultSpec(Spec):
    """One fault that is injected from the start; the keys are those of :class:`mkrpc.fault.Fault`.

    Instances by id or name. ``for_s`` 0: until it is cleared. ``seed``: of chance, so that the same
    topology has the same luck each time.
    """

    kind: Literal["drop", "delay", "duplicate", "reorder", "partition", "flap"]
    for_s: _Seconds = 0
    source: _Instance = None
    destination: _Instance = None
    vector: Annotated[StrictInt, Field(ge=0, le=0xFF)] | None = None
    instance: _Instance = None
    direction: Literal["up", "down", "both"] = "both"
    share: Annotated[StrictFloat, Field(gt=0, le=1)] = 1.0
    every: _Strikes = 0
    limit: _Strikes = 0
    delay_ms: _Milliseconds = 0
    jitter_ms: _Milliseconds = 0
    period_ms: _Milliseconds = 0
    seed: Annotated[StrictInt, Field(ge=0, lt=1 << 63)] = 0

    def as_fault(self, ids: Mapping[str, int]) -> Fault:
        """The fault; ``ids`` of instances by name. KeyError for a name that is not in it."""

        def instance(key: str | int | None) -> int | None:
            return ids[key] if isinstance(key, str) else key

        return Fault(
            kind=FaultKind(self.kind),
            for_us=round(self.for_s * 1e6),
            source=instance(self.source),
            destination=instance(self.destination),
            vector=self.vector,
            instance=instance(self.instance),
            direction=Direction(self.direction),
            share=float(self.share),
            every=self.every,
            limit=self.limit,
            delay_us=round(self.delay_ms * 1e3),
            jitter_us=round(self.jitter_ms * 1e3),
            period_us=round(self.period_ms * 1e3),
            seed=self.seed,
        )


def fault_problems(faults: Sequence[FaultSpec], ids: Mapping[str, int]) -> Iterator[Problem]:
    """What is wrong with a fault as a whole, or on this machine."""
    for index, spec in enumerate(faults):
        unknown = False
        for key in ("source", "destination", "instance"):
            named: Any = getattr(spec, key)
            if named is not None and named not in ids and named not in ids.values():
                unknown = True
                known = ", ".join(f"{number} ({name})" for name, number in list(ids.items())[:16])
                yield Problem(
                    ("faults", index, key), f"no instance {named!r}", f"there are: {known}"
                )
        if unknown:
            continue
        try:
            spec.as_fault(ids).check()
        except InvalidArgumentError as error:
            yield Problem(("faults", index), str(error), error.advice)
