"""What the sections of the configuration are made of: kinds of fields, and the base of a section."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ouro.hashing import has_wrong_checksum

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def _check_address(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError(f"{value!r} is not an address: 0x and 40 hex digits are expected")
    if has_wrong_checksum(value):
        raise ValueError(f"{value} has a wrong checksum (EIP-55): a digit may be mistyped; copy it anew")
    return value.lower()


ConfigAddress = Annotated[str, AfterValidator(_check_address)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Ppm = Annotated[int, Field(gt=0, le=1_000_000)]


class Section(BaseModel):
    """Frozen, and without keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)
