"""Nonces of signed requests: each is used once by its hotkey, inside a window around the clock."""

import datetime as dt
import re

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from quanta_pipelines.adapters.signal_store.errors import OutsideWindow, ReplayedNonce
from quanta_pipelines.adapters.signal_store.service_tables import NONCES
from quanta_pipelines.protocol.errors import InvalidCommitment

NONCE_WINDOW = dt.timedelta(minutes=5)  # either side of the intake's clock
_NONCE = re.compile("[A-Za-z0-9._-]{8,64}")
_PRUNED_AT_ONCE = 1000  # rows


def check_nonce(nonce: str, timestamp: dt.datetime, now: dt.datetime) -> None:
    """Refuses what is no nonce, and a signed moment that is too far from the clock."""
    if _NONCE.fullmatch(nonce) is None:
        raise InvalidCommitment(f"a nonce is 8 to 64 of A-Z a-z 0-9 . _ -, not {nonce[:80]!r}")
    if abs(now - timestamp) > NONCE_WINDOW:
        raise OutsideWindow(
            f"a request is taken within {NONCE_WINDOW} of the moment that it is signed with, "
            f"{timestamp.isoformat()}; it arrived at {now.isoformat()}"
        )


def use(connection: Connection, hotkey: str, nonce: str, timestamp: dt.datetime) -> None:
    """Records a nonce; the database refuses the second one."""
    row = {"hotkey": hotkey, "nonce": nonce, "expires_at": timestamp + NONCE_WINDOW}
    try:
        connection.execute(insert(NONCES), row)
    except IntegrityError as error:
        raise ReplayedNonce(f"{hotkey} has used the nonce {nonce} before") from error


def prune(connection: Connection, now: dt.datetime) -> None:
    """Deletes nonces whose requests every machine of the intake refuses by their moment.

    One window more is waited for, since the clock of another machine may be behind this one.
    """
    expired = (
        select(NONCES.c.id)
        .where(NONCES.c.expires_at < now - NONCE_WINDOW)
        .order_by(NONCES.c.expires_at)
        .limit(_PRUNED_AT_ONCE)
        .with_for_update(skip_locked=True)  # two that prune at once do not wait for each other
    )
    connection.execute(delete(NONCES).where(NONCES.c.id.in_(expired)))
