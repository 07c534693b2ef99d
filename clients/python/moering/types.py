"""What goes in and comes out, as plain data."""
from dataclasses import dataclass, field
from typing import Any, List, Mapping, Optional, Sequence, Union


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen and where the answer ends; None is the server's default."""
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
    stop: Union[str, Sequence[str]] = () # texts that end the answer
    stop_token_ids: Sequence[int] = ()
    priority: int = 0                    # higher first
    cache_salt: str = ""                 # prompts share what was computed for one of this salt


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""
    role: str                            # "system", "user", "assistant"
    content: str


Prompt = Union[str, Sequence[int]]       # a text, or token ids
Messages = Sequence[Union[Message, Mapping[str, str]]]


@dataclass(frozen=True)
class ExpertUsage:
    """What a request, or the server, used of experts."""
    hits: int = 0
    misses: int = 0
    bytes: int = 0
    stall_ms: float = 0.0


@dataclass(frozen=True)
class Usage:
    """What an answer took."""
    prompt_tokens: int
    completion_tokens: int
    queue_ms: float
    prefill_ms: float
    decode_ms: float
    preemptions: int
    cached_tokens: int                   # of prompt_tokens: computed for an earlier prompt
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
    """A whole answer; finish_reason is "stop" or "length"."""
    text: str
    tokens: List[int]
    finish_reason: str
    usage: Usage


@dataclass(frozen=True)
class Model:
    """What is being served."""
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
    """What the server has done since it started; the requests running and waiting are now's."""
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
    """How memory is shared out."""
    device_slots: int
    device_bytes: int
    host_slots: int
    host_bytes: int
    kv_blocks: int
    kv_bytes: int


@dataclass(frozen=True)
class BudgetChange:
    """What a change of the budget has done; no step ran for elapsed_ms."""
    before: Budget
    after: Budget
    preempted_requests: int
    elapsed_ms: float
