"""Numbers of the network and of single epochs."""

from fastapi import APIRouter

from quanta_pipelines.api.boards import epoch_economy, network
from quanta_pipelines.api.documents import refused
from quanta_pipelines.api.fields import EpochId
from quanta_pipelines.api.responses import EpochResponse, NetworkResponse
from quanta_pipelines.api.services import Using

router = APIRouter(prefix="/v1/metrics", tags=["Metrics"])


@router.get(
    "/network",
    responses=refused(
        "nothing_published", "tables_unavailable", "not_recorded", "store_unavailable"
    ),
)
def network_totals(services: Using) -> NetworkResponse:
    """Totals over all settled epochs, and who takes part now."""
    return network(services, services.publication())


@router.get(
    "/epoch/{epoch_id}",
    responses=refused(
        "unknown_epoch",
        "epoch_not_settled",
        "nothing_published",
        "tables_unavailable",
        "invalid_epoch",
    ),
)
def epoch_totals(epoch_id: EpochId, services: Using) -> EpochResponse:
    """A settled epoch: who took part, and where every token came from and went."""
    return epoch_economy(services, services.publication(), epoch_id)
