"""What can go wrong between the platform and a chain."""


class ChainRefused(RuntimeError):
    """A row that the chain does not take."""


class ChainAbsent(RuntimeError):
    """The package that talks to the configured chain is not installed."""
