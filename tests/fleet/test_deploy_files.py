"""What ships in deploy/ against what it speaks of: settings, metrics, tables, installed tools."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from quanta_pipelines.api.monitoring import Monitoring
from quanta_pipelines.instance import (
    DEFAULT_QUEUE,
    IN_ORDER,
    PINNED_QUEUE,
    IncompleteFleet,
    instance_config,
    write_instance,
)
from quanta_pipelines.settings import PROJECT, Settings
from tests.api.test_platform_figures import FIGURES

DEPLOY = PROJECT / "deploy"
SECRET = "hunter2-of-the-tests"
SETTING = re.compile(r"\b(QUANTA_[A-Z0-9_]+)\b")
NOT_OF_THE_SETTINGS = {  # of the compose file, the units and the scripts themselves
    "QUANTA_IMAGE",
    "QUANTA_TLS",
    "QUANTA_PASSWORDS",
    "QUANTA_QUEUES",
    "QUANTA_PYTHON",
    "QUANTA_WORKER_NAME",
    "QUANTA_GRAFANA_POSTGRES_PASSWORD",
}


def deploy_files() -> list[Path]:
    return [path for path in sorted(DEPLOY.rglob("*")) if path.is_file() and path.suffix != ".pyc"]


def test_every_setting_that_is_named_exists() -> None:
    known = {f"QUANTA_{name.upper()}" for name in Settings.model_fields}
    for path in [*deploy_files(), PROJECT / "docs/deploy.md"]:
        named = set(SETTING.findall(path.read_text())) - NOT_OF_THE_SETTINGS
        assert named <= known, f"{path}: {sorted(named - known)}"


def test_every_new_setting_is_in_the_example() -> None:
    example = (PROJECT / ".env.example").read_text()
    for name in ("run_launcher", "broker_url", "fleet_runs", "fleet_poll_seconds", "webserver_url"):
        assert f"#QUANTA_{name.upper()}=" in example


def test_no_secret_has_a_value() -> None:
    for line in (DEPLOY / "env.example").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            assert not value or name == "COMPOSE_PROJECT_NAME", line
    text = (DEPLOY / "compose.yaml").read_text()
    secret = re.compile(
        r"\$\{([A-Z_]*(?:PASSWORD|TOKEN|SECRET|ACCESS_KEY_ID)[A-Z_]*)(:?[-?][^}]*)?\}"
    )
    for name in {found[0] for found in secret.findall(text)}:
        assert f"${{{name}:?" in text, f"{name} is not required"
        assert f"${{{name}:-" not in text


def test_the_board_and_the_alerts_ask_for_metrics_that_exist() -> None:
    monitoring = Monitoring()
    monitoring.count("/v1/x", "GET", 200, 0.1)
    exposed = set(re.findall(r"^(quanta_[a-z_]+)", monitoring.text().decode(), re.MULTILINE))
    exposed |= FIGURES  # test_platform_figures finds each of them in a real Prometheus
    exposed |= {"quanta_reveals_total"}  # has no sample before its first verdict
    texts = [target["expr"] for target in targets("prometheus")]
    rules = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())
    texts += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    asked = {name for text in texts for name in re.findall(r"quanta_[a-z_]+", text)}
    assert asked >= FIGURES
    assert asked <= exposed


def targets(kind: str) -> list[dict[str, Any]]:
    board = json.loads((DEPLOY / "grafana/dashboards/quanta.json").read_text())
    return [t for p in board["panels"] for t in p["targets"] if t["datasource"]["type"] == kind]


@pytest.mark.slow
def test_the_boards_queries_run_on_dagsters_records(postgres: Any, tmp_path: Path) -> None:
    import dagster as dg
    import psycopg2

    url = postgres.create("board")
    config = {"storage": {"postgres": {"postgres_url": url}}}
    (tmp_path / "dagster.yaml").write_text(json.dumps(config))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.create_run_for_job(_nothing)
    queries = [target["rawSql"] for target in targets("postgres")]
    assert len(queries) == 4
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        for query in queries:
            plain = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 > now() - interval '1 day'", query)
            plain = re.sub(r"\$__timeGroup\((\w+), '1d'\)", r"date_trunc('day', \1)", plain)
            assert "$__" not in plain
            cursor.execute(plain)
        cursor.execute("select count(*) from runs")
        assert cursor.fetchone() == (1,)
    connection.close()


def _nothing_job() -> Any:
    import dagster as dg

    @dg.op
    def nothing() -> None:
        """Does nothing."""

    @dg.job
    def nothing_job() -> None:
        nothing()

    return nothing_job


_nothing = _nothing_job()


def fleet_settings(tmp_path: Path, **changed: Any) -> Settings:
    given = {
        "home": tmp_path,
        "run_launcher": "celery",
        "broker_url": f"redis://:{SECRET}@broker/0",
        "dagster_postgres_url": f"postgresql://quanta:{SECRET}@db/dagster",
        "database_url": f"postgresql://quanta:{SECRET}@db/quanta",
        "lake": "s3://bucket/lake",
    }
    return Settings(_env_file=None, **(given | changed))  # type: ignore[call-arg]


def test_one_machines_instance_is_the_projects_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "elsewhere")
    home = write_instance(Settings(_env_file=None, home=tmp_path))  # type: ignore[call-arg]
    assert (home / "dagster.yaml").read_bytes() == (PROJECT / "dagster.yaml").read_bytes()


def test_a_fleets_instance_names_variables_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DAGSTER_HOME", "QUANTA_BROKER_URL", "QUANTA_DAGSTER_POSTGRES_URL"):
        monkeypatch.setenv(name, "before")
    home = write_instance(fleet_settings(tmp_path))
    text = (home / "dagster.yaml").read_text()
    assert SECRET not in text
    config = yaml.safe_load(text)
    assert config["storage"]["postgres"]["postgres_url"] == {"env": "QUANTA_DAGSTER_POSTGRES_URL"}
    assert config["run_launcher"]["config"]["default_queue"] == DEFAULT_QUEUE
    assert {"key": IN_ORDER, "limit": 1} in config["concurrency"]["runs"]["tag_concurrency_limits"]
    assert config["run_retries"]["enabled"]


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ({"broker_url": ""}, "QUANTA_BROKER_URL"),
        ({"dagster_postgres_url": ""}, "QUANTA_DAGSTER_POSTGRES_URL"),
        ({"database_url": ""}, "QUANTA_DATABASE_URL"),
        ({"lake": "/var/lake"}, "QUANTA_LAKE"),
    ],
)
def test_a_fleet_without_what_it_shares_is_refused(
    tmp_path: Path, missing: dict[str, str], named: str
) -> None:
    with pytest.raises(IncompleteFleet, match=named) as refused:
        instance_config(fleet_settings(tmp_path, **missing))
    assert SECRET not in str(refused.value)


def test_units_and_containers_serve_the_queues_that_runs_are_sent_to() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    commands = {
        name: service["command"]
        for name, service in compose["services"].items()
        if "worker" in name
    }
    assert [commands[name][-3] for name in ("worker", "warehouse-worker")] == [
        DEFAULT_QUEUE,
        f"{DEFAULT_QUEUE},{PINNED_QUEUE}",
    ]
    unit = (DEPLOY / "systemd/quanta-worker.service").read_text()
    assert f"QUANTA_QUEUES={DEFAULT_QUEUE}\n" in unit


def test_yaml_files_are_yaml() -> None:
    found = [path for path in deploy_files() if path.suffix in {".yaml", ".yml"}]
    assert len(found) == 8
    for path in found:
        assert yaml.safe_load(path.read_text())


def test_alerts_fire_when_they_should() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    for command in (
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "rules_test.yml", "rules_weeks_test.yml"],
    ):
        done = subprocess.run(
            [promtool, *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_units_are_what_systemd_takes() -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    units = sorted(str(path) for path in (DEPLOY / "systemd").glob("*.service"))
    done = subprocess.run([verify, "verify", *units], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    assert len(units) == 5
    assert not said, "\n".join(said)
