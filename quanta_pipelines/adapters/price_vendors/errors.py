"""Why a vendor did not answer. None of these leaves a vendor: they become losses with a reason."""


class VendorError(Exception):
    """A question without an answer; the message is the reason, without secrets."""


class ReplyRefused(VendorError):
    """A reply that cannot be trusted, or that says no: its ticker is lost, others may be well."""


class VendorOutage(VendorError):
    """No reply, or a server's error, after every retry: it counts towards giving the vendor up."""


class VendorClosed(VendorError):
    """The vendor will refuse every further question too: a refused key, an allowance used up."""


class UnknownSymbol(VendorError, ValueError):
    """A ticker or a vendor's symbol that has no counterpart."""
