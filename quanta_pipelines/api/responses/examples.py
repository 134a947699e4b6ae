"""Examples in the OpenAPI document: how a model carries one, and values that several share."""

from pydantic import ConfigDict, JsonValue

HASH = "8573465912d9d29f269d170339b4f23683e30a8077dda2d7c267475d6a13dd99"
SIGNAL_ID = "6b8b4567-327b-523c-a643-c98969aa1234"
RECEIVED, OPENS, EXPIRES = (
    "2019-07-26T12:00:00Z",
    "2019-07-27T02:00:00Z",
    "2019-07-28T12:00:00Z",
)


def example(**fields: JsonValue) -> ConfigDict:
    """A closed model with one example."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [fields]})
