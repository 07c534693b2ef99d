"""What can go wrong with a call: one class for each status a server uses."""
from typing import Any, Dict, Type

import grpc


class MoeringError(Exception):
    """A call failed: `code` is gRPC's status, `details` a sentence, mostly the server's."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__("%s: %s" % (code.name, details))
        self.code = code
        self.details = details


class InvalidArgument(MoeringError):
    """A field is wrong or a prompt too long; the sentence names it."""


class NotFound(MoeringError):
    """Another model is served."""


class Unauthenticated(MoeringError):
    """The key is missing or wrong."""


class ResourceExhausted(MoeringError):
    """The queue or some memory is full: try again later."""


class FailedPrecondition(MoeringError):
    """The model cannot do this: it has no tokenizer."""


class DeadlineExceeded(MoeringError):
    """The timeout of the call has passed."""


class Cancelled(MoeringError):
    """The call was cancelled."""

    @classmethod
    def of(cls, details: str) -> "Cancelled":
        """One that this side found out by itself."""
        return cls(grpc.StatusCode.CANCELLED, details)


class Aborted(MoeringError):
    """The client did not read for too long."""


class Unimplemented(MoeringError):
    """The server does not know this call."""


class Unavailable(MoeringError):
    """No server there, or it loads or shuts down: try again later."""


class Internal(MoeringError):
    """The server failed, or broke off."""

    @classmethod
    def of(cls, details: str) -> "Internal":
        """One that this side found out by itself."""
        return cls(grpc.StatusCode.INTERNAL, details)


_CLASSES: Dict[grpc.StatusCode, Type[MoeringError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.INTERNAL: Internal,
}


def error_of(error: Any) -> MoeringError:
    """Ours for a grpc.RpcError of a call, which has a code and details beside the base class."""
    code = error.code()
    return _CLASSES.get(code, MoeringError)(code, error.details() or "")
