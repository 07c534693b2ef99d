"""The blocking client."""
from typing import Any, List, Optional, Sequence

import grpc

from . import _wire
from ._connection import Connection
from .errors import error_of
from .types import BudgetChange, Chunk, Completion, Messages, Model, Prompt, Sampling, Stats


class Stream:
    """An answer under way: iterate over it, and cancel it when enough has come.

    Leaving its `with` block early cancels, too; the server stops within a step. Another thread may
    cancel it; whoever iterates gets `Cancelled`."""

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
        """Ends the answer, on the server too. Nothing happens if it is over."""
        self._call.cancel()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


class Client:
    """One connection to a server; threads may share it.

    `address` is HOST:PORT of the gRPC port; connecting waits for the first call. `timeout` is in
    seconds, of a whole call, and None for none; that of a call wins over the client's. `api_key` is
    sent with each call. `tls` checks the server's certificate against `ca_file` (PEM), or else
    against the system's; `ca_file` asks for TLS by itself.

    Every failure of a call is a `MoeringError` of the class for its status."""

    def __init__(self, address: str = "127.0.0.1:8001", *, api_key: Optional[str] = None,
                 tls: bool = False, ca_file: Optional[str] = None,
                 timeout: Optional[float] = None) -> None:
        self._connection = Connection(grpc, address, api_key, tls, ca_file, timeout)

    def close(self) -> None:
        """Ends the connection, and with it all calls under way."""
        self._connection.channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, name: str, request: Any, timeout: Optional[float]) -> Any:
        try:
            return self._connection.start(name, request, timeout)
        except grpc.RpcError as e:
            raise error_of(e) from None

    # ---- text ----

    def stream(self, prompt: Prompt, sampling: Optional[Sampling] = None, *, model: str = "",
               request_id: str = "", timeout: Optional[float] = None) -> Stream:
        """Continues a text, or a list of token ids, chunk by chunk.

        `model` is the one that must be served, "" whichever is; `request_id` is for the log."""
        request = _wire.generate_request(prompt, sampling, model, request_id)
        return Stream(self._connection.start("Generate", request, timeout))

    def stream_chat(self, messages: Messages, sampling: Optional[Sampling] = None, *,
                    model: str = "", request_id: str = "",
                    timeout: Optional[float] = None) -> Stream:
        """Answers a conversation, chunk by chunk; messages are `Message`s or dicts of role and
        content."""
        request = _wire.chat_request(messages, sampling, model, request_id)
        return Stream(self._connection.start("Chat", request, timeout))

    def generate(self, prompt: Prompt, sampling: Optional[Sampling] = None, *, model: str = "",
                 request_id: str = "", timeout: Optional[float] = None) -> Completion:
        """Continues a text, or a list of token ids; returns when all of it has come."""
        with self.stream(prompt, sampling, model=model, request_id=request_id,
                         timeout=timeout) as answer:
            return _wire.completion_of(answer)

    def chat(self, messages: Messages, sampling: Optional[Sampling] = None, *, model: str = "",
             request_id: str = "", timeout: Optional[float] = None) -> Completion:
        """Answers a conversation; returns when all of it has come."""
        with self.stream_chat(messages, sampling, model=model, request_id=request_id,
                              timeout=timeout) as answer:
            return _wire.completion_of(answer)

    def tokenize(self, text: str, *, add_special: bool = True,
                 timeout: Optional[float] = None) -> List[int]:
        """The token ids of a text, with the model's leading ones unless told otherwise."""
        request = _wire.tokenize_request(text, add_special)
        return _wire.tokens_of(self._ask("Tokenize", request, timeout))

    def detokenize(self, tokens: Sequence[int], *, keep_special: bool = False,
                   timeout: Optional[float] = None) -> str:
        """The text of token ids; parts of characters at its ends become U+FFFD."""
        request = _wire.detokenize_request(tokens, keep_special)
        return _wire.text_of(self._ask("Detokenize", request, timeout))

    # ---- the server ----

    def model(self, *, timeout: Optional[float] = None) -> Model:
        """What is being served."""
        return _wire.model_of(self._ask("GetModel", _wire.model_request(), timeout))

    def stats(self, *, timeout: Optional[float] = None) -> Stats:
        """What the server has done since it started."""
        return _wire.stats_of(self._ask("GetStats", _wire.stats_request(), timeout))

    def set_budget(self, *, device_experts: Optional[str] = None,
                   host_experts: Optional[str] = None, kv_cache_bytes: Optional[str] = None,
                   timeout: Optional[float] = None) -> BudgetChange:
        """Gives experts and KV cache other amounts of memory while requests run.

        Sizes are as the server's flags take them: "25%", "4GiB", "auto"; None: unchanged."""
        request = _wire.budget_request(device_experts, host_experts, kv_cache_bytes)
        return _wire.change_of(self._ask("SetBudget", request, timeout))
