"""Client of the moering inference server, over gRPC.

    from moering import Client, Sampling
    with Client("127.0.0.1:8001") as client:
        for chunk in client.stream("Once upon a time", Sampling(max_tokens=50)):
            print(chunk.text, end="", flush=True)
"""
from .aio import AsyncClient, AsyncStream
from .client import Client, Stream
from .errors import (Aborted, Cancelled, DeadlineExceeded, FailedPrecondition, Internal,
                     InvalidArgument, MoeringError, NotFound, ResourceExhausted, Unauthenticated,
                     Unavailable, Unimplemented)
from .types import (Budget, BudgetChange, Chunk, Completion, ExpertUsage, Message, Messages, Model,
                    Prompt, Sampling, Stats, Usage)
from .version import VERSION as __version__

__all__ = [
    "Aborted", "AsyncClient", "AsyncStream", "Budget", "BudgetChange", "Cancelled", "Chunk",
    "Client", "Completion", "DeadlineExceeded", "ExpertUsage", "FailedPrecondition", "Internal",
    "InvalidArgument", "Message", "Messages", "Model", "MoeringError", "NotFound", "Prompt",
    "ResourceExhausted", "Sampling", "Stats", "Stream", "Unauthenticated", "Unavailable",
    "Unimplemented", "Usage", "__version__"]
