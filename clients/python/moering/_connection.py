"""A gRPC channel of either kind, blocking or asyncio, and what every call on it carries."""
from typing import Any, Optional, Tuple

import grpc

from ._wire import CALLS

SERVICE = "/moering.v1.Moering/"

_OPTIONS = [
    # Prompts of a whole context and answers with all figures are larger than gRPC's 4 MiB.
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    # An answer may wait long for its turn. Asking whether the server is still there finds one that
    # vanished without a word, which without a timeout would never be noticed.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A server that was started anew is found within seconds, not within gRPC's two minutes.
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


def _credentials(ca_file: Optional[str]) -> Any:
    if ca_file is None:
        return grpc.ssl_channel_credentials()
    with open(ca_file, "rb") as f:
        return grpc.ssl_channel_credentials(root_certificates=f.read())


class Connection:
    """`kind` is the module grpc or grpc.aio. Connecting itself waits for the first call."""

    def __init__(self, kind: Any, address: str, api_key: Optional[str], tls: bool,
                 ca_file: Optional[str], timeout: Optional[float]) -> None:
        if tls or ca_file is not None:
            self.channel = kind.secure_channel(address, _credentials(ca_file), options=_OPTIONS)
        else:
            self.channel = kind.insecure_channel(address, options=_OPTIONS)
        self._metadata: Tuple[Tuple[str, str], ...] = ()
        if api_key:
            self._metadata = (("authorization", "Bearer " + api_key),)
        self._timeout = timeout
        self._calls = {}
        for name, (streams, request, answer) in CALLS.items():
            make = self.channel.unary_stream if streams else self.channel.unary_unary
            self._calls[name] = make(SERVICE + name, request_serializer=request.SerializeToString,
                                     response_deserializer=answer.FromString)

    def start(self, name: str, request: Any, timeout: Optional[float]) -> Any:
        """What grpc gives for a call: an iterator over a stream; an answer, or with asyncio a call
        to be awaited."""
        return self._calls[name](request, timeout=self._timeout if timeout is None else timeout,
                                 metadata=self._metadata)
