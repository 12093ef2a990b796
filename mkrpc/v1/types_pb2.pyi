from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_DELIVERED: _ClassVar[Outcome]
    OUTCOME_COALESCED: _ClassVar[Outcome]
    OUTCOME_REJECTED_NO_SUCH_APIC: _ClassVar[Outcome]
    OUTCOME_REJECTED_APIC_DISABLED: _ClassVar[Outcome]
    OUTCOME_REJECTED_SOFTWARE_DISABLED: _ClassVar[Outcome]
    OUTCOME_REJECTED_ILLEGAL_VECTOR: _ClassVar[Outcome]
    OUTCOME_REJECTED_RESERVED_MODE: _ClassVar[Outcome]
    OUTCOME_REJECTED_NOT_WAITING_FOR_SIPI: _ClassVar[Outcome]
    OUTCOME_REJECTED_INIT_DEASSERT: _ClassVar[Outcome]
    OUTCOME_REJECTED_REDIRECTABLE_IPI: _ClassVar[Outcome]
    OUTCOME_REJECTED_BLOCKED: _ClassVar[Outcome]
    OUTCOME_REJECTED_INVALID_COMBINATION: _ClassVar[Outcome]
    OUTCOME_REJECTED_ICR_BUSY: _ClassVar[Outcome]
    OUTCOME_REJECTED_NOT_PERMITTED: _ClassVar[Outcome]
    OUTCOME_REJECTED_RATE_LIMITED: _ClassVar[Outcome]
    OUTCOME_REJECTED_BACKPRESSURE: _ClassVar[Outcome]
    OUTCOME_REJECTED_INJECTED_FAULT: _ClassVar[Outcome]
    OUTCOME_REJECTED_MALFORMED: _ClassVar[Outcome]
    OUTCOME_REJECTED_NO_APIC_OF_ITS_OWN: _ClassVar[Outcome]
    OUTCOME_LOST_TARGET_DEAD: _ClassVar[Outcome]
    OUTCOME_LOST_TARGET_DEAD_MAYBE_DELIVERED: _ClassVar[Outcome]
    OUTCOME_LOST_SOURCE_DEAD: _ClassVar[Outcome]
    OUTCOME_LOST_INTERCONNECT_RESTART: _ClassVar[Outcome]
    OUTCOME_LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED: _ClassVar[Outcome]

class ApicMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    APIC_MODE_UNSPECIFIED: _ClassVar[ApicMode]
    APIC_MODE_DISABLED: _ClassVar[ApicMode]
    APIC_MODE_XAPIC: _ClassVar[ApicMode]
    APIC_MODE_X2APIC: _ClassVar[ApicMode]

class CommandKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMMAND_KIND_UNSPECIFIED: _ClassVar[CommandKind]
    COMMAND_KIND_WRITE_ICR: _ClassVar[CommandKind]
    COMMAND_KIND_SET_CPU: _ClassVar[CommandKind]
    COMMAND_KIND_READ_CPU: _ClassVar[CommandKind]
    COMMAND_KIND_READ_ACCOUNT: _ClassVar[CommandKind]
    COMMAND_KIND_READ_LOG: _ClassVar[CommandKind]
    COMMAND_KIND_READ_PROC: _ClassVar[CommandKind]
    COMMAND_KIND_FENCE: _ClassVar[CommandKind]
    COMMAND_KIND_READ_PENDING: _ClassVar[CommandKind]
    COMMAND_KIND_SHUTDOWN: _ClassVar[CommandKind]
    COMMAND_KIND_FORCE_HALT: _ClassVar[CommandKind]
    COMMAND_KIND_SEND_MESSAGE: _ClassVar[CommandKind]
    COMMAND_KIND_MESSAGE_FATE: _ClassVar[CommandKind]
    COMMAND_KIND_SEND_REQUEST: _ClassVar[CommandKind]
    COMMAND_KIND_REMOVE_CPU: _ClassVar[CommandKind]
    COMMAND_KIND_ADD_CPU: _ClassVar[CommandKind]
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_DELIVERED: Outcome
OUTCOME_COALESCED: Outcome
OUTCOME_REJECTED_NO_SUCH_APIC: Outcome
OUTCOME_REJECTED_APIC_DISABLED: Outcome
OUTCOME_REJECTED_SOFTWARE_DISABLED: Outcome
OUTCOME_REJECTED_ILLEGAL_VECTOR: Outcome
OUTCOME_REJECTED_RESERVED_MODE: Outcome
OUTCOME_REJECTED_NOT_WAITING_FOR_SIPI: Outcome
OUTCOME_REJECTED_INIT_DEASSERT: Outcome
OUTCOME_REJECTED_REDIRECTABLE_IPI: Outcome
OUTCOME_REJECTED_BLOCKED: Outcome
OUTCOME_REJECTED_INVALID_COMBINATION: Outcome
OUTCOME_REJECTED_ICR_BUSY: Outcome
OUTCOME_REJECTED_NOT_PERMITTED: Outcome
OUTCOME_REJECTED_RATE_LIMITED: Outcome
OUTCOME_REJECTED_BACKPRESSURE: Outcome
OUTCOME_REJECTED_INJECTED_FAULT: Outcome
OUTCOME_REJECTED_MALFORMED: Outcome
OUTCOME_REJECTED_NO_APIC_OF_ITS_OWN: Outcome
OUTCOME_LOST_TARGET_DEAD: Outcome
OUTCOME_LOST_TARGET_DEAD_MAYBE_DELIVERED: Outcome
OUTCOME_LOST_SOURCE_DEAD: Outcome
OUTCOME_LOST_INTERCONNECT_RESTART: Outcome
OUTCOME_LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED: Outcome
APIC_MODE_UNSPECIFIED: ApicMode
APIC_MODE_DISABLED: ApicMode
APIC_MODE_XAPIC: ApicMode
APIC_MODE_X2APIC: ApicMode
COMMAND_KIND_UNSPECIFIED: CommandKind
COMMAND_KIND_WRITE_ICR: CommandKind
COMMAND_KIND_SET_CPU: CommandKind
COMMAND_KIND_READ_CPU: CommandKind
COMMAND_KIND_READ_ACCOUNT: CommandKind
COMMAND_KIND_READ_LOG: CommandKind
COMMAND_KIND_READ_PROC: CommandKind
COMMAND_KIND_FENCE: CommandKind
COMMAND_KIND_READ_PENDING: CommandKind
COMMAND_KIND_SHUTDOWN: CommandKind
COMMAND_KIND_FORCE_HALT: CommandKind
COMMAND_KIND_SEND_MESSAGE: CommandKind
COMMAND_KIND_MESSAGE_FATE: CommandKind
COMMAND_KIND_SEND_REQUEST: CommandKind
COMMAND_KIND_REMOVE_CPU: CommandKind
COMMAND_KIND_ADD_CPU: CommandKind

class CpuAddress(_message.Message):
    __slots__ = ("cpu", "apic_id", "mode", "xapic_id", "ldr", "dfr", "software_enabled", "vacant")
    CPU_FIELD_NUMBER: _ClassVar[int]
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    XAPIC_ID_FIELD_NUMBER: _ClassVar[int]
    LDR_FIELD_NUMBER: _ClassVar[int]
    DFR_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_ENABLED_FIELD_NUMBER: _ClassVar[int]
    VACANT_FIELD_NUMBER: _ClassVar[int]
    cpu: int
    apic_id: int
    mode: ApicMode
    xapic_id: int
    ldr: int
    dfr: int
    software_enabled: bool
    vacant: bool
    def __init__(self, cpu: _Optional[int] = ..., apic_id: _Optional[int] = ..., mode: _Optional[_Union[ApicMode, str]] = ..., xapic_id: _Optional[int] = ..., ldr: _Optional[int] = ..., dfr: _Optional[int] = ..., software_enabled: _Optional[bool] = ..., vacant: _Optional[bool] = ...) -> None: ...

class VectorCount(_message.Message):
    __slots__ = ("vector", "delivered", "coalesced", "handled", "eoi", "discarded")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    COALESCED_FIELD_NUMBER: _ClassVar[int]
    HANDLED_FIELD_NUMBER: _ClassVar[int]
    EOI_FIELD_NUMBER: _ClassVar[int]
    DISCARDED_FIELD_NUMBER: _ClassVar[int]
    vector: int
    delivered: int
    coalesced: int
    handled: int
    eoi: int
    discarded: int
    def __init__(self, vector: _Optional[int] = ..., delivered: _Optional[int] = ..., coalesced: _Optional[int] = ..., handled: _Optional[int] = ..., eoi: _Optional[int] = ..., discarded: _Optional[int] = ...) -> None: ...

class IrqStatCount(_message.Message):
    __slots__ = ("field", "count")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    field: int
    count: int
    def __init__(self, field: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class CpuAccount(_message.Message):
    __slots__ = ("cpu", "irr", "isr", "tpr", "ppr", "interrupts_enabled", "activity", "multikernel", "vectors", "stats")
    CPU_FIELD_NUMBER: _ClassVar[int]
    IRR_FIELD_NUMBER: _ClassVar[int]
    ISR_FIELD_NUMBER: _ClassVar[int]
    TPR_FIELD_NUMBER: _ClassVar[int]
    PPR_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTS_ENABLED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    MULTIKERNEL_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    cpu: int
    irr: bytes
    isr: bytes
    tpr: int
    ppr: int
    interrupts_enabled: bool
    activity: str
    multikernel: int
    vectors: _containers.RepeatedCompositeFieldContainer[VectorCount]
    stats: _containers.RepeatedCompositeFieldContainer[IrqStatCount]
    def __init__(self, cpu: _Optional[int] = ..., irr: _Optional[bytes] = ..., isr: _Optional[bytes] = ..., tpr: _Optional[int] = ..., ppr: _Optional[int] = ..., interrupts_enabled: _Optional[bool] = ..., activity: _Optional[str] = ..., multikernel: _Optional[int] = ..., vectors: _Optional[_Iterable[_Union[VectorCount, _Mapping]]] = ..., stats: _Optional[_Iterable[_Union[IrqStatCount, _Mapping]]] = ...) -> None: ...

class CpuView(_message.Message):
    __slots__ = ("account", "apic_id", "mode", "registers")
    class RegistersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    APIC_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    REGISTERS_FIELD_NUMBER: _ClassVar[int]
    account: CpuAccount
    apic_id: int
    mode: ApicMode
    registers: _containers.ScalarMap[str, int]
    def __init__(self, account: _Optional[_Union[CpuAccount, _Mapping]] = ..., apic_id: _Optional[int] = ..., mode: _Optional[_Union[ApicMode, str]] = ..., registers: _Optional[_Mapping[str, int]] = ...) -> None: ...

class CoreState(_message.Message):
    __slots__ = ("cpu", "irr", "isr", "tpr", "ppr", "interrupts_enabled", "activity", "mode", "software_enabled", "known", "interrupt_shadow", "nmi_latched", "nmi_in_service", "stopped", "panic", "storm", "congested", "waits_to_write", "program", "handlers", "entered")
    CPU_FIELD_NUMBER: _ClassVar[int]
    IRR_FIELD_NUMBER: _ClassVar[int]
    ISR_FIELD_NUMBER: _ClassVar[int]
    TPR_FIELD_NUMBER: _ClassVar[int]
    PPR_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTS_ENABLED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_ENABLED_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    INTERRUPT_SHADOW_FIELD_NUMBER: _ClassVar[int]
    NMI_LATCHED_FIELD_NUMBER: _ClassVar[int]
    NMI_IN_SERVICE_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    PANIC_FIELD_NUMBER: _ClassVar[int]
    STORM_FIELD_NUMBER: _ClassVar[int]
    CONGESTED_FIELD_NUMBER: _ClassVar[int]
    WAITS_TO_WRITE_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    HANDLERS_FIELD_NUMBER: _ClassVar[int]
    ENTERED_FIELD_NUMBER: _ClassVar[int]
    cpu: int
    irr: bytes
    isr: bytes
    tpr: int
    ppr: int
    interrupts_enabled: bool
    activity: str
    mode: ApicMode
    software_enabled: bool
    known: bool
    interrupt_shadow: int
    nmi_latched: int
    nmi_in_service: bool
    stopped: bool
    panic: str
    storm: bool
    congested: bool
    waits_to_write: bool
    program: bool
    handlers: _containers.RepeatedScalarFieldContainer[int]
    entered: bool
    def __init__(self, cpu: _Optional[int] = ..., irr: _Optional[bytes] = ..., isr: _Optional[bytes] = ..., tpr: _Optional[int] = ..., ppr: _Optional[int] = ..., interrupts_enabled: _Optional[bool] = ..., activity: _Optional[str] = ..., mode: _Optional[_Union[ApicMode, str]] = ..., software_enabled: _Optional[bool] = ..., known: _Optional[bool] = ..., interrupt_shadow: _Optional[int] = ..., nmi_latched: _Optional[int] = ..., nmi_in_service: _Optional[bool] = ..., stopped: _Optional[bool] = ..., panic: _Optional[str] = ..., storm: _Optional[bool] = ..., congested: _Optional[bool] = ..., waits_to_write: _Optional[bool] = ..., program: _Optional[bool] = ..., handlers: _Optional[_Iterable[int]] = ..., entered: _Optional[bool] = ...) -> None: ...

class PendingView(_message.Message):
    __slots__ = ("core", "counts")
    CORE_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    core: CoreState
    counts: VectorCount
    def __init__(self, core: _Optional[_Union[CoreState, _Mapping]] = ..., counts: _Optional[_Union[VectorCount, _Mapping]] = ...) -> None: ...

class LogRecord(_message.Message):
    __slots__ = ("number", "level", "time_us", "cpu", "text")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    number: int
    level: int
    time_us: int
    cpu: int
    text: str
    def __init__(self, number: _Optional[int] = ..., level: _Optional[int] = ..., time_us: _Optional[int] = ..., cpu: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("cmdline", "handlers", "programs", "callables")
    CMDLINE_FIELD_NUMBER: _ClassVar[int]
    HANDLERS_FIELD_NUMBER: _ClassVar[int]
    PROGRAMS_FIELD_NUMBER: _ClassVar[int]
    CALLABLES_FIELD_NUMBER: _ClassVar[int]
    cmdline: str
    handlers: _containers.RepeatedScalarFieldContainer[str]
    programs: _containers.RepeatedCompositeFieldContainer[ImageProgram]
    callables: int
    def __init__(self, cmdline: _Optional[str] = ..., handlers: _Optional[_Iterable[str]] = ..., programs: _Optional[_Iterable[_Union[ImageProgram, _Mapping]]] = ..., callables: _Optional[int] = ...) -> None: ...

class ImageProgram(_message.Message):
    __slots__ = ("cpu", "entry")
    CPU_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    cpu: int
    entry: str
    def __init__(self, cpu: _Optional[int] = ..., entry: _Optional[str] = ...) -> None: ...
