"""Runs the service with the settings of the environment: ``python -m quanta_pipelines.api``."""

import uvicorn

from quanta_pipelines.api.head_limit import BoundedHead
from quanta_pipelines.settings import current_settings


def main() -> None:
    """Serve until a signal ends it."""
    settings = current_settings()
    uvicorn.run(
        "quanta_pipelines.api:create_app",
        factory=True,
        host=settings.api_host,
        port=settings.api_port,
        workers=settings.api_workers,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        http=BoundedHead,
    )


if __name__ == "__main__":
    main()
