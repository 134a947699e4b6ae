"""What the modules of the command line share."""

from typing import Any

import click

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class EpochId(click.ParamType[Epoch]):
    """An epoch's id on the command line."""

    name = "epoch"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Epoch:
        """The epoch, or a usage error that says what an id looks like."""
        try:
            return value if isinstance(value, Epoch) else Epoch.parse(str(value))
        except ProtocolError as error:
            return self.fail(str(error), param, ctx)
