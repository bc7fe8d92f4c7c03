"""Connections that wait for their request: each has its time, and all of them together their number.

uvicorn waits without end for a header, and counts connections that never send one against its limit of requests.
"""

import asyncio
import json
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from t2i.web.guard import HEADERS, SENTENCES

HEADER_SECONDS = 10.0
MOST_IDLE = 256
"""Connections without a request under way; one more closes the one that has waited longest."""


class Connection(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with an end to waiting and refusals in JSON."""

    idle: ClassVar[dict["Connection", asyncio.TimerHandle]] = {}
    """Those that wait, the oldest first, each with its end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The time for the first header begins."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """It ends when a header is complete; bytes of one that is not do not lengthen it."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """The time for the next header begins, unless it is there already."""
        super().on_response_complete()
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is told so in JSON, as every refusal is."""
        body = json.dumps({"error": SENTENCES[400]}).encode()
        head = {**HEADERS, "content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{lines}\r\n".encode() + body)
        self.transport.close()

    def _wait(self) -> None:
        self._stop_waiting()
        self.idle[self] = self.loop.call_later(HEADER_SECONDS, self._close)
        if len(self.idle) > MOST_IDLE:
            next(iter(self.idle))._close()

    def _stop_waiting(self) -> None:
        handle: Any = self.idle.pop(self, None)
        if handle is not None:
            handle.cancel()

    def _close(self) -> None:
        self._stop_waiting()
        self.transport.close()
