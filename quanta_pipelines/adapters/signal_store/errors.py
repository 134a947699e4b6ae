"""What the store refuses, by name, beside the errors of the rules themselves, and how it fails.

A refusal is a ``ProtocolError``: the same call will be refused again. ``StoreUnavailable`` and
``SchemaMismatch`` say nothing about the call.
"""

from quanta_pipelines.protocol.errors import ProtocolError


class OutsideWindow(ProtocolError):
    """A commitment, a vote or a signed request outside the span of time in which it is taken."""


class NotRecorded(ProtocolError):
    """An epoch, snapshot or dispute that has not been recorded yet."""


class ContradictsRecord(ProtocolError):
    """Something other than what is already recorded, where only one can stand."""


class NotPermitted(ProtocolError):
    """A vote of someone who is no validator of the epoch's snapshot."""


class ReplayedNonce(ProtocolError):
    """A nonce that its hotkey has used before."""


class InvalidRecord(ProtocolError):
    """Text or JSON that is empty, too long or not JSON."""


class StoreUnavailable(RuntimeError):
    """The database cannot be reached, is locked for too long, or is full: try again later.

    Whether the call was recorded is unknown when the connection broke during the commit.
    """

    def __init__(self, message: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class SchemaMismatch(RuntimeError):
    """A store whose tables are not those of this code."""


class NewerSchema(SchemaMismatch):
    """A store that a newer version of this code has migrated."""


class OlderSchema(SchemaMismatch):
    """A store that has to be migrated first."""
