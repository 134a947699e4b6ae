"""A portfolio committed and revealed in one step: for development, where nothing is to be hidden.

The commitment is dated to the start of its window and the reveal to the first moment at which it
may be opened, whatever the time is. The service refuses it in production.
"""

import secrets

from quanta_pipelines.api.problems import VERDICT_CODES, Problem
from quanta_pipelines.api.requests import SubmitRequest
from quanta_pipelines.api.services import Services
from quanta_pipelines.protocol.commit_reveal import Reveal, commitment
from quanta_pipelines.protocol.epoch import Epoch, commit_window
from quanta_pipelines.protocol.portfolio import parse_portfolio


def submit_directly(services: Services, epoch: Epoch, body: SubmitRequest) -> None:
    """Records both; raises ``NotRecorded`` where the epoch has no universe yet."""
    hotkey, store = body.miner_hotkey, services.store
    positions = tuple((held.ticker, held.weight) for held in body.positions)
    universe = store.universe(epoch.id)
    portfolio = parse_portfolio(positions, universe=universe, params=services.params)
    secret = secrets.token_hex(32)
    hidden = commitment(portfolio.hash, secret, hotkey, epoch.id, params=services.params)
    committed = commit_window(epoch, services.params).opens
    receipt = store.commit(hotkey, epoch, hidden, body.ante_amount, received_at=committed)
    claim = Reveal(hotkey, epoch.id, hidden, positions, secret)
    judgement = store.reveal(claim, received_at=receipt.revealable_from)
    if judgement.portfolio is None:
        raise Problem(VERDICT_CODES[judgement.verdict], judgement.reason)
