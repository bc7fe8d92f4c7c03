"""Starts and ends the server: the application with its guards on a socket."""

import ipaddress
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from t2i.errors import UserError
from t2i.web.config import Serve
from t2i.web.order import Offer
from t2i.web.studio import Studio

CLOSING_SECONDS = 2


def listen(serve: Serve) -> socket.socket:
    """A socket on the configured address; UserError when it cannot be had."""
    family = socket.AF_INET6 if ":" in serve.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((serve.host, serve.port))
        found.listen(128)  # from here on a browser waits instead of being turned away
    except OSError as error:
        found.close()
        raise UserError(
            f"serve.host={serve.host} with serve.port={serve.port} cannot be listened on ({error.strerror}); "
            "use another one, or serve.port=0 for any"
        ) from error
    return found


def address(found: socket.socket) -> str:
    """Of the page, to be typed into a browser."""
    host, port = found.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    serve: Serve,
    studio: Studio,
    offer: Offer,
    facts: Mapping[str, str],
    numbers: Mapping[str, float],
    folder: Path,
    say: Callable[[str], None],
) -> None:
    """Serve until a signal comes, which is raised again afterwards. folder: for what Gradio writes."""
    # Read while gradio is imported: no word to its makers, and its temporary files below the run.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    try:
        import gradio as gr
        import uvicorn
    except ImportError as error:
        raise UserError(f"task=serve needs {error.name}; type: pip install -c constraints.txt -e '.[web]'") from error
    from t2i.web import api, head, page
    from t2i.web.connections import Connection
    from t2i.web.guard import Guard

    login = serve.login()
    blocks = page.build(studio, offer, facts, numbers)
    app = api.build(studio, offer)
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        theme=head.theme(),
        head=head.head(offer),
        max_file_size=0,
    )
    guarded = Guard(app, _names(serve), login, studio.rate, studio.leave, lambda: len(blocks.fns))
    config = uvicorn.Config(
        guarded,
        http=Connection,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=CLOSING_SECONDS,
        ws="none",
    )
    found = listen(serve)
    say(f"serving on {address(found)} (Ctrl-C ends it)")
    try:
        uvicorn.Server(config).run(sockets=[found])
    finally:
        studio.close()
        found.close()


def _names(serve: Serve) -> list[str]:
    """Hosts by which the page may be asked for, as browsers write them."""
    names = ["localhost", "127.0.0.1", *serve.hosts]
    if not _any_address(serve.host):
        names.append(serve.host)
    return [f"[{name}]" if ":" in name else name for name in names]


def _any_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
