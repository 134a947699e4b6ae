"""Types of single fields in requests and answers: hotkeys, epochs, decimals, money."""

import datetime as dt
import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, WithJsonSchema

from quanta_pipelines.protocol.commit_reveal import public_key
from quanta_pipelines.protocol.epoch import FIRST_YEAR, LAST_YEAR, Epoch
from quanta_pipelines.protocol.portfolio import RAO

ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
BOB = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"

_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,30})?")


def _valid_hotkey(text: str) -> str:
    public_key(text)
    return text


def _canonical_epoch(text: str) -> str:
    return Epoch.parse(text).id


def _decimal_text(value: Any) -> Any:
    """A JSON number as its shortest text; binary floats that have no plain text are refused."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a decimal is a number or its text")  # noqa: TRY004 - pydantic's
    text = value if isinstance(value, str) else repr(value)
    if _NUMBER.fullmatch(text) is None:
        raise ValueError("a decimal looks like 0.15: digits, a point, no sign, no exponent")
    return text


def _in_utc(moment: dt.datetime) -> dt.datetime:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"a moment lies between {FIRST_YEAR} and {LAST_YEAR}")
    return moment.astimezone(dt.UTC)


Hotkey = Annotated[
    str,
    Field(
        pattern="^[1-9A-HJ-NP-Za-km-z]{48}$",
        description="SS58 address with prefix 42 and a right checksum.",
        examples=[ALICE],
    ),
    AfterValidator(_valid_hotkey),
]
EpochId = Annotated[
    str,
    Field(
        pattern="^[0-9]{4}-Q[1-4]-W[0-9]{1,2}$",
        description="ISO week with its quarter.",
        examples=["2019-Q3-W31"],
    ),
    AfterValidator(_canonical_epoch),
]
DecimalText = Annotated[
    str,
    BeforeValidator(_decimal_text),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]{1,20}(\.[0-9]{1,30})?$"},
                {"type": "number", "minimum": 0},
            ],
            "description": "Decimal number; text is exact.",
        },
        mode="validation",
    ),
]
Hex64 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="256 bits in lower-case hex.")]
Tokens = Annotated[
    str, Field(pattern=r"^[0-9]+\.[0-9]{9}$", description="ALPHA with nine decimals.")
]
Rao = Annotated[str, Field(pattern="^[0-9]+$", description="The same in rao, 10^-9 ALPHA.")]
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


def tokens(rao: int) -> str:
    """Rao as ALPHA with nine decimals, exactly."""
    whole, rest = divmod(int(rao), RAO)
    return f"{whole}.{rest:09d}"


def decimal_sum(texts: list[str]) -> Decimal:
    """Exact sum of decimal texts."""
    return sum((Decimal(text) for text in texts), Decimal(0))
