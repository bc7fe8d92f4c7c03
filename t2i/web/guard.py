"""What stands before the page and the endpoint: who may ask, how much at once, and what an error may say.

Pure ASGI, so that a request whose client leaves is noticed behind it.
"""

import asyncio
import base64
import hmac
import json
import logging
import re
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from t2i.web.order import Refused
from t2i.web.studio import Rate
from t2i.web.uploads import MOST

MOST_BODY = 5_000_000
BODY_SECONDS = 30.0
MOST_REQUESTS = 512
"""Under way at once; an open page has two."""
SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
# What Gradio's page needs in order to work. Everything else that Gradio offers (uploads, files by path, a proxy, its own
# API, component code) stays closed.
OPEN_TO_GET = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/(static|assets)/[^\\]+|"
    r"/gradio_api/(startup-events|app_id|queue/data|heartbeat/[A-Za-z0-9_-]{1,64})|"
    r"/v1/(health|openapi\.json|images/[A-Za-z0-9_.-]{1,80})"
)
PICTURES = "/v1/pictures"
OPEN_TO_POST = re.compile(rf"/gradio_api/queue/join|/v1/images|{PICTURES}")
HEARTBEAT = re.compile(r"/gradio_api/heartbeat/([A-Za-z0-9_-]{1,64})")
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    # Gradio's page starts with an inline script and compiles templates; nothing is loaded from elsewhere.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'; "
        "form-action 'self'; base-uri 'self'"
    ),
}
SENTENCES = {
    400: "This request cannot be understood; docs/web.md describes what can be asked.",
    404: "There is nothing here; the page is at /, the endpoint at /v1/images.",
    405: "This address does not take that method; docs/web.md describes what can be asked.",
    503: "Too many requests are waiting already; try again in a minute.",
    422: "This request cannot be understood; docs/web.md describes what can be asked.",
}
log = logging.getLogger("t2i")


class Guard:
    """Wraps an application: login, open paths, origin, size of the body, plain errors, and word of who leaves."""

    def __init__(
        self,
        app: ASGIApp,
        names: Collection[str],
        login: str | None,
        rate: Rate,
        left: Callable[[str], None],
        events: Callable[[], int],
    ) -> None:
        """names: by which the server may be called. login: `user:password`, or None. left: is told the session whose page
        was closed. events: of the page.
        """
        self.app = app
        self.names = {name.lower() for name in names}
        self.under_way = 0
        self.expected = None if login is None else "Basic " + base64.b64encode(login.encode()).decode()
        self.rate = rate
        self.left = left
        self.events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand over to the application with the whole body read."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks over web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
            await send(message)

        self.under_way += 1
        try:
            if self.under_way > MOST_REQUESTS:
                raise Refused(SENTENCES[503], 503, 60)
            body = await self._admitted(scope, receive)
            await self._forward(scope, _replayed(body, receive), answer)
        except Refused as refusal:
            headers = {"www-authenticate": 'Basic realm="t2i"'} if refusal.code == 401 else {}
            await _sentence(str(refusal), refusal.code, headers | refusal.headers)(scope, receive, send)
        except Exception:  # whatever a request broke, its sender gets a sentence, and the log the story
            log.debug("a request failed", exc_info=True)
            if not started:
                await _sentence("Something went wrong; the server's run.log says what.", 500)(scope, receive, send)
        finally:
            self.under_way -= 1

    async def _admitted(self, scope: Scope, receive: Receive) -> bytes:
        """The body of a request that may go on; Refused otherwise."""
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        method, path = scope["method"], scope["path"]
        if _host(headers.get("host", "")) not in self.names:  # another name may lead a browser here (DNS rebinding)
            raise Refused("This server is not known by that name; serve.hosts takes further ones.")
        if self.expected is not None and not hmac.compare_digest(
            headers.get("authorization", "").encode("latin-1"), self.expected.encode()
        ):
            if "authorization" in headers:
                self.rate.count(_address(scope))  # guessing takes its time
            raise Refused("User and password are needed here.", 401)
        if method == "HEAD" and path.startswith("/gradio_api/"):  # of streams without an end
            raise Refused(SENTENCES[405], 405)
        open_paths = OPEN_TO_GET if method in ("GET", "HEAD") else OPEN_TO_POST
        if method not in ("GET", "HEAD", "POST"):
            raise Refused(SENTENCES[405], 405)
        if not open_paths.fullmatch(path) or ".." in path:
            other = OPEN_TO_POST if open_paths is OPEN_TO_GET else OPEN_TO_GET
            code = 405 if other.fullmatch(path) else 404
            raise Refused(SENTENCES[code], code)
        origin = headers.get("origin")
        if method == "POST" and origin and urlsplit(origin).netloc != headers.get("host"):
            raise Refused("Another site may not ask on your behalf.", 403)
        if method != "POST":
            return b""
        upload = path == PICTURES
        body = await _read(headers, receive, "image/" if upload else "application/json", MOST if upload else MOST_BODY)
        if path.startswith("/gradio_api/"):
            self._check_event(body)
        return body

    def _check_event(self, body: bytes) -> None:
        """An event as the page sends it; Gradio itself answers some malformed ones with 500."""
        event = parsed(body)
        data, number = event.get("data"), event.get("fn_index")
        session = event.get("session_hash")
        known = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < self.events()
        named = isinstance(session, str) and SESSION.fullmatch(session)
        if not isinstance(data, list) or not known or not named:
            raise Refused(SENTENCES[400])

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's answer, its errors as sentences, with headers that keep a browser careful."""
        heartbeat = HEARTBEAT.fullmatch(scope["path"])
        if scope["path"] == "/gradio_api/queue/data":
            query = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [])
            if len(query) != 1 or not SESSION.fullmatch(query[0]):
                raise Refused(SENTENCES[400])
        own = scope["path"].startswith("/v1/")
        if scope["method"] == "HEAD":  # the server leaves out the body of what is answered
            scope = {**scope, "method": "GET"}
        failed = 0

        async def watched(message: Message) -> None:
            nonlocal failed
            if message["type"] == "http.response.start":
                if message["status"] >= 400 and not own:
                    failed = message["status"]
                    return
                names = {name for name, _ in message["headers"]}
                extra = [(key.encode(), value.encode()) for key, value in HEADERS.items() if key.encode() not in names]
                message = {**message, "headers": [*message["headers"], *extra]}
            if not failed:
                await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            if heartbeat:
                self.left(heartbeat[1])
        if failed:
            raise Refused(SENTENCES.get(failed, SENTENCES[400]), failed)


def parsed(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; Refused (400) for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused('The body is no JSON; send an object such as {"prompt": "a red cat"}.') from error
    if not isinstance(value, dict):
        raise Refused('The body is no JSON object; send one such as {"prompt": "a red cat"}.')
    return value


async def _read(headers: dict[str, str], receive: Receive, kind: str, most: int) -> bytes:
    """The whole body; Refused when it is too large (413), too slow (408), or not of a kind by its own account (415)."""
    said = headers.get("content-type", "").split(";")[0].strip().lower()
    if not (said.startswith(kind) if kind.endswith("/") else said == kind):
        # A form of another site can send the other types without asking the browser.
        raise Refused(f"The body must come as Content-Type: {kind}{'*' if kind.endswith('/') else ''}.", 415)
    too_large = Refused(f"The body is larger than {most // 1_000_000} MB.", 413)
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        raise Refused(SENTENCES[400])
    if int(length) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused("The client left before its request was complete.")
                body += message.get("body", b"")
                if len(body) > most:
                    raise too_large
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise Refused(f"The body did not arrive within {BODY_SECONDS:g} seconds.", 408) from None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read, once more; then whatever comes, which is the client leaving."""
    handed = False

    async def again() -> Message:
        nonlocal handed
        if handed:
            return await receive()
        handed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _host(header: str) -> str:
    """The name in a Host header, without its port and without the brackets of an IPv6 address."""
    name = re.sub(r":\d+$", "", header.strip()).lower()
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def _address(scope: Scope) -> str:
    """The address of who asks. Headers that a proxy may add are not believed: anybody can send them."""
    return str(scope["client"][0]) if scope.get("client") else "unknown"


def _sentence(text: str, code: int, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": text}, code, headers={**HEADERS, **(headers or {})})
