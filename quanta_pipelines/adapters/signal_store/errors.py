"""What the intake refuses, by name, beside the errors of the rules themselves."""

from quanta_pipelines.protocol.errors import ProtocolError


class OutsideWindow(ProtocolError):
    """A commitment or a vote outside the span of time in which it is taken."""


class NotRecorded(ProtocolError):
    """An epoch whose universe or snapshot has not been recorded yet."""


class ContradictsRecord(ProtocolError):
    """Something other than what is already recorded, where only one can stand."""


class NotPermitted(ProtocolError):
    """A vote of someone who is no validator of the epoch's snapshot."""
