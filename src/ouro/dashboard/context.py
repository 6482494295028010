"""What every page is given."""

from collections.abc import Callable
from dataclasses import dataclass

from nicegui import ui
from starlette.requests import Request

from ouro.dashboard.control import Controls
from ouro.dashboard.feed import Feed
from ouro.dashboard.files import now_ms
from ouro.dashboard.fragments import View, health_pill
from ouro.dashboard.health import Health, health

TICK_S = 0.5


@dataclass(frozen=True, slots=True)
class Context:
    """The feed, the halts, the clock."""

    feed: Feed
    controls: Controls
    now_ms: Callable[[], int] = now_ms

    def view(self, request: Request) -> View:
        """What the address asks for."""
        return View.of(dict(request.query_params), self.feed.chain_names())

    def health(self) -> Health:
        """Whether all is well."""
        return health(self.feed, [halt.text for halt in self.controls.in_force()], self.now_ms())

    def pill(self) -> str:
        """The same as HTML, with what is wrong with the books."""
        return health_pill(self.health())

    def tick(self, do: Callable[[bool], None]) -> None:
        """Call ``do`` twice a second with whether the feed has news."""
        seen = self.feed.version

        def on_tick() -> None:
            nonlocal seen
            news, seen = self.feed.version != seen, self.feed.version
            do(news)

        ui.timer(TICK_S, on_tick)
