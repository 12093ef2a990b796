from mkrpc.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Resent(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESENT_UNSPECIFIED: _ClassVar[Resent]
    RESENT_IN_ORDER: _ClassVar[Resent]
    RESENT_BORN_LATER: _ClassVar[Resent]
    RESENT_ANY_ORDER: _ClassVar[Resent]
    RESENT_ASKED_ONLY: _ClassVar[Resent]
RESENT_UNSPECIFIED: Resent
RESENT_IN_ORDER: Resent
RESENT_BORN_LATER: Resent
RESENT_ANY_ORDER: Resent
RESENT_ASKED_ONLY: Resent

class AttachRequest(_message.Message):
    __slots__ = ("hello", "frame", "goodbye")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    frame: UpFrame
    goodbye: Goodbye
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., frame: _Optional[_Union[UpFrame, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ...) -> None: ...

class AttachResponse(_message.Message):
    __slots__ = ("welcome", "frame", "goodbye")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    frame: DownFrame
    goodbye: Goodbye
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., frame: _Optional[_Union[DownFrame, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("wire_version", "instance_id", "name", "incarnation", "pid", "cpus", "epoch", "generation", "received", "tell_resolved", "born", "roster", "resolved_below", "sent", "moved", "listens", "deaf", "waits_for_sipi")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    CPUS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    TELL_RESOLVED_FIELD_NUMBER: _ClassVar[int]
    BORN_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_BELOW_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    LISTENS_FIELD_NUMBER: _ClassVar[int]
    DEAF_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_SIPI_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    instance_id: int
    name: str
    incarnation: bytes
    pid: int
    cpus: _containers.RepeatedCompositeFieldContainer[_types_pb2.CpuAddress]
    epoch: int
    generation: int
    received: int
    tell_resolved: bool
    born: int
    roster: int
    resolved_below: int
    sent: int
    moved: _containers.RepeatedCompositeFieldContainer[Moved]
    listens: bool
    deaf: bool
    waits_for_sipi: bool
    def __init__(self, wire_version: _Optional[int] = ..., instance_id: _Optional[int] = ..., name: _Optional[str] = ..., incarnation: _Optional[bytes] = ..., pid: _Optional[int] = ..., cpus: _Optional[_Iterable[_Union[_types_pb2.CpuAddress, _Mapping]]] = ..., epoch: _Optional[int] = ..., generation: _Optional[int] = ..., received: _Optional[int] = ..., tell_resolved: _Optional[bool] = ..., born: _Optional[int] = ..., roster: _Optional[int] = ..., resolved_below: _Optional[int] = ..., sent: _Optional[int] = ..., moved: _Optional[_Iterable[_Union[Moved, _Mapping]]] = ..., listens: _Optional[bool] = ..., deaf: _Optional[bool] = ..., waits_for_sipi: _Optional[bool] = ...) -> None: ...

class Moved(_message.Message):
    __slots__ = ("physically", "logically", "hotplugged")
    PHYSICALLY_FIELD_NUMBER: _ClassVar[int]
    LOGICALLY_FIELD_NUMBER: _ClassVar[int]
    HOTPLUGGED_FIELD_NUMBER: _ClassVar[int]
    physically: int
    logically: int
    hotplugged: int
    def __init__(self, physically: _Optional[int] = ..., logically: _Optional[int] = ..., hotplugged: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("wire_version", "epoch", "generation", "received", "resumed", "lease_us", "beat_address", "taken_over", "born", "roster")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    LEASE_US_FIELD_NUMBER: _ClassVar[int]
    BEAT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TAKEN_OVER_FIELD_NUMBER: _ClassVar[int]
    BORN_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    epoch: int
    generation: int
    received: int
    resumed: bool
    lease_us: int
    beat_address: str
    taken_over: bool
    born: int
    roster: int
    def __init__(self, wire_version: _Optional[int] = ..., epoch: _Optional[int] = ..., generation: _Optional[int] = ..., received: _Optional[int] = ..., resumed: _Optional[bool] = ..., lease_us: _Optional[int] = ..., beat_address: _Optional[str] = ..., taken_over: _Optional[bool] = ..., born: _Optional[int] = ..., roster: _Optional[int] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("reason", "failed")
    REASON_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    reason: str
    failed: bool
    def __init__(self, reason: _Optional[str] = ..., failed: _Optional[bool] = ...) -> None: ...

class UpFrame(_message.Message):
    __slots__ = ("frame", "ack", "events", "applied", "outcomes", "accounts", "resolved", "replies", "more", "beat", "books", "arbitrated", "recovered", "taken", "listens")
    FRAME_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    BEAT_FIELD_NUMBER: _ClassVar[int]
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    ARBITRATED_FIELD_NUMBER: _ClassVar[int]
    RECOVERED_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    LISTENS_FIELD_NUMBER: _ClassVar[int]
    frame: int
    ack: int
    events: _containers.RepeatedCompositeFieldContainer[SourceEvent]
    applied: int
    outcomes: _containers.RepeatedCompositeFieldContainer[OutcomeRun]
    accounts: _containers.RepeatedCompositeFieldContainer[_types_pb2.CpuAccount]
    resolved: _containers.RepeatedCompositeFieldContainer[ResolvedRun]
    replies: _containers.RepeatedCompositeFieldContainer[Reply]
    more: bool
    beat: int
    books: _containers.RepeatedCompositeFieldContainer[SourceBook]
    arbitrated: _containers.RepeatedCompositeFieldContainer[Arbitrated]
    recovered: bool
    taken: _containers.RepeatedCompositeFieldContainer[Taken]
    listens: bool
    def __init__(self, frame: _Optional[int] = ..., ack: _Optional[int] = ..., events: _Optional[_Iterable[_Union[SourceEvent, _Mapping]]] = ..., applied: _Optional[int] = ..., outcomes: _Optional[_Iterable[_Union[OutcomeRun, _Mapping]]] = ..., accounts: _Optional[_Iterable[_Union[_types_pb2.CpuAccount, _Mapping]]] = ..., resolved: _Optional[_Iterable[_Union[ResolvedRun, _Mapping]]] = ..., replies: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ..., more: _Optional[bool] = ..., beat: _Optional[int] = ..., books: _Optional[_Iterable[_Union[SourceBook, _Mapping]]] = ..., arbitrated: _Optional[_Iterable[_Union[Arbitrated, _Mapping]]] = ..., recovered: _Optional[bool] = ..., taken: _Optional[_Iterable[_Union[Taken, _Mapping]]] = ..., listens: _Optional[bool] = ...) -> None: ...

class SourceBook(_message.Message):
    __slots__ = ("destination", "instance_id", "apic_id", "delivery_mode", "vector", "outcomes")
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_MODE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    destination: bytes
    instance_id: int
    apic_id: int
    delivery_mode: int
    vector: int
    outcomes: _containers.RepeatedCompositeFieldContainer[EndedLegs]
    def __init__(self, destination: _Optional[bytes] = ..., instance_id: _Optional[int] = ..., apic_id: _Optional[int] = ..., delivery_mode: _Optional[int] = ..., vector: _Optional[int] = ..., outcomes: _Optional[_Iterable[_Union[EndedLegs, _Mapping]]] = ...) -> None: ...

class EndedLegs(_message.Message):
    __slots__ = ("outcome", "count")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    outcome: _types_pb2.Outcome
    count: int
    def __init__(self, outcome: _Optional[_Union[_types_pb2.Outcome, str]] = ..., count: _Optional[int] = ...) -> None: ...

class Arbitrated(_message.Message):
    __slots__ = ("source", "seq", "cpu")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    source: bytes
    seq: int
    cpu: int
    def __init__(self, source: _Optional[bytes] = ..., seq: _Optional[int] = ..., cpu: _Optional[int] = ...) -> None: ...

class SourceEvent(_message.Message):
    __slots__ = ("writes", "settled", "address", "message")
    WRITES_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    writes: Writes
    settled: SettledWrite
    address: _types_pb2.CpuAddress
    message: Message
    def __init__(self, writes: _Optional[_Union[Writes, _Mapping]] = ..., settled: _Optional[_Union[SettledWrite, _Mapping]] = ..., address: _Optional[_Union[_types_pb2.CpuAddress, _Mapping]] = ..., message: _Optional[_Union[Message, _Mapping]] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("target", "seq", "ipi_type", "data", "stamp")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    IPI_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    target: int
    seq: int
    ipi_type: int
    data: bytes
    stamp: int
    def __init__(self, target: _Optional[int] = ..., seq: _Optional[int] = ..., ipi_type: _Optional[int] = ..., data: _Optional[bytes] = ..., stamp: _Optional[int] = ...) -> None: ...

class Arrival(_message.Message):
    __slots__ = ("sender", "source", "seq", "ipi_type", "data", "doorbell")
    SENDER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    IPI_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DOORBELL_FIELD_NUMBER: _ClassVar[int]
    sender: int
    source: bytes
    seq: int
    ipi_type: int
    data: bytes
    doorbell: int
    def __init__(self, sender: _Optional[int] = ..., source: _Optional[bytes] = ..., seq: _Optional[int] = ..., ipi_type: _Optional[int] = ..., data: _Optional[bytes] = ..., doorbell: _Optional[int] = ...) -> None: ...

class Doorbells(_message.Message):
    __slots__ = ("instances", "apic_ids")
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    APIC_IDS_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedScalarFieldContainer[int]
    apic_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, instances: _Optional[_Iterable[int]] = ..., apic_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Taken(_message.Message):
    __slots__ = ("source", "seq")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    source: bytes
    seq: int
    def __init__(self, source: _Optional[bytes] = ..., seq: _Optional[int] = ...) -> None: ...

class SettledMessages(_message.Message):
    __slots__ = ("target", "first", "last", "outcome")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    target: int
    first: int
    last: int
    outcome: _types_pb2.Outcome
    def __init__(self, target: _Optional[int] = ..., first: _Optional[int] = ..., last: _Optional[int] = ..., outcome: _Optional[_Union[_types_pb2.Outcome, str]] = ...) -> None: ...

class Writes(_message.Message):
    __slots__ = ("cpu", "first_seq", "words", "command", "stamp")
    CPU_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    cpu: int
    first_seq: int
    words: _containers.RepeatedScalarFieldContainer[int]
    command: int
    stamp: int
    def __init__(self, cpu: _Optional[int] = ..., first_seq: _Optional[int] = ..., words: _Optional[_Iterable[int]] = ..., command: _Optional[int] = ..., stamp: _Optional[int] = ...) -> None: ...

class SettledWrite(_message.Message):
    __slots__ = ("cpu", "seq", "word", "outcome", "command", "stamp")
    CPU_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    WORD_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    cpu: int
    seq: int
    word: int
    outcome: _types_pb2.Outcome
    command: int
    stamp: int
    def __init__(self, cpu: _Optional[int] = ..., seq: _Optional[int] = ..., word: _Optional[int] = ..., outcome: _Optional[_Union[_types_pb2.Outcome, str]] = ..., command: _Optional[int] = ..., stamp: _Optional[int] = ...) -> None: ...

class OutcomeRun(_message.Message):
    __slots__ = ("first", "count", "outcome")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    first: int
    count: int
    outcome: _types_pb2.Outcome
    def __init__(self, first: _Optional[int] = ..., count: _Optional[int] = ..., outcome: _Optional[_Union[_types_pb2.Outcome, str]] = ...) -> None: ...

class ResolvedRun(_message.Message):
    __slots__ = ("first", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...

class DownFrame(_message.Message):
    __slots__ = ("frame", "ack", "floors", "legs", "resolved", "commands", "beat", "roster", "books", "partial", "messages", "settled", "doorbells")
    FRAME_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    FLOORS_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    BEAT_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    DOORBELLS_FIELD_NUMBER: _ClassVar[int]
    frame: int
    ack: int
    floors: _containers.RepeatedCompositeFieldContainer[SourceFloor]
    legs: _containers.RepeatedCompositeFieldContainer[Legs]
    resolved: _containers.RepeatedCompositeFieldContainer[ResolvedRun]
    commands: _containers.RepeatedCompositeFieldContainer[Command]
    beat: int
    roster: int
    books: _containers.RepeatedCompositeFieldContainer[SourceBook]
    partial: bool
    messages: _containers.RepeatedCompositeFieldContainer[Arrival]
    settled: _containers.RepeatedCompositeFieldContainer[SettledMessages]
    doorbells: Doorbells
    def __init__(self, frame: _Optional[int] = ..., ack: _Optional[int] = ..., floors: _Optional[_Iterable[_Union[SourceFloor, _Mapping]]] = ..., legs: _Optional[_Iterable[_Union[Legs, _Mapping]]] = ..., resolved: _Optional[_Iterable[_Union[ResolvedRun, _Mapping]]] = ..., commands: _Optional[_Iterable[_Union[Command, _Mapping]]] = ..., beat: _Optional[int] = ..., roster: _Optional[int] = ..., books: _Optional[_Iterable[_Union[SourceBook, _Mapping]]] = ..., partial: _Optional[bool] = ..., messages: _Optional[_Iterable[_Union[Arrival, _Mapping]]] = ..., settled: _Optional[_Iterable[_Union[SettledMessages, _Mapping]]] = ..., doorbells: _Optional[_Union[Doorbells, _Mapping]] = ...) -> None: ...

class BeatRequest(_message.Message):
    __slots__ = ("incarnation", "cores", "where")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    incarnation: bytes
    cores: _containers.RepeatedCompositeFieldContainer[_types_pb2.CoreState]
    where: str
    def __init__(self, incarnation: _Optional[bytes] = ..., cores: _Optional[_Iterable[_Union[_types_pb2.CoreState, _Mapping]]] = ..., where: _Optional[str] = ...) -> None: ...

class BeatResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Legs(_message.Message):
    __slots__ = ("source", "seqs", "words", "cpus", "resent", "arbitrated", "first_seq", "offsets", "places")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SEQS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    CPUS_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    ARBITRATED_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    source: bytes
    seqs: _containers.RepeatedScalarFieldContainer[int]
    words: _containers.RepeatedScalarFieldContainer[int]
    cpus: _containers.RepeatedScalarFieldContainer[int]
    resent: Resent
    arbitrated: bool
    first_seq: int
    offsets: _containers.RepeatedScalarFieldContainer[int]
    places: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, source: _Optional[bytes] = ..., seqs: _Optional[_Iterable[int]] = ..., words: _Optional[_Iterable[int]] = ..., cpus: _Optional[_Iterable[int]] = ..., resent: _Optional[_Union[Resent, str]] = ..., arbitrated: _Optional[bool] = ..., first_seq: _Optional[int] = ..., offsets: _Optional[_Iterable[int]] = ..., places: _Optional[_Iterable[int]] = ...) -> None: ...

class SourceFloor(_message.Message):
    __slots__ = ("source", "runs")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    source: bytes
    runs: _containers.RepeatedCompositeFieldContainer[ResolvedRun]
    def __init__(self, source: _Optional[bytes] = ..., runs: _Optional[_Iterable[_Union[ResolvedRun, _Mapping]]] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("number", "kind", "cpu", "word", "count", "action")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    WORD_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    number: int
    kind: _types_pb2.CommandKind
    cpu: int
    word: int
    count: int
    action: str
    def __init__(self, number: _Optional[int] = ..., kind: _Optional[_Union[_types_pb2.CommandKind, str]] = ..., cpu: _Optional[int] = ..., word: _Optional[int] = ..., count: _Optional[int] = ..., action: _Optional[str] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("command", "error", "reason", "advice", "text", "written", "cpus", "records", "records_dropped", "pending")
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    CPUS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_DROPPED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    command: int
    error: str
    reason: str
    advice: str
    text: str
    written: int
    cpus: _containers.RepeatedCompositeFieldContainer[_types_pb2.CpuView]
    records: _containers.RepeatedCompositeFieldContainer[_types_pb2.LogRecord]
    records_dropped: int
    pending: _types_pb2.PendingView
    def __init__(self, command: _Optional[int] = ..., error: _Optional[str] = ..., reason: _Optional[str] = ..., advice: _Optional[str] = ..., text: _Optional[str] = ..., written: _Optional[int] = ..., cpus: _Optional[_Iterable[_Union[_types_pb2.CpuView, _Mapping]]] = ..., records: _Optional[_Iterable[_Union[_types_pb2.LogRecord, _Mapping]]] = ..., records_dropped: _Optional[int] = ..., pending: _Optional[_Union[_types_pb2.PendingView, _Mapping]] = ...) -> None: ...

class AttachHostRequest(_message.Message):
    __slots__ = ("hello", "report")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    hello: HostHello
    report: HostReport
    def __init__(self, hello: _Optional[_Union[HostHello, _Mapping]] = ..., report: _Optional[_Union[HostReport, _Mapping]] = ...) -> None: ...

class HostHello(_message.Message):
    __slots__ = ("wire_version", "pid", "host_name", "instances", "pool", "deleted")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    HOST_NAME_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    pid: int
    host_name: str
    instances: _containers.RepeatedCompositeFieldContainer[HostedInstance]
    pool: _containers.RepeatedScalarFieldContainer[int]
    deleted: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, wire_version: _Optional[int] = ..., pid: _Optional[int] = ..., host_name: _Optional[str] = ..., instances: _Optional[_Iterable[_Union[HostedInstance, _Mapping]]] = ..., pool: _Optional[_Iterable[int]] = ..., deleted: _Optional[_Iterable[int]] = ...) -> None: ...

class HostedInstance(_message.Message):
    __slots__ = ("instance_id", "name", "apic_ids", "pid", "running", "exit_code", "paused", "image", "ended_by_order", "first_image", "spare_cpus")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    APIC_IDS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    ENDED_BY_ORDER_FIELD_NUMBER: _ClassVar[int]
    FIRST_IMAGE_FIELD_NUMBER: _ClassVar[int]
    SPARE_CPUS_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    name: str
    apic_ids: _containers.RepeatedScalarFieldContainer[int]
    pid: int
    running: bool
    exit_code: int
    paused: bool
    image: _types_pb2.Image
    ended_by_order: bool
    first_image: _types_pb2.Image
    spare_cpus: int
    def __init__(self, instance_id: _Optional[int] = ..., name: _Optional[str] = ..., apic_ids: _Optional[_Iterable[int]] = ..., pid: _Optional[int] = ..., running: _Optional[bool] = ..., exit_code: _Optional[int] = ..., paused: _Optional[bool] = ..., image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ..., ended_by_order: _Optional[bool] = ..., first_image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ..., spare_cpus: _Optional[int] = ...) -> None: ...

class HostReport(_message.Message):
    __slots__ = ("instance_id", "pid", "running", "exit_code", "order", "error", "reason", "advice", "paused", "ended_by_order")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    ENDED_BY_ORDER_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    pid: int
    running: bool
    exit_code: int
    order: int
    error: str
    reason: str
    advice: str
    paused: bool
    ended_by_order: bool
    def __init__(self, instance_id: _Optional[int] = ..., pid: _Optional[int] = ..., running: _Optional[bool] = ..., exit_code: _Optional[int] = ..., order: _Optional[int] = ..., error: _Optional[str] = ..., reason: _Optional[str] = ..., advice: _Optional[str] = ..., paused: _Optional[bool] = ..., ended_by_order: _Optional[bool] = ...) -> None: ...

class AttachHostResponse(_message.Message):
    __slots__ = ("order", "welcome", "start", "kill", "stop", "pause", "resume", "keep", "load", "unload", "drop")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    KILL_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    UNLOAD_FIELD_NUMBER: _ClassVar[int]
    DROP_FIELD_NUMBER: _ClassVar[int]
    order: int
    welcome: HostWelcome
    start: StartProcess
    kill: KillProcess
    stop: StopHost
    pause: PauseProcess
    resume: ResumeProcess
    keep: KeepInstance
    load: LoadImage
    unload: UnloadImage
    drop: DropInstance
    def __init__(self, order: _Optional[int] = ..., welcome: _Optional[_Union[HostWelcome, _Mapping]] = ..., start: _Optional[_Union[StartProcess, _Mapping]] = ..., kill: _Optional[_Union[KillProcess, _Mapping]] = ..., stop: _Optional[_Union[StopHost, _Mapping]] = ..., pause: _Optional[_Union[PauseProcess, _Mapping]] = ..., resume: _Optional[_Union[ResumeProcess, _Mapping]] = ..., keep: _Optional[_Union[KeepInstance, _Mapping]] = ..., load: _Optional[_Union[LoadImage, _Mapping]] = ..., unload: _Optional[_Union[UnloadImage, _Mapping]] = ..., drop: _Optional[_Union[DropInstance, _Mapping]] = ...) -> None: ...

class HostWelcome(_message.Message):
    __slots__ = ("epoch",)
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    def __init__(self, epoch: _Optional[int] = ...) -> None: ...

class StartProcess(_message.Message):
    __slots__ = ("instance_id", "wait_for_sipi", "apic_id")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    WAIT_FOR_SIPI_FIELD_NUMBER: _ClassVar[int]
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    wait_for_sipi: bool
    apic_id: int
    def __init__(self, instance_id: _Optional[int] = ..., wait_for_sipi: _Optional[bool] = ..., apic_id: _Optional[int] = ...) -> None: ...

class KeepInstance(_message.Message):
    __slots__ = ("instance_id", "name", "apic_ids", "hotplug")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    APIC_IDS_FIELD_NUMBER: _ClassVar[int]
    HOTPLUG_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    name: str
    apic_ids: _containers.RepeatedScalarFieldContainer[int]
    hotplug: bool
    def __init__(self, instance_id: _Optional[int] = ..., name: _Optional[str] = ..., apic_ids: _Optional[_Iterable[int]] = ..., hotplug: _Optional[bool] = ...) -> None: ...

class LoadImage(_message.Message):
    __slots__ = ("instance_id", "image")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    image: _types_pb2.Image
    def __init__(self, instance_id: _Optional[int] = ..., image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ...) -> None: ...

class UnloadImage(_message.Message):
    __slots__ = ("instance_id",)
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    def __init__(self, instance_id: _Optional[int] = ...) -> None: ...

class DropInstance(_message.Message):
    __slots__ = ("instance_id",)
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    def __init__(self, instance_id: _Optional[int] = ...) -> None: ...

class KillProcess(_message.Message):
    __slots__ = ("instance_id", "force")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    force: bool
    def __init__(self, instance_id: _Optional[int] = ..., force: _Optional[bool] = ...) -> None: ...

class PauseProcess(_message.Message):
    __slots__ = ("instance_id", "for_us")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    FOR_US_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    for_us: int
    def __init__(self, instance_id: _Optional[int] = ..., for_us: _Optional[int] = ...) -> None: ...

class ResumeProcess(_message.Message):
    __slots__ = ("instance_id",)
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: int
    def __init__(self, instance_id: _Optional[int] = ...) -> None: ...

class StopHost(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
