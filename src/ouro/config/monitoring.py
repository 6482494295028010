"""The part of the configuration about being watched: where the metrics are served."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

_HIGHEST_PORT = 65_535


def split_address(text: str) -> tuple[str, int]:
    """Host and port of ``host:port`` (IPv6 in brackets). Raises ``ValueError`` that says what is expected."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdecimal() or int(port) > _HIGHEST_PORT:
        raise ValueError(f"{text!r} is not an address: host:port is expected, as in 127.0.0.1:9464, or off")
    return host, int(port)


def _check_listen(text: str) -> str:
    if text != "off":
        split_address(text)
    return text


class MonitoringConfig(BaseModel):
    """Metrics for Prometheus, and the form of the logs.

    ``listen``: where the one endpoint of an instance answers; port 0 takes a free one (``ouro status`` names it),
    "off" serves nothing. It tells profits, and has no login: leave it on the loopback interface, or behind a proxy.
    ``metrics`` "off" counts nothing at all. ``logs_of_open``: whether logs name the transaction of an attempt that
    has not landed yet, which others could look for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metrics: Literal["on", "off"] = "on"
    listen: Annotated[str, AfterValidator(_check_listen)] = "127.0.0.1:0"
    logs: Literal["json", "console"] = "json"
    logs_of_open: Literal["redacted", "whole"] = "redacted"

    @property
    def address(self) -> str:
        """Where to serve, "off" where there is nothing to."""
        return self.listen if self.metrics == "on" else "off"

    @model_validator(mode="after")
    def _something_to_serve(self) -> Self:
        if self.metrics == "off" and self.listen not in ("off", "127.0.0.1:0"):
            raise ValueError('listen names an address, but metrics is "off": there would be nothing to serve')
        return self
