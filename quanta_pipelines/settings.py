"""Where this deployment keeps things: addresses and paths from the environment, never a rule.

Variables start with ``QUANTA_``; ``DATABASE_URL``, ``REDIS_URL``, ``ENVIRONMENT`` and the keys of
vendors also go by the names that other tools know.
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from quanta_pipelines.protocol.epoch import Epoch

PROJECT = Path(__file__).resolve().parent.parent
# The public development account //Alice: recognisable as no one's real validator.
DEVELOPMENT_HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


class Settings(BaseSettings):
    """One deployment. Every path has a default under ``home``."""

    model_config = SettingsConfigDict(
        env_prefix="QUANTA_", env_file=".env", extra="ignore", populate_by_name=True
    )

    home: Path = PROJECT / "var"
    lake: str = ""
    database_url: str = Field(
        default="", validation_alias=AliasChoices("QUANTA_DATABASE_URL", "DATABASE_URL")
    )
    first_epoch: str = "2019-Q2-W23"
    validator_hotkey: str = DEVELOPMENT_HOTKEY
    chain_state: Path | None = None  # file of stakes and emission, while no chain is asked
    chain: Literal["simulated", "bittensor"] = "simulated"
    chain_network: str = "finney"
    netuid: int = Field(default=0, ge=0, le=65535)
    data_docs_url: str = ""  # where a web server shows the folder data_docs, if one does

    vendors: Annotated[tuple[str, ...], NoDecode] = ("recorded",)
    watch_list: Path | None = None
    refetch: bool = False  # ask vendors again where their kept replies would do
    tiingo_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("QUANTA_TIINGO_API_KEY", "TIINGO_API_KEY")
    )
    polygon_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "QUANTA_POLYGON_API_KEY", "POLYGON_API_KEY", "MASSIVE_API_KEY"
        ),
    )
    redis_url: SecretStr = Field(
        default=SecretStr(""), validation_alias=AliasChoices("QUANTA_REDIS_URL", "REDIS_URL")
    )
    # Addresses, which tests and proxies change, and what the free plans allow.
    tiingo_url: str = "https://api.tiingo.com"
    tiingo_rate: str = "50 per hour; 1000 per day"
    polygon_url: str = "https://api.massive.com"
    polygon_rate: str = "5 per minute"
    yahoo_url: str = ""  # Yahoo's own hosts
    yahoo_rate: str = "1 per second; 1000 per hour"
    quotes_url: str = ""
    quote_retention_days: int = Field(default=30, ge=14, le=3650)
    poll_quotes: bool = False  # whether the sensor of live quotes runs without being started
    environment: Literal["development", "staging", "production"] = Field(
        default="development", validation_alias=AliasChoices("QUANTA_ENVIRONMENT", "ENVIRONMENT")
    )

    # The service
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=0, le=65535)
    api_workers: int = Field(default=1, ge=1)
    admin_token: SecretStr = SecretStr("")
    allow_unsigned: bool = False
    cors_origins: str = ""
    rate_per_address: str = "600/minute"
    rate_per_hotkey: str = "60/minute"
    max_body_bytes: int = Field(default=262_144, ge=1024)
    dagster_postgres_url: SecretStr = SecretStr("")  # Dagster's records; SQLite without it

    # Many machines
    run_launcher: Literal["local", "celery"] = "local"
    broker_url: SecretStr = SecretStr("")
    fleet_runs: int = Field(default=4, ge=1)  # that the whole fleet works on at once
    fleet_poll_seconds: int = Field(default=15, ge=1)
    webserver_url: str = "http://127.0.0.1:3000"  # where quanta fleet asks for runs

    # Who is told when something needs a person; addresses of webhooks are secrets
    alert_webhook_url: SecretStr = SecretStr("")
    alert_slack_url: SecretStr = SecretStr("")
    alert_email_to: str = ""
    alert_email_from: str = ""
    alert_smtp_host: str = ""
    alert_smtp_port: int = Field(default=587, ge=1, le=65535)
    alert_smtp_user: str = ""
    alert_smtp_password: SecretStr = SecretStr("")
    alert_smtp_starttls: bool = True
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("vendors", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        """``tiingo,yahoo`` as the environment writes a list."""
        if isinstance(value, str):
            return tuple(name.strip().lower() for name in value.split(",") if name.strip())
        return value

    @property
    def production(self) -> bool:
        """Whether conveniences of development are refused."""
        return self.environment == "production"

    @property
    def origins(self) -> tuple[str, ...]:
        """Web origins that browsers may call the service from."""
        return tuple(part.strip() for part in self.cors_origins.split(",") if part.strip())

    @property
    def lake_root(self) -> str:
        """Folder or fsspec address of the lake."""
        return self.lake or str(self.home / "lake")

    @property
    def signal_store_url(self) -> str:
        """SQLAlchemy address of the signal store."""
        return self.database_url or f"sqlite:///{self.home / 'signals.db'}"

    @property
    def quote_store_url(self) -> str:
        """SQLAlchemy address of the live quotes; apart from the signals, which they would crowd."""
        return self.quotes_url or f"sqlite:///{self.home / 'quotes.db'}"

    @property
    def warehouse(self) -> Path:
        """Folder of the published marts."""
        return self.home / "warehouse"

    @property
    def data_docs(self) -> Path:
        """Folder of the pages on data quality."""
        return self.home / "data_docs"

    @property
    def alerts(self) -> Path:
        """Folder of alerts that wait and of those that were told."""
        return self.home / "alerts"

    @property
    def dagster_home(self) -> Path:
        """Folder of Dagster's own records."""
        return self.home / "dagster"

    @property
    def genesis(self) -> Epoch:
        """The first epoch this deployment settles."""
        return Epoch.parse(self.first_epoch)


@lru_cache(maxsize=1)
def current_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
