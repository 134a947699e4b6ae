"""Where this deployment keeps things: addresses and paths from the environment, never a rule.

Variables start with ``QUANTA_``; the older name ``DATABASE_URL`` still works.
"""

from functools import lru_cache
from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from quanta_pipelines.protocol.epoch import Epoch

PROJECT = Path(__file__).resolve().parent.parent
# The public development account //Alice: recognisable as no one's real validator.
DEVELOPMENT_HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


class Settings(BaseSettings):
    """One deployment. Every path has a default under ``home``."""

    model_config = SettingsConfigDict(env_prefix="QUANTA_", env_file=".env", extra="ignore")

    home: Path = PROJECT / "var"
    lake: str = ""
    database_url: str = Field(
        default="", validation_alias=AliasChoices("QUANTA_DATABASE_URL", "DATABASE_URL")
    )
    first_epoch: str = "2019-Q2-W23"
    validator_hotkey: str = DEVELOPMENT_HOTKEY
    data_docs_url: str = ""  # where a web server shows the folder data_docs, if one does

    @property
    def lake_root(self) -> str:
        """Folder or fsspec address of the lake."""
        return self.lake or str(self.home / "lake")

    @property
    def signal_store_url(self) -> str:
        """SQLAlchemy address of the signal store."""
        return self.database_url or f"sqlite:///{self.home / 'signals.db'}"

    @property
    def warehouse(self) -> Path:
        """Folder of the published marts."""
        return self.home / "warehouse"

    @property
    def data_docs(self) -> Path:
        """Folder of the pages on data quality."""
        return self.home / "data_docs"

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
