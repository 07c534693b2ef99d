"""The asyncio client."""
from typing import Any, List, Optional, Sequence

import grpc
import grpc.aio

from . import _wire
from .errors import error_of
from .types import BudgetChange, Chunk, Completion, Model, Sampling, Stats


class AsyncStream:
    """An answer under way: `async for` over it, and cancel it when enough has come.

    Leaving its `async with` block early cancels, too; the server stops within a step."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __aiter__(self) -> "AsyncStream":
        return self

    async def __anext__(self) -> Chunk:
        try:
            message = await self._call.read()
        except grpc.RpcError as e:
            raise error_of(e) from None
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return _wire.chunk_of(message)

    def cancel(self) -> None:
        self._call.cancel()

    async def __aenter__(self) -> "AsyncStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()


class AsyncClient:
    """One connection to a server; tasks of one event loop may share it. Timeouts are in seconds, None: none.

    `tls` checks the server's certificate against `ca_file` (PEM), or else against the system's."""

    def __init__(self, address: str = "127.0.0.1:8001", *, api_key: Optional[str] = None, tls: bool = False,
                 ca_file: Optional[str] = None, timeout: Optional[float] = None) -> None:
        secure = _wire.credentials(tls, ca_file)
        self._channel = (grpc.aio.secure_channel(address, secure, options=_wire.OPTIONS) if secure else
                         grpc.aio.insecure_channel(address, options=_wire.OPTIONS))
        self._calls = _wire.stubs(self._channel)
        self._metadata = _wire.metadata(api_key)
        self._timeout = timeout

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _open(self, name: str, request: Any, timeout: Optional[float]) -> AsyncStream:
        return AsyncStream(self._calls[name](request, timeout=self._timeout if timeout is None else timeout,
                                        metadata=self._metadata))

    async def _ask(self, name: str, request: Any, timeout: Optional[float]) -> Any:
        try:
            return await self._calls[name](request, timeout=self._timeout if timeout is None else timeout,
                                         metadata=self._metadata)
        except grpc.RpcError as e:
            raise error_of(e) from None

    # ---- text ----

    def stream(self, prompt: _wire.Prompt, sampling: Optional[Sampling] = None, *, model: str = "",
               request_id: str = "", timeout: Optional[float] = None) -> AsyncStream:
        """Continues a text, or a list of token ids, chunk by chunk."""
        return self._open("Generate", _wire.generate_request(prompt, sampling, model, request_id), timeout)

    def stream_chat(self, messages: _wire.Messages, sampling: Optional[Sampling] = None, *, model: str = "",
                    request_id: str = "", timeout: Optional[float] = None) -> AsyncStream:
        """Answers a conversation, chunk by chunk."""
        return self._open("Chat", _wire.chat_request(messages, sampling, model, request_id), timeout)

    async def generate(self, prompt: _wire.Prompt, sampling: Optional[Sampling] = None, *, model: str = "",
                 request_id: str = "", timeout: Optional[float] = None) -> Completion:
        """The same as a whole."""
        return _wire.completion_of([chunk async for chunk in self.stream(prompt, sampling, model=model, request_id=request_id, timeout=timeout)])

    async def chat(self, messages: _wire.Messages, sampling: Optional[Sampling] = None, *, model: str = "",
             request_id: str = "", timeout: Optional[float] = None) -> Completion:
        return _wire.completion_of([chunk async for chunk in self.stream_chat(messages, sampling, model=model, request_id=request_id,
                                                    timeout=timeout)])

    async def tokenize(self, text: str, *, add_special: bool = True, timeout: Optional[float] = None) -> List[int]:
        return list((await self._ask("Tokenize", _wire.tokenize_request(text, add_special), timeout)).tokens)

    async def detokenize(self, tokens: Sequence[int], *, keep_special: bool = False,
                   timeout: Optional[float] = None) -> str:
        request = _wire.pb.DetokenizeRequest(tokens=tokens, keep_special=keep_special)
        text: bytes = (await self._ask("Detokenize", request, timeout)).text
        return text.decode(errors="replace")

    # ---- the server ----

    async def model(self, *, timeout: Optional[float] = None) -> Model:
        return _wire.model_of(await self._ask("GetModel", _wire.pb.GetModelRequest(), timeout))

    async def stats(self, *, timeout: Optional[float] = None) -> Stats:
        return _wire.stats_of(await self._ask("GetStats", _wire.pb.GetStatsRequest(), timeout))

    async def set_budget(self, *, device_experts: Optional[str] = None, host_experts: Optional[str] = None,
                   kv_cache_bytes: Optional[str] = None, timeout: Optional[float] = None) -> BudgetChange:
        """Sizes as the server's flags take them: "25%", "4GiB", "auto"; None: unchanged."""
        request = _wire.budget_request(device_experts, host_experts, kv_cache_bytes)
        return _wire.change_of(await self._ask("SetBudget", request, timeout))
