"""The HTTP side: headers on everything, login, control, downloads. Read-only but for who has logged in."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ouro.control import ControlError
from ouro.dashboard import export, plain
from ouro.dashboard.access import Password, Session, Sessions, Throttle, same
from ouro.dashboard.context import Context
from ouro.dashboard.layout import scheme_of

COOKIE = "ouro_session"
_FORM_BYTES = 16_384
_STATIC = Path(__file__).with_name("static")
_HEADERS = {
    # Vue compiles its templates in the browser, hence eval; nothing of another host, nothing framed.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' "
    "ws: wss:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


class Guard:
    """Around everything, WebSocket included: security headers, and no request of another site's page.

    A request whose ``Host`` is not what we listen as (DNS rebinding) or whose ``Origin`` is another is refused.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        """``hosts``: names by which we may be asked; None where a proxy in front decides."""
        self.app, self._hosts = app, hosts
        self._throttle = Throttle(most=1_200, within_s=60.0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        wrong = self._wrong(scope)
        if wrong:
            await _refuse(scope, receive, send, wrong)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        await self.app(scope, receive, with_headers)

    def _wrong(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            asked, asking = urlsplit(f"//{host}").hostname, urlsplit(origin or "").netloc
        except ValueError:
            return 400, "the Host or Origin of this request is no address\n"
        if self._hosts is not None and asked not in self._hosts:
            return 421, f"this page is not called {host}\n"
        if origin not in (None, "null") and asking != host:
            return 403, "a page of another site may not ask here\n"
        if origin == "null" and (scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")):
            return 403, "a page without a name may not ask here\n"
        client = (scope.get("client") or ("?", 0))[0]
        if not scope["path"].startswith(("/_nicegui", "/assets")) and not self._throttle.admits(client):
            return 429, "too many requests; wait a minute\n"
        return None


async def _refuse(scope: Scope, receive: Receive, send: Send, wrong: tuple[int, str]) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    await PlainTextResponse(wrong[1], status_code=wrong[0], headers=_HEADERS)(scope, receive, send)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small form; anything else is no form."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _FORM_BYTES:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20)
    return {name: values[-1] for name, values in fields.items()}


class Web:
    """Routes beside NiceGUI's."""

    def __init__(self, context: Context, password: Password, sessions: Sessions) -> None:
        self._context, self._password, self._sessions = context, password, sessions
        self._logins = Throttle(most=5, within_s=60.0)
        self._orders = Throttle(most=20, within_s=60.0)

    def add_to(self, app: FastAPI) -> None:
        """Register them."""
        app.mount("/assets", StaticFiles(directory=_STATIC), name="assets")
        app.get("/healthz")(self.healthz)
        app.get("/login")(self.login_page)
        app.post("/login")(self.login)
        app.post("/logout")(self.logout)
        app.get("/control")(self.control_page)
        app.post("/control/halt")(self.halt)
        app.post("/control/resume")(self.resume)
        app.get("/export/{name}.csv")(self.download)

    async def healthz(self) -> Response:
        """For machines: 200 while the books can be read."""
        state = self._context.health()
        problem = self._context.feed.picture.problem
        body = {"level": state.level, "word": state.word, "version": self._context.feed.version}
        return JSONResponse(body, status_code=503 if problem else 200)

    async def login_page(self, request: Request) -> Response:
        """The form."""
        return self._html(plain.login(scheme_of(request.cookies), locked=self._password.problem()))

    async def login(self, request: Request) -> Response:
        """Check the password; five attempts a minute and address."""
        scheme = scheme_of(request.cookies)
        if not self._logins.admits(_client(request)):
            return self._html(plain.login(scheme, wrong="Too many attempts; wait a minute."), 429)
        form = await _form(request)
        name = " ".join(form.get("name", "").split())[:80]
        if len(name) < 2:
            return self._html(plain.login(scheme, wrong="A name is needed: it is written beside what you do."), 400)
        if not await asyncio.to_thread(self._password.fits, form.get("password", "")):
            problem = self._password.problem()
            return self._html(plain.login(scheme, wrong=problem or "That is not the password."), 403)
        token, _ = self._sessions.begin(name)
        response = RedirectResponse("/control", status_code=303)
        secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, path="/")
        return response

    async def logout(self, request: Request) -> Response:
        """End the session."""
        session, _, refused = await self._authorised(request)
        if session is None:
            return refused
        self._sessions.end(request.cookies.get(COOKIE))
        response = RedirectResponse("/control", status_code=303)
        response.delete_cookie(COOKIE, path="/")
        return response

    async def control_page(self, request: Request, told: str = "") -> Response:
        """What is halted, and the forms for who may."""
        return self._html(self._control(request, told=_TOLD.get(told, "")))

    async def halt(self, request: Request) -> Response:
        """Stop."""
        session, form, refused = await self._authorised(request)
        if session is None:
            return refused
        chain, strategy = form.get("chain") or None, form.get("strategy") or None
        if chain is not None and chain not in self._context.feed.chain_names():
            return self._html(self._control(request, wrong=f"There is no chain {chain!r}."), 400)
        by, why = _name(session, form), form.get("why", "")
        return await self._order(
            request, "halted", lambda: self._context.controls.halt(by=by, why=why, chain=chain, strategy=strategy)
        )

    async def resume(self, request: Request) -> Response:
        """Let go on."""
        session, form, refused = await self._authorised(request)
        if session is None:
            return refused
        by, why, which = _name(session, form), form.get("why", ""), form.get("id", "")
        return await self._order(request, "resumed", lambda: self._context.controls.resume(which, by=by, why=why))

    async def _order(self, request: Request, told: str, do: Any) -> Response:
        try:
            await asyncio.to_thread(do)
        except ControlError as error:
            return self._html(self._control(request, wrong=str(error)), 400)
        except Exception as error:  # the audit chain's trouble must be seen; the halt itself is durable by then
            return self._html(self._control(request, wrong=f"{type(error).__name__}: {error}"), 500)
        return RedirectResponse(f"/control?told={quote(told)}", status_code=303)

    async def _authorised(self, request: Request) -> tuple[Session | None, dict[str, str], Response]:
        """The session whose own form this is, with its fields; else what to answer."""
        session = self._sessions.of(request.cookies.get(COOKIE))
        if session is None:
            return None, {}, RedirectResponse("/login", status_code=303)
        if not self._orders.admits(_client(request)):
            return None, {}, self._html(self._control(request, wrong="Too many orders; wait a minute."), 429)
        form = await _form(request)
        if not same(form.get("csrf", ""), session.csrf):
            return None, {}, self._html(self._control(request, wrong="That form is too old; try again."), 403)
        return session, form, Response()

    def _control(self, request: Request, *, told: str = "", wrong: str = "") -> str:
        controls = self._context.controls
        return plain.control(
            scheme_of(request.cookies),
            self._sessions.of(request.cookies.get(COOKIE)),
            controls.in_force(),
            controls.history(),
            self._context.feed.chain_names(),
            told=told,
            wrong=wrong,
        )

    async def download(self, request: Request, name: str) -> Response:
        """The numbers of one picture."""
        feed, view = self._context.feed, self._context.view(request)
        wanted = view.filter(self._context.now_ms())
        makers = {
            "trades": lambda: export.trades_csv(feed, feed.trades(wanted, outcome=view.outcome)),
            "equity": lambda: export.equity_csv(feed, wanted),
            "funnel": lambda: export.funnel_csv(feed, wanted),
            "latency": lambda: export.latency_csv(feed, view.chain),
        }
        if name not in makers:
            return PlainTextResponse("no such download\n", status_code=404)
        headers = {"Content-Disposition": f'attachment; filename="ouro-{name}.csv"', "Cache-Control": "no-store"}
        return Response(makers[name](), media_type="text/csv; charset=utf-8", headers=headers)

    def _html(self, text: str, status: int = 200) -> Response:
        return HTMLResponse(text, status_code=status, headers={"Cache-Control": "no-store"})


_TOLD = {
    "halted": "Halted. It is in the audit chain; nothing new is approved or signed.",
    "resumed": "Resumed. It is in the audit chain.",
}


def _name(session: Session, form: dict[str, str]) -> str:
    """Who has logged in, whatever name is typed: nobody acts in another's. A blank one is still no consent."""
    return session.name if form.get("by", "").strip() else ""


def _client(request: Request) -> str:
    return request.client.host if request.client else "?"
