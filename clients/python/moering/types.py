"""What goes in and comes out, as plain data."""
from dataclasses import dataclass, field
from typing import Any, List, Optional, Sequence


@dataclass(frozen=True)
class Sampling:
    """Absent fields (None) are the server's defaults."""
    temperature: Optional[float] = None  # 0: the likeliest token
    top_k: int = 0                       # 0: all
    top_p: Optional[float] = None
    min_p: float = 0.0
    repetition_penalty: Optional[float] = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: Optional[int] = None
    max_tokens: Optional[int] = None     # None: as many as fit
    min_tokens: int = 0
    ignore_eos: bool = False
    stop: Sequence[str] = ()
    stop_token_ids: Sequence[int] = ()
    priority: int = 0                    # higher first


@dataclass(frozen=True)
class Message:
    role: str                            # "system", "user", "assistant"
    content: str


@dataclass(frozen=True)
class ExpertUsage:
    hits: int = 0
    misses: int = 0
    bytes: int = 0
    stall_ms: float = 0.0


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    queue_ms: float
    prefill_ms: float
    decode_ms: float
    preemptions: int
    experts: ExpertUsage


@dataclass(frozen=True)
class Chunk:
    """A part of an answer; the last one alone has finish_reason ("stop", "length") and usage."""
    text: str
    tokens: List[int]
    finish_reason: Optional[str] = None
    usage: Optional[Usage] = None


@dataclass(frozen=True)
class Completion:
    text: str
    tokens: List[int]
    finish_reason: str
    usage: Usage


@dataclass(frozen=True)
class Model:
    name: str
    architecture: str
    backend: str
    version: str
    layers: int
    experts_per_layer: int
    experts_per_token: int
    vocab_size: int
    max_model_len: int
    parameters: int
    active_parameters: int
    raw: Any = field(repr=False, compare=False)  # the whole message


@dataclass(frozen=True)
class Stats:
    uptime_s: float
    requests_running: int
    requests_waiting: int
    requests_finished: int
    requests_cancelled: int
    requests_failed: int
    requests_rejected: int
    prompt_tokens: int
    generation_tokens: int
    experts: ExpertUsage
    raw: Any = field(repr=False, compare=False)


@dataclass(frozen=True)
class Budget:
    device_slots: int
    device_bytes: int
    host_slots: int
    host_bytes: int
    kv_blocks: int
    kv_bytes: int


@dataclass(frozen=True)
class BudgetChange:
    before: Budget
    after: Budget
    preempted_requests: int
    elapsed_ms: float
