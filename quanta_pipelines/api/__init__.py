"""The service: takes signals and votes, serves the published marts, computes nothing."""

from quanta_pipelines.api.app import RefusedSettings, create_app

__all__ = ["RefusedSettings", "create_app"]
