"""What the modules of the command line share."""

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
