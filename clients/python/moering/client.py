"""The blocking client."""
from typing import Any, List, Optional, Sequence

import grpc

from . import _wire
from .errors import error_of
from .types import BudgetChange, Chunk, Completion, Model, Sampling, Stats


class Stream:
    """An answer under way: iterate over it, and cancel it when enough has come.

    Leaving its `with` block early cancels, too; the server stops within a step."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Chunk:
        try:
            return _wire.chunk_of(next(self._call))
        except grpc.RpcError as e:
            raise error_of(e) from None

    def cancel(self) -> None:
        self._call.cancel()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


class Client:
    """One connection to a server; threads may share it. Timeouts are in seconds, None: none.

    `tls` checks the server's certificate against `ca_file` (PEM), or else against the system's."""

    def __init__(self, address: str = "127.0.0.1:8001", *, api_key: Optional[str] = None, tls: bool = False,
                 ca_file: Optional[str] = None, timeout: Optional[float] = None) -> None:
        secure = _wire.credentials(tls, ca_file)
        self._channel = (grpc.secure_channel(address, secure, options=_wire.OPTIONS) if secure else
                         grpc.insecure_channel(address, options=_wire.OPTIONS))
        self._calls = _wire.stubs(self._channel)
        self._metadata = _wire.metadata(api_key)
        self._timeout = timeout

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, name: str, request: Any, timeout: Optional[float]) -> Stream:
        return Stream(self._calls[name](request, timeout=self._timeout if timeout is None else timeout,
                                        metadata=self._metadata))

    def _ask(self, name: str, request: Any, timeout: Optional[float]) -> Any:
        try:
            return self._calls[name](request, timeout=self._timeout if timeout is None else timeout,
                                         metadata=self._metadata)
        except grpc.RpcError as e:
            raise error_of(e) from None

    # ---- text ----

    def stream(self, prompt: _wire.Prompt, sampling: Optional[Sampling] = None, *, model: str = "",
               request_id: str = "", timeout: Optional[float] = None) -> Stream:
        """Continues a text, or a list of token ids, chunk by chunk."""
        return self._open("Generate", _wire.generate_request(prompt, sampling, model, request_id), timeout)

    def stream_chat(self, messages: _wire.Messages, sampling: Optional[Sampling] = None, *, model: str = "",
                    request_id: str = "", timeout: Optional[float] = None) -> Stream:
        """Answers a conversation, chunk by chunk."""
        return self._open("Chat", _wire.chat_request(messages, sampling, model, request_id), timeout)

    def generate(self, prompt: _wire.Prompt, sampling: Optional[Sampling] = None, *, model: str = "",
                 request_id: str = "", timeout: Optional[float] = None) -> Completion:
        """The same as a whole."""
        return _wire.completion_of(self.stream(prompt, sampling, model=model, request_id=request_id, timeout=timeout))

    def chat(self, messages: _wire.Messages, sampling: Optional[Sampling] = None, *, model: str = "",
             request_id: str = "", timeout: Optional[float] = None) -> Completion:
        return _wire.completion_of(self.stream_chat(messages, sampling, model=model, request_id=request_id,
                                                    timeout=timeout))

    def tokenize(self, text: str, *, add_special: bool = True, timeout: Optional[float] = None) -> List[int]:
        return list((self._ask("Tokenize", _wire.tokenize_request(text, add_special), timeout)).tokens)

    def detokenize(self, tokens: Sequence[int], *, keep_special: bool = False,
                   timeout: Optional[float] = None) -> str:
        request = _wire.pb.DetokenizeRequest(tokens=tokens, keep_special=keep_special)
        text: bytes = (self._ask("Detokenize", request, timeout)).text
        return text.decode(errors="replace")

    # ---- the server ----

    def model(self, *, timeout: Optional[float] = None) -> Model:
        return _wire.model_of(self._ask("GetModel", _wire.pb.GetModelRequest(), timeout))

    def stats(self, *, timeout: Optional[float] = None) -> Stats:
        return _wire.stats_of(self._ask("GetStats", _wire.pb.GetStatsRequest(), timeout))

    def set_budget(self, *, device_experts: Optional[str] = None, host_experts: Optional[str] = None,
                   kv_cache_bytes: Optional[str] = None, timeout: Optional[float] = None) -> BudgetChange:
        """Sizes as the server's flags take them: "25%", "4GiB", "auto"; None: unchanged."""
        request = _wire.budget_request(device_experts, host_experts, kv_cache_bytes)
        return _wire.change_of(self._ask("SetBudget", request, timeout))
