"""Putting the page together and serving it. One process; what it reads it reads by itself."""

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.config.dashboard import listen_address
from ouro.config.model import OuroConfig
from ouro.dashboard.access import Password, Sessions
from ouro.dashboard.addresses import bind, is_loopback

if TYPE_CHECKING:
    import socket

    import uvicorn
    from starlette.types import ASGIApp


class _LeftEarly(logging.Filter):
    """A browser that goes elsewhere before it was answered is no error, whatever the middleware calls it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop exactly that."""
        error = record.exc_info[1] if record.exc_info else None
        return not (isinstance(error, RuntimeError) and str(error) == "No response returned.")


def serve(config: OuroConfig, listen: str, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. ``announce`` is told the address once it can be asked.

    Raises ``DashboardError`` when the address can't be had.
    """
    host, port = listen_address(listen)
    listener = bind(host, port)
    # NiceGUI would keep its own files beside whatever folder this was started in; it is given one that goes away.
    with tempfile.TemporaryDirectory(prefix="ouro-dashboard-") as scratch, listener:
        os.environ["NICEGUI_STORAGE_PATH"] = scratch
        import uvicorn

        app = _application(config, host)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}/"
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                ws_max_size=1 << 20,
                timeout_graceful_shutdown=2,
                lifespan="on",
            )
        )

        logging.getLogger("uvicorn.error").addFilter(_LeftEarly())

        _announce_when_started(server, lambda: announce(address))
        asyncio.run(server.serve(sockets=[listener]))


def _announce_when_started(server: "uvicorn.Server", tell: Callable[[], None]) -> None:
    started = server.startup

    async def startup(sockets: "list[socket.socket] | None" = None) -> None:
        await started(sockets=sockets)
        if server.started:
            tell()

    server.startup = startup  # pyright: ignore[reportAttributeAccessIssue] - there is no event to wait for


def _application(config: OuroConfig, host: str) -> "ASGIApp":
    from fastapi import FastAPI
    from nicegui import ui

    from ouro.dashboard.context import Context
    from ouro.dashboard.control import Controls
    from ouro.dashboard.feed import Feed
    from ouro.dashboard.pages import capital, market, overview, system, trade, trades
    from ouro.dashboard.web import Guard, Web

    feed = Feed(config)
    context = Context(feed, Controls(config.data_dir))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        reading = asyncio.create_task(feed.run(), name="dashboard-feed")
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    sessions = Sessions(idle_s=60.0 * config.dashboard.session_minutes)
    Web(context, Password(config.data_dir), sessions).add_to(app)
    for page in (overview, trades, trade, market, capital, system):
        page.register(context)
    ui.run_with(
        app,
        title="Ouro",
        favicon=Path(__file__).with_name("static") / "icon.svg",
        language="en-US",
        dark=None,
        tailwind=False,
        binding_refresh_interval=None,
        show_welcome_message=False,
        reconnect_timeout=20.0,
    )
    # Elsewhere than on loopback a proxy decides by which name it is called.
    hosts = frozenset({"127.0.0.1", "::1", "localhost", host}) if is_loopback(host) else None
    return Guard(app, hosts)
