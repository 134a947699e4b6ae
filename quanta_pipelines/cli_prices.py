"""``quanta prices``: what prices are, now and settled, and how they came about."""

import click


@click.group("prices")
def prices() -> None:
    """Ask for prices, and see what they were made of."""
