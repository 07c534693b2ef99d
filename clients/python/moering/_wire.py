"""Plain data to messages and back; what the two clients share. No IO but reading a file of certificates."""
import dataclasses
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple, Type, TypeVar, Union

import grpc

from .types import (Budget, BudgetChange, Chunk, Completion, ExpertUsage, Message, Model, Sampling, Stats, Usage)
from .v1 import moering_pb2 as pb

Prompt = Union[str, Sequence[int]]
Messages = Sequence[Union[Message, Dict[str, str]]]
Metadata = Optional[Tuple[Tuple[str, str], ...]]
T = TypeVar("T")

SERVICE = "/moering.v1.Moering/"
# Prompts of a whole context and answers with all figures are larger than gRPC's 4 MiB.
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]

_ALWAYS = ("top_k", "min_p", "presence_penalty", "frequency_penalty")
_MAYBE = ("temperature", "top_p", "repetition_penalty", "seed")


def metadata(api_key: Optional[str]) -> Metadata:
    return (("authorization", "Bearer " + api_key),) if api_key else None


def credentials(tls: bool, ca_file: Optional[str]) -> Optional[grpc.ChannelCredentials]:
    """None: plaintext."""
    if not tls and not ca_file:
        return None
    roots = None
    if ca_file:
        with open(ca_file, "rb") as f:
            roots = f.read()
    return grpc.ssl_channel_credentials(root_certificates=roots)


def settings(sampling: Optional[Sampling], model: str, request_id: str) -> Any:
    s = sampling or Sampling()
    m = pb.GenerateRequest(model=model, request_id=request_id, min_tokens=s.min_tokens, ignore_eos=s.ignore_eos,
                           priority=s.priority)
    for name in _ALWAYS:
        setattr(m.sampling, name, getattr(s, name))
    for name in _MAYBE:
        if getattr(s, name) is not None:
            setattr(m.sampling, name, getattr(s, name))
    if s.max_tokens is not None:
        m.max_tokens = s.max_tokens
    m.stop.extend(text.encode() for text in s.stop)
    m.stop_token_ids.extend(s.stop_token_ids)
    return m


def generate_request(prompt: Prompt, sampling: Optional[Sampling], model: str, request_id: str) -> Any:
    m = settings(sampling, model, request_id)
    if isinstance(prompt, str):
        m.text = prompt.encode()
    else:
        m.tokens.ids.extend(prompt)
        m.tokens.SetInParent()
    return m


def chat_request(messages: Messages, sampling: Optional[Sampling], model: str, request_id: str) -> Any:
    m = pb.ChatRequest(generate=settings(sampling, model, request_id))
    for said in messages:
        if isinstance(said, Message):
            m.messages.add(role=said.role, content=said.content.encode())
        else:
            m.messages.add(role=said["role"], content=said["content"].encode())
    return m


def tokenize_request(text: str, add_special: bool) -> Any:
    return pb.TokenizeRequest(text=text.encode(), add_special=add_special)


def budget_request(device_experts: Optional[str], host_experts: Optional[str], kv_cache_bytes: Optional[str]) -> Any:
    given = {"device_experts": device_experts, "host_experts": host_experts, "kv_cache_bytes": kv_cache_bytes}
    return pb.SetBudgetRequest(**{name: value for name, value in given.items() if value is not None})


def _fill(kind: Type[T], message: Any, **more: Any) -> T:
    names = [f.name for f in dataclasses.fields(kind) if f.name not in more]  # type: ignore[arg-type]
    return kind(**{name: getattr(message, name) for name in names}, **more)


def chunk_of(message: Any) -> Chunk:
    usage = None
    if message.HasField("usage"):
        usage = _fill(Usage, message.usage, experts=_fill(ExpertUsage, message.usage.experts))
    reason = {pb.FINISH_REASON_STOP: "stop", pb.FINISH_REASON_LENGTH: "length"}.get(message.finish_reason)
    return Chunk(message.text.decode(), list(message.tokens), reason, usage)


def completion_of(chunks: Iterable[Chunk]) -> Completion:
    text: List[str] = []
    tokens: List[int] = []
    last = None
    for last in chunks:
        text.append(last.text)
        tokens += last.tokens
    if last is None or last.finish_reason is None or last.usage is None:
        raise RuntimeError("the stream ended without a last chunk")
    return Completion("".join(text), tokens, last.finish_reason, last.usage)


def model_of(message: Any) -> Model:
    return _fill(Model, message, raw=message)


def stats_of(message: Any) -> Stats:
    return _fill(Stats, message, experts=_fill(ExpertUsage, message.experts), raw=message)


def change_of(message: Any) -> BudgetChange:
    return _fill(BudgetChange, message, before=_fill(Budget, message.before), after=_fill(Budget, message.after))


CALLS = {
    "Generate": (True, pb.GenerateRequest, pb.GenerateChunk),
    "Chat": (True, pb.ChatRequest, pb.GenerateChunk),
    "Tokenize": (False, pb.TokenizeRequest, pb.TokenizeResponse),
    "Detokenize": (False, pb.DetokenizeRequest, pb.DetokenizeResponse),
    "GetModel": (False, pb.GetModelRequest, pb.GetModelResponse),
    "GetStats": (False, pb.GetStatsRequest, pb.GetStatsResponse),
    "SetBudget": (False, pb.SetBudgetRequest, pb.SetBudgetResponse),
}


def stubs(channel: Any) -> Dict[str, Any]:
    """The calls of a channel, sync or async, by their names."""
    made = {}
    for name, (streams, request, response) in CALLS.items():
        kind = channel.unary_stream if streams else channel.unary_unary
        made[name] = kind(SERVICE + name, request_serializer=request.SerializeToString,
                          response_deserializer=response.FromString)
    return made
