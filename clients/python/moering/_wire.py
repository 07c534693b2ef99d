"""Plain data to messages and back. No IO.

The only file that knows what a message holds: both clients are thin over it."""
import dataclasses
from typing import Any, Dict, Iterable, List, Optional, Sequence, Type, TypeVar

from .errors import Internal
from .types import (Budget, BudgetChange, Chunk, Completion, ExpertUsage, Message, Messages, Model,
                    Prompt, Sampling, Stats, Usage)
from .v1 import moering_pb2 as pb

T = TypeVar("T")

# Of a Sampling: fields that the wire always has, and those whose absence it can tell.
_ALWAYS = ("top_k", "min_p", "presence_penalty", "frequency_penalty")
_MAYBE = ("temperature", "top_p", "repetition_penalty", "seed")
_REASONS = {pb.FINISH_REASON_STOP: "stop", pb.FINISH_REASON_LENGTH: "length"}

# name: streams its answer?, request, answer
CALLS: Dict[str, Any] = {
    "Generate": (True, pb.GenerateRequest, pb.GenerateChunk),
    "Chat": (True, pb.ChatRequest, pb.GenerateChunk),
    "Tokenize": (False, pb.TokenizeRequest, pb.TokenizeResponse),
    "Detokenize": (False, pb.DetokenizeRequest, pb.DetokenizeResponse),
    "GetModel": (False, pb.GetModelRequest, pb.GetModelResponse),
    "GetStats": (False, pb.GetStatsRequest, pb.GetStatsResponse),
    "SetBudget": (False, pb.SetBudgetRequest, pb.SetBudgetResponse),
}


# ---- requests ----

def _settings(sampling: Optional[Sampling], model: str, request_id: str) -> pb.GenerateRequest:
    s = sampling or Sampling()
    m = pb.GenerateRequest(model=model, request_id=request_id, min_tokens=s.min_tokens,
                           ignore_eos=s.ignore_eos, priority=s.priority,
                           cache_salt=s.cache_salt)
    for name in _ALWAYS:
        setattr(m.sampling, name, getattr(s, name))
    for name in _MAYBE:
        if getattr(s, name) is not None:
            setattr(m.sampling, name, getattr(s, name))
    if s.max_tokens is not None:
        m.max_tokens = s.max_tokens
    stop = [s.stop] if isinstance(s.stop, str) else s.stop  # a text is a sequence of texts, too
    m.stop.extend(text.encode() for text in stop)
    m.stop_token_ids.extend(s.stop_token_ids)
    return m


def generate_request(prompt: Prompt, sampling: Optional[Sampling], model: str,
                     request_id: str) -> pb.GenerateRequest:
    """A prompt that is to be continued."""
    m = _settings(sampling, model, request_id)
    if isinstance(prompt, str):
        m.text = prompt.encode()
    elif isinstance(prompt, (bytes, bytearray)):
        raise TypeError("a prompt is a str or a sequence of token ids, not bytes")
    else:
        m.tokens.ids.extend(prompt)
        m.tokens.SetInParent()
    return m


def chat_request(messages: Messages, sampling: Optional[Sampling], model: str,
                 request_id: str) -> pb.ChatRequest:
    """A conversation that is to be answered."""
    m = pb.ChatRequest(generate=_settings(sampling, model, request_id))
    for said in messages:
        if not isinstance(said, Message):
            said = Message(**said)
        m.messages.add(role=said.role, content=said.content.encode())
    return m


def tokenize_request(text: str, add_special: bool) -> pb.TokenizeRequest:
    """A text whose tokens are wanted."""
    return pb.TokenizeRequest(text=text.encode(), add_special=add_special)


def detokenize_request(tokens: Sequence[int], keep_special: bool) -> pb.DetokenizeRequest:
    """Tokens whose text is wanted."""
    return pb.DetokenizeRequest(tokens=tokens, keep_special=keep_special)


def model_request() -> pb.GetModelRequest:
    """What is served?"""
    return pb.GetModelRequest()


def stats_request() -> pb.GetStatsRequest:
    """What has been done?"""
    return pb.GetStatsRequest()


def budget_request(device_experts: Optional[str], host_experts: Optional[str],
                   kv_cache_bytes: Optional[str]) -> pb.SetBudgetRequest:
    """Sizes; those that are None stay."""
    m = pb.SetBudgetRequest()
    if device_experts is not None:
        m.device_experts = device_experts
    if host_experts is not None:
        m.host_experts = host_experts
    if kv_cache_bytes is not None:
        m.kv_cache_bytes = kv_cache_bytes
    return m


# ---- answers ----

def _fill(kind: Type[T], message: Any, **more: Any) -> T:
    """A dataclass from the fields of the same names, but for those given."""
    names = [f.name for f in dataclasses.fields(kind)  # type: ignore[arg-type]
             if f.name not in more]
    return kind(**{name: getattr(message, name) for name in names}, **more)


def chunk_of(message: pb.GenerateChunk) -> Chunk:
    """A part of an answer."""
    usage = None
    if message.HasField("usage"):
        usage = _fill(Usage, message.usage, experts=_fill(ExpertUsage, message.usage.experts))
    return Chunk(message.text.decode(), list(message.tokens), _REASONS.get(message.finish_reason),
                 usage)


def completion_of(chunks: Iterable[Chunk]) -> Completion:
    """A whole answer."""
    text: List[str] = []
    tokens: List[int] = []
    last = None
    for last in chunks:
        text.append(last.text)
        tokens += last.tokens
    if last is None or last.finish_reason is None or last.usage is None:
        raise Internal.of("the stream ended without a last chunk")
    return Completion("".join(text), tokens, last.finish_reason, last.usage)


def tokens_of(message: pb.TokenizeResponse) -> List[int]:
    """The ids of a text."""
    return list(message.tokens)


def text_of(message: pb.DetokenizeResponse) -> str:
    """The text of tokens, which may begin or end within a character."""
    return message.text.decode(errors="replace")


def model_of(message: pb.GetModelResponse) -> Model:
    """What is served."""
    return _fill(Model, message, raw=message)


def stats_of(message: pb.GetStatsResponse) -> Stats:
    """What the server has done."""
    return _fill(Stats, message, experts=_fill(ExpertUsage, message.experts), raw=message)


def change_of(message: pb.SetBudgetResponse) -> BudgetChange:
    """What a change of the budget has done."""
    return _fill(BudgetChange, message, before=_fill(Budget, message.before),
                 after=_fill(Budget, message.after))
