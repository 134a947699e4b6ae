"""Dagster's instance as the settings say: the project's ``dagster.yaml`` and what they add.

On one machine the file is copied as it is, and SQLite keeps the records. PostgreSQL and a fleet of
workers are settings alone; the file that is written names environment variables, never a secret.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from quanta_pipelines.settings import PROJECT, Settings

HEADER = "# Written from dagster.yaml and the settings; the next start writes it again.\n"
IN_ORDER = "quanta/in_order"  # tag of runs that read the epoch before
PINNED_QUEUE = "marts"  # the machine with the warehouse
DEFAULT_QUEUE = "quanta"


class IncompleteFleet(ValueError):
    """Settings of a fleet that lack what its machines share."""


def instance_config(settings: Settings) -> dict[str, Any]:
    """The instance's configuration; raises ``IncompleteFleet``."""
    config: dict[str, Any] = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    if settings.dagster_postgres_url.get_secret_value():
        url = {"env": "QUANTA_DAGSTER_POSTGRES_URL"}
        config["storage"] = {"postgres": {"postgres_url": url}}
    if settings.run_launcher == "celery":
        _require_shared(settings)
        config["run_launcher"] = {
            "module": "quanta_pipelines.run_launcher",
            "class": "FleetRunLauncher",
            "config": {
                "broker": {"env": "QUANTA_BROKER_URL"},
                "backend": {"env": "QUANTA_BROKER_URL"},
                "default_queue": DEFAULT_QUEUE,
                "config_source": CELERY,
            },
        }
        runs = config["concurrency"]["runs"]
        runs["max_concurrent_runs"] = settings.fleet_runs
        runs["tag_concurrency_limits"] = [
            *runs.get("tag_concurrency_limits", []),
            {"key": IN_ORDER, "limit": 1},
        ]
        config["run_monitoring"]["poll_interval_seconds"] = settings.fleet_poll_seconds
    return config


CELERY: Mapping[str, Any] = {
    "accept_content": ["json"],
    "broker_connection_retry_on_startup": True,
    "broker_transport_options": {"visibility_timeout": 43_200},
    "task_acks_late": False,  # a lost run is started anew by Dagster, never twice by the broker
    "worker_disable_prefetch": True,  # a run that a lost worker had only reserved would wait
    "worker_prefetch_multiplier": 1,
}


def write_instance(settings: Settings) -> Path:
    """Write the instance's file, put what it names into the environment, return ``DAGSTER_HOME``.

    Written beside its place and renamed: a daemon may be reading it.
    """
    home = settings.dagster_home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    config = instance_config(settings)
    plain = (PROJECT / "dagster.yaml").read_text()
    changed = config != yaml.safe_load(plain)
    text = HEADER + yaml.safe_dump(config, sort_keys=False) if changed else plain
    temporary = home / f".dagster.yaml.{os.getpid()}"
    temporary.write_text(text)
    temporary.replace(home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    for name, secret in (
        ("QUANTA_DAGSTER_POSTGRES_URL", settings.dagster_postgres_url),
        ("QUANTA_BROKER_URL", settings.broker_url),
    ):
        if secret.get_secret_value():
            os.environ[name] = secret.get_secret_value()
    return home


def _require_shared(settings: Settings) -> None:
    """Workers on other machines see neither this one's folders nor its SQLite files."""
    missing = [
        name
        for name, there in (
            ("QUANTA_BROKER_URL", settings.broker_url.get_secret_value()),
            ("QUANTA_DAGSTER_POSTGRES_URL", settings.dagster_postgres_url.get_secret_value()),
            ("QUANTA_DATABASE_URL", settings.database_url),
            ("QUANTA_LAKE", "://" in settings.lake_root),
        )
        if not there
    ]
    if missing:
        raise IncompleteFleet(
            "QUANTA_RUN_LAUNCHER=celery needs what all machines share: "
            f"{', '.join(missing)} not set (QUANTA_LAKE to an address s3://…)"
        )
