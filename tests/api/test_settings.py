"""Names in the environment that the service reads, the older ones included."""

import pytest

from quanta_pipelines.api import RefusedSettings, create_app
from quanta_pipelines.settings import Settings, current_settings
from tests.api.conftest import ADMIN_TOKEN


def test_older_names_still_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("REDIS_URL", "redis://:hidden@127.0.0.1")
    chosen = Settings(_env_file=None)
    assert chosen.production
    assert chosen.redis_url.get_secret_value() == "redis://:hidden@127.0.0.1"
    assert "hidden" not in repr(chosen)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTA_ADMIN_TOKEN", ADMIN_TOKEN)
    assert ADMIN_TOKEN not in repr(Settings(_env_file=None))


def test_origins_are_separated_by_commas() -> None:
    chosen = Settings(_env_file=None, cors_origins=" https://a.example,https://b.example, ")
    assert chosen.origins == ("https://a.example", "https://b.example")


def test_the_factory_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("QUANTA_ALLOW_UNSIGNED", "1")
    current_settings.cache_clear()
    try:
        with pytest.raises(RefusedSettings, match="QUANTA_ALLOW_UNSIGNED"):
            create_app()
    finally:
        current_settings.cache_clear()
