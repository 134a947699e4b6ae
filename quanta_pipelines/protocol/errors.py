"""What the rules refuse, by name. Every message carries the value, the limit and the place."""


class ProtocolError(ValueError):
    """An input that the rules refuse."""


class ParameterOutOfRange(ProtocolError):
    """A parameter outside the range that its line in ``params`` states."""


class InvalidEpoch(ProtocolError):
    """Text that is not the id of an ISO week between 2000 and 2099."""


class UnknownSessions(ProtocolError):
    """An epoch outside the vendored table of sessions, or a week without a session."""


class InvalidPortfolio(ProtocolError):
    """A portfolio outside the limits on tickers, weights or their sum."""


class InvalidCommitment(ProtocolError):
    """A secret, hotkey or hash that cannot belong to a commitment."""


class InvalidPrices(ProtocolError):
    """Observed prices that cannot be settled: keys, signs, units."""


class InvalidCorrection(ProtocolError):
    """A correction of a price without author, reason or evidence, or of what is not there."""


class InvalidQuotes(ProtocolError):
    """A table that holds no quotes: columns, keys, types."""


class InvalidReturns(ProtocolError):
    """Returns with NaN or infinity where a number must stand."""


class NotEnoughHistory(ProtocolError):
    """Fewer sessions than a measure needs."""


class InvalidWeights(ProtocolError):
    """Validators' weights or stakes that are no weights or stakes."""


class InvalidEntries(ProtocolError):
    """Reward entries that cannot be settled: duplicates, negative money, unknown standing."""


class InvalidIntegrityInput(ProtocolError):
    """What integrity compares has the wrong shape, order, sign or time."""
