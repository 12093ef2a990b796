from mkrpc.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InstanceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INSTANCE_STATE_UNSPECIFIED: _ClassVar[InstanceState]
    INSTANCE_STATE_EMPTY: _ClassVar[InstanceState]
    INSTANCE_STATE_READY: _ClassVar[InstanceState]
    INSTANCE_STATE_LOADED: _ClassVar[InstanceState]
    INSTANCE_STATE_ACTIVE: _ClassVar[InstanceState]
    INSTANCE_STATE_FAILED: _ClassVar[InstanceState]

class Shorthand(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHORTHAND_UNSPECIFIED: _ClassVar[Shorthand]
    SHORTHAND_SELF: _ClassVar[Shorthand]
    SHORTHAND_ALL_INCLUDING_SELF: _ClassVar[Shorthand]
    SHORTHAND_ALL_EXCLUDING_SELF: _ClassVar[Shorthand]

class DeliveryMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_MODE_UNSPECIFIED: _ClassVar[DeliveryMode]
    DELIVERY_MODE_FIXED: _ClassVar[DeliveryMode]
    DELIVERY_MODE_LOWEST_PRIORITY: _ClassVar[DeliveryMode]
    DELIVERY_MODE_SMI: _ClassVar[DeliveryMode]
    DELIVERY_MODE_NMI: _ClassVar[DeliveryMode]
    DELIVERY_MODE_INIT: _ClassVar[DeliveryMode]
    DELIVERY_MODE_STARTUP: _ClassVar[DeliveryMode]

class FaultKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAULT_KIND_UNSPECIFIED: _ClassVar[FaultKind]
    FAULT_KIND_DROP: _ClassVar[FaultKind]
    FAULT_KIND_DELAY: _ClassVar[FaultKind]
    FAULT_KIND_DUPLICATE: _ClassVar[FaultKind]
    FAULT_KIND_REORDER: _ClassVar[FaultKind]
    FAULT_KIND_PARTITION: _ClassVar[FaultKind]
    FAULT_KIND_FLAP: _ClassVar[FaultKind]
    FAULT_KIND_PAUSE: _ClassVar[FaultKind]

class LinkDirection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LINK_DIRECTION_UNSPECIFIED: _ClassVar[LinkDirection]
    LINK_DIRECTION_UP: _ClassVar[LinkDirection]
    LINK_DIRECTION_DOWN: _ClassVar[LinkDirection]
INSTANCE_STATE_UNSPECIFIED: InstanceState
INSTANCE_STATE_EMPTY: InstanceState
INSTANCE_STATE_READY: InstanceState
INSTANCE_STATE_LOADED: InstanceState
INSTANCE_STATE_ACTIVE: InstanceState
INSTANCE_STATE_FAILED: InstanceState
SHORTHAND_UNSPECIFIED: Shorthand
SHORTHAND_SELF: Shorthand
SHORTHAND_ALL_INCLUDING_SELF: Shorthand
SHORTHAND_ALL_EXCLUDING_SELF: Shorthand
DELIVERY_MODE_UNSPECIFIED: DeliveryMode
DELIVERY_MODE_FIXED: DeliveryMode
DELIVERY_MODE_LOWEST_PRIORITY: DeliveryMode
DELIVERY_MODE_SMI: DeliveryMode
DELIVERY_MODE_NMI: DeliveryMode
DELIVERY_MODE_INIT: DeliveryMode
DELIVERY_MODE_STARTUP: DeliveryMode
FAULT_KIND_UNSPECIFIED: FaultKind
FAULT_KIND_DROP: FaultKind
FAULT_KIND_DELAY: FaultKind
FAULT_KIND_DUPLICATE: FaultKind
FAULT_KIND_REORDER: FaultKind
FAULT_KIND_PARTITION: FaultKind
FAULT_KIND_FLAP: FaultKind
FAULT_KIND_PAUSE: FaultKind
LINK_DIRECTION_UNSPECIFIED: LinkDirection
LINK_DIRECTION_UP: LinkDirection
LINK_DIRECTION_DOWN: LinkDirection

class GetClusterRequest(_message.Message):
    __slots__ = ("summary", "paged", "first_instance")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    PAGED_FIELD_NUMBER: _ClassVar[int]
    FIRST_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    summary: bool
    paged: bool
    first_instance: int
    def __init__(self, summary: _Optional[bool] = ..., paged: _Optional[bool] = ..., first_instance: _Optional[int] = ...) -> None: ...

class GetClusterResponse(_message.Message):
    __slots__ = ("address", "epoch", "interconnect_pid", "policy", "instances", "apic", "roster", "recovery", "restarts", "books_trouble", "pool", "client_rate", "faults", "next_instance", "stalls")
    class ApicEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INTERCONNECT_PID_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    APIC_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    BOOKS_TROUBLE_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    CLIENT_RATE_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    STALLS_FIELD_NUMBER: _ClassVar[int]
    address: str
    epoch: int
    interconnect_pid: int
    policy: str
    instances: _containers.RepeatedCompositeFieldContainer[Instance]
    apic: _containers.ScalarMap[str, str]
    roster: int
    recovery: Recovery
    restarts: int
    books_trouble: str
    pool: _containers.RepeatedScalarFieldContainer[int]
    client_rate: RateLimit
    faults: _containers.RepeatedCompositeFieldContainer[InjectedFault]
    next_instance: int
    stalls: _containers.RepeatedCompositeFieldContainer[Stall]
    def __init__(self, address: _Optional[str] = ..., epoch: _Optional[int] = ..., interconnect_pid: _Optional[int] = ..., policy: _Optional[str] = ..., instances: _Optional[_Iterable[_Union[Instance, _Mapping]]] = ..., apic: _Optional[_Mapping[str, str]] = ..., roster: _Optional[int] = ..., recovery: _Optional[_Union[Recovery, _Mapping]] = ..., restarts: _Optional[int] = ..., books_trouble: _Optional[str] = ..., pool: _Optional[_Iterable[int]] = ..., client_rate: _Optional[_Union[RateLimit, _Mapping]] = ..., faults: _Optional[_Iterable[_Union[InjectedFault, _Mapping]]] = ..., next_instance: _Optional[int] = ..., stalls: _Optional[_Iterable[_Union[Stall, _Mapping]]] = ...) -> None: ...

class Recovery(_message.Message):
    __slots__ = ("back", "expected", "left_us")
    BACK_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    LEFT_US_FIELD_NUMBER: _ClassVar[int]
    back: int
    expected: int
    left_us: int
    def __init__(self, back: _Optional[int] = ..., expected: _Optional[int] = ..., left_us: _Optional[int] = ...) -> None: ...

class RateLimit(_message.Message):
    __slots__ = ("writes_per_s", "burst", "available", "passed", "refused")
    WRITES_PER_S_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    writes_per_s: int
    burst: int
    available: int
    passed: int
    refused: int
    def __init__(self, writes_per_s: _Optional[int] = ..., burst: _Optional[int] = ..., available: _Optional[int] = ..., passed: _Optional[int] = ..., refused: _Optional[int] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("id", "name", "state", "incarnation", "pid", "cpus", "detail", "incarnations", "switches", "image", "apic_ids", "rate")
    class SwitchesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    CPUS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    INCARNATIONS_FIELD_NUMBER: _ClassVar[int]
    SWITCHES_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    APIC_IDS_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    state: InstanceState
    incarnation: bytes
    pid: int
    cpus: _containers.RepeatedCompositeFieldContainer[Cpu]
    detail: str
    incarnations: int
    switches: _containers.ScalarMap[str, str]
    image: _types_pb2.Image
    apic_ids: _containers.RepeatedScalarFieldContainer[int]
    rate: RateLimit
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., state: _Optional[_Union[InstanceState, str]] = ..., incarnation: _Optional[bytes] = ..., pid: _Optional[int] = ..., cpus: _Optional[_Iterable[_Union[Cpu, _Mapping]]] = ..., detail: _Optional[str] = ..., incarnations: _Optional[int] = ..., switches: _Optional[_Mapping[str, str]] = ..., image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ..., apic_ids: _Optional[_Iterable[int]] = ..., rate: _Optional[_Union[RateLimit, _Mapping]] = ...) -> None: ...

class Cpu(_message.Message):
    __slots__ = ("address", "account")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    address: _types_pb2.CpuAddress
    account: _types_pb2.CpuAccount
    def __init__(self, address: _Optional[_Union[_types_pb2.CpuAddress, _Mapping]] = ..., account: _Optional[_Union[_types_pb2.CpuAccount, _Mapping]] = ...) -> None: ...

class Destination(_message.Message):
    __slots__ = ("apic_id", "instance_id", "instance_name", "shorthand", "logical", "icr")
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_NAME_FIELD_NUMBER: _ClassVar[int]
    SHORTHAND_FIELD_NUMBER: _ClassVar[int]
    LOGICAL_FIELD_NUMBER: _ClassVar[int]
    ICR_FIELD_NUMBER: _ClassVar[int]
    apic_id: int
    instance_id: int
    instance_name: str
    shorthand: Shorthand
    logical: int
    icr: int
    def __init__(self, apic_id: _Optional[int] = ..., instance_id: _Optional[int] = ..., instance_name: _Optional[str] = ..., shorthand: _Optional[_Union[Shorthand, str]] = ..., logical: _Optional[int] = ..., icr: _Optional[int] = ...) -> None: ...

class InjectRequest(_message.Message):
    __slots__ = ("destination", "vector", "delivery_mode", "count", "client_id", "first_seq", "resolved_below", "roster", "again")
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_MODE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_BELOW_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    AGAIN_FIELD_NUMBER: _ClassVar[int]
    destination: Destination
    vector: int
    delivery_mode: DeliveryMode
    count: int
    client_id: bytes
    first_seq: int
    resolved_below: int
    roster: int
    again: bool
    def __init__(self, destination: _Optional[_Union[Destination, _Mapping]] = ..., vector: _Optional[int] = ..., delivery_mode: _Optional[_Union[DeliveryMode, str]] = ..., count: _Optional[int] = ..., client_id: _Optional[bytes] = ..., first_seq: _Optional[int] = ..., resolved_below: _Optional[int] = ..., roster: _Optional[int] = ..., again: _Optional[bool] = ...) -> None: ...

class InjectResponse(_message.Message):
    __slots__ = ("written", "legs", "at_least_once", "repeated_call", "roster")
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_ONCE_FIELD_NUMBER: _ClassVar[int]
    REPEATED_CALL_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    written: int
    legs: _containers.RepeatedCompositeFieldContainer[LegCount]
    at_least_once: bool
    repeated_call: bool
    roster: int
    def __init__(self, written: _Optional[int] = ..., legs: _Optional[_Iterable[_Union[LegCount, _Mapping]]] = ..., at_least_once: _Optional[bool] = ..., repeated_call: _Optional[bool] = ..., roster: _Optional[int] = ...) -> None: ...

class InjectStreamRequest(_message.Message):
    __slots__ = ("client_id", "first_seq", "words", "resolved_below", "roster", "again", "each", "runs")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_BELOW_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    AGAIN_FIELD_NUMBER: _ClassVar[int]
    EACH_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    client_id: bytes
    first_seq: int
    words: _containers.RepeatedScalarFieldContainer[int]
    resolved_below: int
    roster: int
    again: bool
    each: bool
    runs: bool
    def __init__(self, client_id: _Optional[bytes] = ..., first_seq: _Optional[int] = ..., words: _Optional[_Iterable[int]] = ..., resolved_below: _Optional[int] = ..., roster: _Optional[int] = ..., again: _Optional[bool] = ..., each: _Optional[bool] = ..., runs: _Optional[bool] = ...) -> None: ...

class InjectStreamResponse(_message.Message):
    __slots__ = ("window", "requests", "answered", "legs", "outcomes", "roster")
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    window: int
    requests: int
    answered: _containers.RepeatedCompositeFieldContainer[InjectedRun]
    legs: _containers.RepeatedCompositeFieldContainer[LegCount]
    outcomes: _containers.RepeatedCompositeFieldContainer[InjectedOutcomes]
    roster: int
    def __init__(self, window: _Optional[int] = ..., requests: _Optional[int] = ..., answered: _Optional[_Iterable[_Union[InjectedRun, _Mapping]]] = ..., legs: _Optional[_Iterable[_Union[LegCount, _Mapping]]] = ..., outcomes: _Optional[_Iterable[_Union[InjectedOutcomes, _Mapping]]] = ..., roster: _Optional[int] = ...) -> None: ...

class InjectedRun(_message.Message):
    __slots__ = ("first", "last", "repeated_call")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    REPEATED_CALL_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    repeated_call: bool
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ..., repeated_call: _Optional[bool] = ...) -> None: ...

class InjectedOutcomes(_message.Message):
    __slots__ = ("first_seq", "outcomes", "several", "counts_only")
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    SEVERAL_FIELD_NUMBER: _ClassVar[int]
    COUNTS_ONLY_FIELD_NUMBER: _ClassVar[int]
    first_seq: int
    outcomes: bytes
    several: _containers.RepeatedCompositeFieldContainer[InjectedLegs]
    counts_only: bool
    def __init__(self, first_seq: _Optional[int] = ..., outcomes: _Optional[bytes] = ..., several: _Optional[_Iterable[_Union[InjectedLegs, _Mapping]]] = ..., counts_only: _Optional[bool] = ...) -> None: ...

class InjectedLegs(_message.Message):
    __slots__ = ("seq", "legs")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    legs: _containers.RepeatedCompositeFieldContainer[LegCount]
    def __init__(self, seq: _Optional[int] = ..., legs: _Optional[_Iterable[_Union[LegCount, _Mapping]]] = ...) -> None: ...

class LegCount(_message.Message):
    __slots__ = ("apic_id", "instance_id", "outcome", "count")
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    apic_id: int
    instance_id: int
    outcome: _types_pb2.Outcome
    count: int
    def __init__(self, apic_id: _Optional[int] = ..., instance_id: _Optional[int] = ..., outcome: _Optional[_Union[_types_pb2.Outcome, str]] = ..., count: _Optional[int] = ...) -> None: ...

class WriteIcrRequest(_message.Message):
    __slots__ = ("apic_id", "destination", "vector", "delivery_mode", "count")
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_MODE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    apic_id: int
    destination: Destination
    vector: int
    delivery_mode: DeliveryMode
    count: int
    def __init__(self, apic_id: _Optional[int] = ..., destination: _Optional[_Union[Destination, _Mapping]] = ..., vector: _Optional[int] = ..., delivery_mode: _Optional[_Union[DeliveryMode, str]] = ..., count: _Optional[int] = ...) -> None: ...

class WriteIcrResponse(_message.Message):
    __slots__ = ("written", "legs")
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    written: int
    legs: _containers.RepeatedCompositeFieldContainer[LegCount]
    def __init__(self, written: _Optional[int] = ..., legs: _Optional[_Iterable[_Union[LegCount, _Mapping]]] = ...) -> None: ...

class SetCpuRequest(_message.Message):
    __slots__ = ("apic_id", "interrupts_enabled", "halt", "tpr", "online")
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTS_ENABLED_FIELD_NUMBER: _ClassVar[int]
    HALT_FIELD_NUMBER: _ClassVar[int]
    TPR_FIELD_NUMBER: _ClassVar[int]
    ONLINE_FIELD_NUMBER: _ClassVar[int]
    apic_id: int
    interrupts_enabled: bool
    halt: bool
    tpr: int
    online: bool
    def __init__(self, apic_id: _Optional[int] = ..., interrupts_enabled: _Optional[bool] = ..., halt: _Optional[bool] = ..., tpr: _Optional[int] = ..., online: _Optional[bool] = ...) -> None: ...

class SetCpuResponse(_message.Message):
    __slots__ = ("cpu",)
    CPU_FIELD_NUMBER: _ClassVar[int]
    cpu: _types_pb2.CpuView
    def __init__(self, cpu: _Optional[_Union[_types_pb2.CpuView, _Mapping]] = ...) -> None: ...

class GetCpuRequest(_message.Message):
    __slots__ = ("apic_id",)
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    apic_id: int
    def __init__(self, apic_id: _Optional[int] = ...) -> None: ...

class GetCpuResponse(_message.Message):
    __slots__ = ("cpu", "instance_id")
    CPU_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    cpu: _types_pb2.CpuView
    instance_id: int
    def __init__(self, cpu: _Optional[_Union[_types_pb2.CpuView, _Mapping]] = ..., instance_id: _Optional[int] = ...) -> None: ...

class GetAccountsRequest(_message.Message):
    __slots__ = ("instance_id", "from_instance")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    from_instance: bool
    def __init__(self, instance_id: _Optional[int] = ..., from_instance: _Optional[bool] = ...) -> None: ...

class GetAccountsResponse(_message.Message):
    __slots__ = ("incarnation", "mirror", "instance")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    MIRROR_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    incarnation: bytes
    mirror: _containers.RepeatedCompositeFieldContainer[_types_pb2.CpuAccount]
    instance: _containers.RepeatedCompositeFieldContainer[_types_pb2.CpuAccount]
    def __init__(self, incarnation: _Optional[bytes] = ..., mirror: _Optional[_Iterable[_Union[_types_pb2.CpuAccount, _Mapping]]] = ..., instance: _Optional[_Iterable[_Union[_types_pb2.CpuAccount, _Mapping]]] = ...) -> None: ...

class GetLedgerRequest(_message.Message):
    __slots__ = ("totals_only",)
    TOTALS_ONLY_FIELD_NUMBER: _ClassVar[int]
    totals_only: bool
    def __init__(self, totals_only: _Optional[bool] = ...) -> None: ...

class LedgerTotals(_message.Message):
    __slots__ = ("written", "delivered", "coalesced", "rejected", "lost", "in_flight")
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    COALESCED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    written: int
    delivered: int
    coalesced: int
    rejected: int
    lost: int
    in_flight: int
    def __init__(self, written: _Optional[int] = ..., delivered: _Optional[int] = ..., coalesced: _Optional[int] = ..., rejected: _Optional[int] = ..., lost: _Optional[int] = ..., in_flight: _Optional[int] = ...) -> None: ...

class LedgerRow(_message.Message):
    __slots__ = ("source", "destination", "delivery_mode", "vector", "totals", "outcomes")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_MODE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    source: LedgerParty
    destination: LedgerParty
    delivery_mode: str
    vector: int
    totals: LedgerTotals
    outcomes: _containers.RepeatedCompositeFieldContainer[OutcomeCount]
    def __init__(self, source: _Optional[_Union[LedgerParty, _Mapping]] = ..., destination: _Optional[_Union[LedgerParty, _Mapping]] = ..., delivery_mode: _Optional[str] = ..., vector: _Optional[int] = ..., totals: _Optional[_Union[LedgerTotals, _Mapping]] = ..., outcomes: _Optional[_Iterable[_Union[OutcomeCount, _Mapping]]] = ...) -> None: ...

class LedgerParty(_message.Message):
    __slots__ = ("instance_id", "name", "identity", "apic_id")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    name: str
    identity: bytes
    apic_id: int
    def __init__(self, instance_id: _Optional[int] = ..., name: _Optional[str] = ..., identity: _Optional[bytes] = ..., apic_id: _Optional[int] = ...) -> None: ...

class OutcomeCount(_message.Message):
    __slots__ = ("outcome", "count")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    outcome: _types_pb2.Outcome
    count: int
    def __init__(self, outcome: _Optional[_Union[_types_pb2.Outcome, str]] = ..., count: _Optional[int] = ...) -> None: ...

class GetLedgerResponse(_message.Message):
    __slots__ = ("summary", "rows")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    summary: LedgerSummary
    rows: _containers.RepeatedCompositeFieldContainer[LedgerRow]
    def __init__(self, summary: _Optional[_Union[LedgerSummary, _Mapping]] = ..., rows: _Optional[_Iterable[_Union[LedgerRow, _Mapping]]] = ...) -> None: ...

class LedgerSummary(_message.Message):
    __slots__ = ("balanced", "totals", "discrepancies")
    BALANCED_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    DISCREPANCIES_FIELD_NUMBER: _ClassVar[int]
    balanced: bool
    totals: LedgerTotals
    discrepancies: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, balanced: _Optional[bool] = ..., totals: _Optional[_Union[LedgerTotals, _Mapping]] = ..., discrepancies: _Optional[_Iterable[str]] = ...) -> None: ...

class GetLogRequest(_message.Message):
    __slots__ = ("instance_id", "since")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    since: int
    def __init__(self, instance_id: _Optional[int] = ..., since: _Optional[int] = ...) -> None: ...

class GetLogResponse(_message.Message):
    __slots__ = ("records", "dropped")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[_types_pb2.LogRecord]
    dropped: int
    def __init__(self, records: _Optional[_Iterable[_Union[_types_pb2.LogRecord, _Mapping]]] = ..., dropped: _Optional[int] = ...) -> None: ...

class GetProcRequest(_message.Message):
    __slots__ = ("instance_id", "path")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    path: str
    def __init__(self, instance_id: _Optional[int] = ..., path: _Optional[str] = ...) -> None: ...

class GetProcResponse(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("missed", "events")
    MISSED_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    missed: int
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, missed: _Optional[int] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("kind", "number", "fields")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    KIND_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    number: int
    fields: _containers.ScalarMap[str, str]
    def __init__(self, kind: _Optional[str] = ..., number: _Optional[int] = ..., fields: _Optional[_Mapping[str, str]] = ...) -> None: ...

class QuiesceRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QuiesceResponse(_message.Message):
    __slots__ = ("rounds",)
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    rounds: int
    def __init__(self, rounds: _Optional[int] = ...) -> None: ...

class CreateInstanceRequest(_message.Message):
    __slots__ = ("instance_id", "name", "apic_ids", "cpu_count")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    APIC_IDS_FIELD_NUMBER: _ClassVar[int]
    CPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    name: str
    apic_ids: _containers.RepeatedScalarFieldContainer[int]
    cpu_count: int
    def __init__(self, instance_id: _Optional[int] = ..., name: _Optional[str] = ..., apic_ids: _Optional[_Iterable[int]] = ..., cpu_count: _Optional[int] = ...) -> None: ...

class CreateInstanceResponse(_message.Message):
    __slots__ = ("instance_id", "name", "apic_ids", "state")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    APIC_IDS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    name: str
    apic_ids: _containers.RepeatedScalarFieldContainer[int]
    state: InstanceState
    def __init__(self, instance_id: _Optional[int] = ..., name: _Optional[str] = ..., apic_ids: _Optional[_Iterable[int]] = ..., state: _Optional[_Union[InstanceState, str]] = ...) -> None: ...

class UpdateInstanceRequest(_message.Message):
    __slots__ = ("instance_id", "apic_ids")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    APIC_IDS_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    apic_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, instance_id: _Optional[int] = ..., apic_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class UpdateInstanceResponse(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: InstanceState
    def __init__(self, state: _Optional[_Union[InstanceState, str]] = ...) -> None: ...

class LoadInstanceRequest(_message.Message):
    __slots__ = ("instance_id", "image")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    image: _types_pb2.Image
    def __init__(self, instance_id: _Optional[int] = ..., image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ...) -> None: ...

class LoadInstanceResponse(_message.Message):
    __slots__ = ("state", "image")
    STATE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    state: InstanceState
    image: _types_pb2.Image
    def __init__(self, state: _Optional[_Union[InstanceState, str]] = ..., image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ...) -> None: ...

class UnloadInstanceRequest(_message.Message):
    __slots__ = ("instance_id",)
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    def __init__(self, instance_id: _Optional[int] = ...) -> None: ...

class UnloadInstanceResponse(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: InstanceState
    def __init__(self, state: _Optional[_Union[InstanceState, str]] = ...) -> None: ...

class DeleteInstanceRequest(_message.Message):
    __slots__ = ("instance_id",)
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    def __init__(self, instance_id: _Optional[int] = ...) -> None: ...

class DeleteInstanceResponse(_message.Message):
    __slots__ = ("apic_ids",)
    APIC_IDS_FIELD_NUMBER: _ClassVar[int]
    apic_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, apic_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class GetKernfsRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class GetKernfsResponse(_message.Message):
    __slots__ = ("is_folder", "text", "entries")
    IS_FOLDER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    is_folder: bool
    text: str
    entries: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, is_folder: _Optional[bool] = ..., text: _Optional[str] = ..., entries: _Optional[_Iterable[str]] = ...) -> None: ...

class ExecInstanceRequest(_message.Message):
    __slots__ = ("instance_id", "direct", "apic_id")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECT_FIELD_NUMBER: _ClassVar[int]
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    direct: bool
    apic_id: int
    def __init__(self, instance_id: _Optional[int] = ..., direct: _Optional[bool] = ..., apic_id: _Optional[int] = ...) -> None: ...

class ExecInstanceResponse(_message.Message):
    __slots__ = ("pid", "apic_id")
    PID_FIELD_NUMBER: _ClassVar[int]
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    pid: int
    apic_id: int
    def __init__(self, pid: _Optional[int] = ..., apic_id: _Optional[int] = ...) -> None: ...

class KillInstanceRequest(_message.Message):
    __slots__ = ("instance_id", "force", "signal")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    force: bool
    signal: bool
    def __init__(self, instance_id: _Optional[int] = ..., force: _Optional[bool] = ..., signal: _Optional[bool] = ...) -> None: ...

class KillInstanceResponse(_message.Message):
    __slots__ = ("exit_code", "parked")
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    PARKED_FIELD_NUMBER: _ClassVar[int]
    exit_code: int
    parked: int
    def __init__(self, exit_code: _Optional[int] = ..., parked: _Optional[int] = ...) -> None: ...

class SetRateRequest(_message.Message):
    __slots__ = ("instance_id", "writes_per_s", "burst")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    WRITES_PER_S_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    writes_per_s: int
    burst: int
    def __init__(self, instance_id: _Optional[int] = ..., writes_per_s: _Optional[int] = ..., burst: _Optional[int] = ...) -> None: ...

class SetRateResponse(_message.Message):
    __slots__ = ("rate",)
    RATE_FIELD_NUMBER: _ClassVar[int]
    rate: RateLimit
    def __init__(self, rate: _Optional[_Union[RateLimit, _Mapping]] = ...) -> None: ...

class PauseInstanceRequest(_message.Message):
    __slots__ = ("instance_id", "for_us")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    FOR_US_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    for_us: int
    def __init__(self, instance_id: _Optional[int] = ..., for_us: _Optional[int] = ...) -> None: ...

class PauseInstanceResponse(_message.Message):
    __slots__ = ("pid",)
    PID_FIELD_NUMBER: _ClassVar[int]
    pid: int
    def __init__(self, pid: _Optional[int] = ...) -> None: ...

class ResumeInstanceRequest(_message.Message):
    __slots__ = ("instance_id",)
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    def __init__(self, instance_id: _Optional[int] = ...) -> None: ...

class ResumeInstanceResponse(_message.Message):
    __slots__ = ("pid",)
    PID_FIELD_NUMBER: _ClassVar[int]
    pid: int
    def __init__(self, pid: _Optional[int] = ...) -> None: ...

class SendMessageRequest(_message.Message):
    __slots__ = ("sender", "target", "ipi_type", "text", "patience_us")
    SENDER_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    IPI_TYPE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_US_FIELD_NUMBER: _ClassVar[int]
    sender: int
    target: int
    ipi_type: int
    text: str
    patience_us: int
    def __init__(self, sender: _Optional[int] = ..., target: _Optional[int] = ..., ipi_type: _Optional[int] = ..., text: _Optional[str] = ..., patience_us: _Optional[int] = ...) -> None: ...

class SendMessageResponse(_message.Message):
    __slots__ = ("way", "fate")
    WAY_FIELD_NUMBER: _ClassVar[int]
    FATE_FIELD_NUMBER: _ClassVar[int]
    way: str
    fate: str
    def __init__(self, way: _Optional[str] = ..., fate: _Optional[str] = ...) -> None: ...

class AskForCpuRequest(_message.Message):
    __slots__ = ("asker", "apic_id", "online")
    ASKER_FIELD_NUMBER: _ClassVar[int]
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    ONLINE_FIELD_NUMBER: _ClassVar[int]
    asker: int
    apic_id: int
    online: bool
    def __init__(self, asker: _Optional[int] = ..., apic_id: _Optional[int] = ..., online: _Optional[bool] = ...) -> None: ...

class AskForCpuResponse(_message.Message):
    __slots__ = ("owner",)
    OWNER_FIELD_NUMBER: _ClassVar[int]
    owner: int
    def __init__(self, owner: _Optional[int] = ...) -> None: ...

class Fault(_message.Message):
    __slots__ = ("kind", "for_us", "instance_id", "direction", "source", "destination", "vector", "share", "every", "limit", "delay_us", "jitter_us", "period_us", "seed")
    KIND_FIELD_NUMBER: _ClassVar[int]
    FOR_US_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    EVERY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    DELAY_US_FIELD_NUMBER: _ClassVar[int]
    JITTER_US_FIELD_NUMBER: _ClassVar[int]
    PERIOD_US_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    kind: FaultKind
    for_us: int
    instance_id: int
    direction: LinkDirection
    source: int
    destination: int
    vector: int
    share: float
    every: int
    limit: int
    delay_us: int
    jitter_us: int
    period_us: int
    seed: int
    def __init__(self, kind: _Optional[_Union[FaultKind, str]] = ..., for_us: _Optional[int] = ..., instance_id: _Optional[int] = ..., direction: _Optional[_Union[LinkDirection, str]] = ..., source: _Optional[int] = ..., destination: _Optional[int] = ..., vector: _Optional[int] = ..., share: _Optional[float] = ..., every: _Optional[int] = ..., limit: _Optional[int] = ..., delay_us: _Optional[int] = ..., jitter_us: _Optional[int] = ..., period_us: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class InjectedFault(_message.Message):
    __slots__ = ("number", "fault", "text", "age_us", "left_us", "struck")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    AGE_US_FIELD_NUMBER: _ClassVar[int]
    LEFT_US_FIELD_NUMBER: _ClassVar[int]
    STRUCK_FIELD_NUMBER: _ClassVar[int]
    number: int
    fault: Fault
    text: str
    age_us: int
    left_us: int
    struck: int
    def __init__(self, number: _Optional[int] = ..., fault: _Optional[_Union[Fault, _Mapping]] = ..., text: _Optional[str] = ..., age_us: _Optional[int] = ..., left_us: _Optional[int] = ..., struck: _Optional[int] = ...) -> None: ...

class SetFaultRequest(_message.Message):
    __slots__ = ("fault",)
    FAULT_FIELD_NUMBER: _ClassVar[int]
    fault: Fault
    def __init__(self, fault: _Optional[_Union[Fault, _Mapping]] = ...) -> None: ...

class SetFaultResponse(_message.Message):
    __slots__ = ("fault",)
    FAULT_FIELD_NUMBER: _ClassVar[int]
    fault: InjectedFault
    def __init__(self, fault: _Optional[_Union[InjectedFault, _Mapping]] = ...) -> None: ...

class ListFaultsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFaultsResponse(_message.Message):
    __slots__ = ("faults",)
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    faults: _containers.RepeatedCompositeFieldContainer[InjectedFault]
    def __init__(self, faults: _Optional[_Iterable[_Union[InjectedFault, _Mapping]]] = ...) -> None: ...

class ClearFaultsRequest(_message.Message):
    __slots__ = ("numbers",)
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    numbers: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, numbers: _Optional[_Iterable[int]] = ...) -> None: ...

class ClearFaultsResponse(_message.Message):
    __slots__ = ("faults",)
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    faults: _containers.RepeatedCompositeFieldContainer[InjectedFault]
    def __init__(self, faults: _Optional[_Iterable[_Union[InjectedFault, _Mapping]]] = ...) -> None: ...

class Stall(_message.Message):
    __slots__ = ("kind", "instance_id", "name", "incarnation", "apic_id", "vector", "source", "sources", "count", "age_us", "holds", "reports")
    KIND_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    AGE_US_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    instance_id: int
    name: str
    incarnation: bytes
    apic_id: int
    vector: int
    source: LedgerParty
    sources: str
    count: int
    age_us: int
    holds: _containers.RepeatedCompositeFieldContainer[Hold]
    reports: int
    def __init__(self, kind: _Optional[str] = ..., instance_id: _Optional[int] = ..., name: _Optional[str] = ..., incarnation: _Optional[bytes] = ..., apic_id: _Optional[int] = ..., vector: _Optional[int] = ..., source: _Optional[_Union[LedgerParty, _Mapping]] = ..., sources: _Optional[str] = ..., count: _Optional[int] = ..., age_us: _Optional[int] = ..., holds: _Optional[_Iterable[_Union[Hold, _Mapping]]] = ..., reports: _Optional[int] = ...) -> None: ...

class Hold(_message.Message):
    __slots__ = ("kind", "vector", "text")
    KIND_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    vector: int
    text: str
    def __init__(self, kind: _Optional[str] = ..., vector: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class WhyRequest(_message.Message):
    __slots__ = ("apic_id", "vector")
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    apic_id: int
    vector: int
    def __init__(self, apic_id: _Optional[int] = ..., vector: _Optional[int] = ...) -> None: ...

class WhyResponse(_message.Message):
    __slots__ = ("instance_id", "name", "incarnation", "cpu", "attached", "detail", "core", "told_by", "told_age_us", "where", "unanswered", "counts", "holds", "service", "pending_us", "in_service_us", "handled_us", "enabled_us", "in_flight", "delay", "legs_ahead", "rows")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    CORE_FIELD_NUMBER: _ClassVar[int]
    TOLD_BY_FIELD_NUMBER: _ClassVar[int]
    TOLD_AGE_US_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    UNANSWERED_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    PENDING_US_FIELD_NUMBER: _ClassVar[int]
    IN_SERVICE_US_FIELD_NUMBER: _ClassVar[int]
    HANDLED_US_FIELD_NUMBER: _ClassVar[int]
    ENABLED_US_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    DELAY_FIELD_NUMBER: _ClassVar[int]
    LEGS_AHEAD_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    name: str
    incarnation: bytes
    cpu: int
    attached: bool
    detail: str
    core: _types_pb2.CoreState
    told_by: str
    told_age_us: int
    where: str
    unanswered: str
    counts: _types_pb2.VectorCount
    holds: _containers.RepeatedCompositeFieldContainer[Hold]
    service: Hold
    pending_us: int
    in_service_us: int
    handled_us: int
    enabled_us: int
    in_flight: _containers.RepeatedCompositeFieldContainer[InFlightLegs]
    delay: _containers.RepeatedCompositeFieldContainer[Hold]
    legs_ahead: int
    rows: _containers.RepeatedCompositeFieldContainer[LedgerRow]
    def __init__(self, instance_id: _Optional[int] = ..., name: _Optional[str] = ..., incarnation: _Optional[bytes] = ..., cpu: _Optional[int] = ..., attached: _Optional[bool] = ..., detail: _Optional[str] = ..., core: _Optional[_Union[_types_pb2.CoreState, _Mapping]] = ..., told_by: _Optional[str] = ..., told_age_us: _Optional[int] = ..., where: _Optional[str] = ..., unanswered: _Optional[str] = ..., counts: _Optional[_Union[_types_pb2.VectorCount, _Mapping]] = ..., holds: _Optional[_Iterable[_Union[Hold, _Mapping]]] = ..., service: _Optional[_Union[Hold, _Mapping]] = ..., pending_us: _Optional[int] = ..., in_service_us: _Optional[int] = ..., handled_us: _Optional[int] = ..., enabled_us: _Optional[int] = ..., in_flight: _Optional[_Iterable[_Union[InFlightLegs, _Mapping]]] = ..., delay: _Optional[_Iterable[_Union[Hold, _Mapping]]] = ..., legs_ahead: _Optional[int] = ..., rows: _Optional[_Iterable[_Union[LedgerRow, _Mapping]]] = ...) -> None: ...

class InFlightLegs(_message.Message):
    __slots__ = ("source", "first_seq", "waiting", "handed", "age_us")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    HANDED_FIELD_NUMBER: _ClassVar[int]
    AGE_US_FIELD_NUMBER: _ClassVar[int]
    source: LedgerParty
    first_seq: int
    waiting: int
    handed: int
    age_us: int
    def __init__(self, source: _Optional[_Union[LedgerParty, _Mapping]] = ..., first_seq: _Optional[int] = ..., waiting: _Optional[int] = ..., handed: _Optional[int] = ..., age_us: _Optional[int] = ...) -> None: ...

class ShutdownRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ShutdownResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
