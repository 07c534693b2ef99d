"""The asyncio client: `client.py` with `await`."""
import asyncio
from typing import Any, List, Optional, Sequence

import grpc
import grpc.aio

from . import _wire
from ._connection import Connection
from .errors import Cancelled, error_of
from .types import BudgetChange, Chunk, Completion, Messages, Model, Prompt, Sampling, Stats


class AsyncStream:
    """An answer under way: `async for` over it, and cancel it when enough has come.

    Leaving its `async with` block early cancels, too, and so does cancelling the task that
    iterates; the server stops within a step. Another task may cancel it; whoever iterates gets
    `Cancelled`."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._cancelled = False

    def __aiter__(self) -> "AsyncStream":
        return self

    async def __anext__(self) -> Chunk:
        try:
            message = await self._call.read()
        except grpc.RpcError as e:
            raise error_of(e) from None
        except asyncio.CancelledError:
            if self._cancelled:  # the answer, not the task
                raise Cancelled.of("the answer was cancelled") from None
            raise
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return _wire.chunk_of(message)

    def cancel(self) -> None:
        """Ends the answer, on the server too. Nothing happens if it is over."""
        self._cancelled = self._call.cancel() or self._cancelled

    async def __aenter__(self) -> "AsyncStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()


class AsyncClient:
    """One connection to a server; tasks of one event loop may share it.

    Its arguments and methods are those of `Client`."""

    def __init__(self, address: str = "127.0.0.1:8001", *, api_key: Optional[str] = None,
                 tls: bool = False, ca_file: Optional[str] = None,
                 timeout: Optional[float] = None) -> None:
        self._connection = Connection(grpc.aio, address, api_key, tls, ca_file, timeout)

    async def close(self) -> None:
        """Ends the connection, and with it all calls under way."""
        await self._connection.channel.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, name: str, request: Any, timeout: Optional[float]) -> Any:
        try:
            return await self._connection.start(name, request, timeout)
        except grpc.RpcError as e:
            raise error_of(e) from None

    # ---- text ----

    def stream(self, prompt: Prompt, sampling: Optional[Sampling] = None, *, model: str = "",
               request_id: str = "", timeout: Optional[float] = None) -> AsyncStream:
        """Continues a text, or a list of token ids, chunk by chunk. Not to be awaited."""
        request = _wire.generate_request(prompt, sampling, model, request_id)
        return AsyncStream(self._connection.start("Generate", request, timeout))

    def stream_chat(self, messages: Messages, sampling: Optional[Sampling] = None, *,
                    model: str = "", request_id: str = "",
                    timeout: Optional[float] = None) -> AsyncStream:
        """Answers a conversation, chunk by chunk. Not to be awaited."""
        request = _wire.chat_request(messages, sampling, model, request_id)
        return AsyncStream(self._connection.start("Chat", request, timeout))

    async def generate(self, prompt: Prompt, sampling: Optional[Sampling] = None, *,
                       model: str = "", request_id: str = "",
                       timeout: Optional[float] = None) -> Completion:
        """Continues a text, or a list of token ids; returns when all of it has come."""
        async with self.stream(prompt, sampling, model=model, request_id=request_id,
                               timeout=timeout) as answer:
            return _wire.completion_of([chunk async for chunk in answer])

    async def chat(self, messages: Messages, sampling: Optional[Sampling] = None, *,
                   model: str = "", request_id: str = "",
                   timeout: Optional[float] = None) -> Completion:
        """Answers a conversation; returns when all of it has come."""
        async with self.stream_chat(messages, sampling, model=model, request_id=request_id,
                                    timeout=timeout) as answer:
            return _wire.completion_of([chunk async for chunk in answer])

    async def tokenize(self, text: str, *, add_special: bool = True,
                       timeout: Optional[float] = None) -> List[int]:
        """The token ids of a text, with the model's leading ones unless told otherwise."""
        request = _wire.tokenize_request(text, add_special)
        return _wire.tokens_of(await self._ask("Tokenize", request, timeout))

    async def detokenize(self, tokens: Sequence[int], *, keep_special: bool = False,
                         timeout: Optional[float] = None) -> str:
        """The text of token ids; parts of characters at its ends become U+FFFD."""
        request = _wire.detokenize_request(tokens, keep_special)
        return _wire.text_of(await self._ask("Detokenize", request, timeout))

    # ---- the server ----

    async def model(self, *, timeout: Optional[float] = None) -> Model:
        """What is being served."""
        return _wire.model_of(await self._ask("GetModel", _wire.model_request(), timeout))

    async def stats(self, *, timeout: Optional[float] = None) -> Stats:
        """What the server has done since it started."""
        return _wire.stats_of(await self._ask("GetStats", _wire.stats_request(), timeout))

    async def set_budget(self, *, device_experts: Optional[str] = None,
                         host_experts: Optional[str] = None, kv_cache_bytes: Optional[str] = None,
                         timeout: Optional[float] = None) -> BudgetChange:
        """Gives experts and KV cache other amounts of memory while requests run.

        Sizes are as the server's flags take them: "25%", "4GiB", "auto"; None: unchanged."""
        request = _wire.budget_request(device_experts, host_experts, kv_cache_bytes)
        return _wire.change_of(await self._ask("SetBudget", request, timeout))
