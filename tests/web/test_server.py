"""The HTTP endpoint from outside: what it answers, what it refuses, and that load changes nothing."""

import contextlib
import http.client
import io
import json
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from t2i.errors import UserError
from t2i.web.config import Serve
from t2i.web.order import Order
from t2i.web.server import listen, run

from ..conftest import Lab
from .conftest import Server, serving

MEGABYTE = 1024 * 1024


def pixels(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def refused(status: int, body: bytes) -> str:
    """The one sentence of a refusal."""
    assert 400 <= status < 500, (status, body[:300])
    sentence = json.loads(body)["error"]
    assert isinstance(sentence, str) and sentence.endswith(".") and "\n" not in sentence and len(sentence) < 300
    assert "Traceback" not in sentence and 'File "' not in sentence
    return sentence


def raw(server: Server, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """A request whose path nobody tidies up."""
    connection = http.client.HTTPConnection(*server.host, timeout=60)
    connection.putrequest(method, path, skip_host="host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if body is not None:
        connection.putheader("content-length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    result = answer.status, answer.read()
    connection.close()
    return result


def test_a_png_comes_with_its_recipe(server: Server) -> None:
    answer = server.ask(prompt="two  blue\ndogs", seed=7, steps=2, guidance=3, scheduler="euler", model="base")
    image = Image.open(io.BytesIO(answer.content))
    recipe = json.loads(image.text["t2i"])  # type: ignore[attr-defined]
    assert (image.size, image.mode) == ((64, 64), "RGB")
    assert (recipe["prompt"], recipe["seed"], recipe["weights"]) == ("two blue dogs", 7, None)
    assert (recipe["scheduler"]["name"], recipe["scheduler"]["steps"], recipe["cfg"]["scale"]) == ("euler", 2, 3.0)
    stored = httpx.get(server.url + answer.headers["x-pictures"])
    assert stored.content == answer.content


def test_what_is_left_out_has_the_command_lines_value(server: Server) -> None:
    answer = httpx.post(f"{server.url}/v1/images", json={"prompt": "a red cat"}, timeout=120)
    recipe = json.loads(Image.open(io.BytesIO(answer.content)).text["t2i"])  # type: ignore[attr-defined]
    assert (recipe["scheduler"]["name"], recipe["scheduler"]["steps"], recipe["cfg"]["scale"]) == ("dpmpp_2m", 4, 7.5)
    assert Path(recipe["weights"]["path"]).parent.name == "12-00-00_pipeline_abcdef"


def test_what_the_server_drew_is_made_again_by_its_recipe(server: Server, empty_lab: Lab) -> None:
    answer = server.ask(seed=5, steps=3, guidance=4, scheduler="euler_a", size=96)
    path = empty_lab.root / "picture.png"
    path.write_bytes(answer.content)
    assert empty_lab.here("task=generate", f"recipe={path}").metrics == {"images": 1.0, "identical": 1.0}
    path.write_bytes(server.ask(seed=5, steps=3, width=96, height=64, model="base", scheduler="euler_a").content)
    assert empty_lab.here("task=generate", f"recipe={path}").metrics == {"images": 1.0, "identical": 1.0}


def test_seeds_sizes_and_models_make_other_pictures_and_counts_stand_side_by_side(server: Server) -> None:
    first = pixels(server.ask(seed=3, steps=3))
    again, other, base = (server.ask(seed=3, steps=3), server.ask(seed=4, steps=3), server.ask(steps=3, model="base"))
    assert np.array_equal(first, pixels(again))
    assert not np.array_equal(first, pixels(other)) and not np.array_equal(first, pixels(base))
    strip = server.ask(seed=3, steps=3, count=3)
    assert pixels(strip).shape == (64, 192, 3)
    assert np.array_equal(pixels(strip)[:, :64], first) and np.array_equal(pixels(strip)[:, 64:128], pixels(other))
    assert len(strip.headers["x-pictures"].split(", ")) == 3
    for size in (72, 200):
        assert pixels(server.ask(size=size)).shape == (size, size, 3)


def spoken(server: Server, text: bytes, seconds: float = 30) -> bytes:
    """What comes back on a connection of its own until the server closes it."""
    with socket.create_connection(server.host, timeout=seconds) as connection:
        connection.sendall(text)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def test_every_refusal_is_json_with_the_headers_that_keep_a_browser_careful(server: Server) -> None:
    post = b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    get = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    asked = {
        b"nonsense\r\n\r\n": 400, b"GET / HTTP/9.9\r\n\r\n": 400, b"GET /\x00 HTTP/1.1\r\n\r\n": 400,
        b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n": 400, b"GET /nothing" + get: 404,
        b"GET /v1/images" + get: 405, b"PUT /v1/images" + get: 405, b"GET /v1/images/none.png" + get: 404,
        b"GET /v1/images/none.png?download=perhaps" + get: 422, b"GET /assets/nothing.js" + get: 404,
        b"HEAD /gradio_api/heartbeat/a" + get: 405, b"GET /" + b"x" * 60_000 + get: 404,
        post + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}": 415,
        post + b"Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n{}": 413,
        post + b"Content-Type: application/json\r\nContent-Length: x\r\n\r\n{}": 400,
        post + b"Content-Type: application/json\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n\r\n{}": 403,
        post + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}": 400,
    }  # fmt: skip
    for text, status in asked.items():
        head, _, body = spoken(server, text).partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        assert int(lines[0].split()[1]) == status, (text[:80], head)
        headers = dict(line.split(": ", 1) for line in lines[1:])
        assert headers["content-type"].startswith("application/json"), text[:80]
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "deny"
        assert (
            headers["referrer-policy"] == "no-referrer"
            and "frame-ancestors 'none'" in headers["content-security-policy"]
        )
        if not text.startswith(b"HEAD"):
            refused(status, body)


def test_head_answers_as_get_without_the_body(server: Server) -> None:
    name = server.ask().headers["x-pictures"]
    for path in ("/", "/v1/health", "/v1/openapi.json", name):
        get, head = httpx.get(server.url + path), httpx.head(server.url + path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == get.headers["content-type"]
    assert httpx.head(f"{server.url}/v1/images").status_code == 405


def test_the_openapi_file_describes_what_is_taken_and_answered(server: Server) -> None:
    paths = httpx.get(f"{server.url}/v1/openapi.json").json()["paths"]
    assert set(paths) == {"/v1/health", "/v1/images/{name}", "/v1/images", "/v1/pictures"}
    upload = paths["/v1/pictures"]["post"]
    assert {"200", "400", "401", "403", "408", "413", "415", "429", "503"} <= set(upload["responses"])
    assert list(upload["requestBody"]["content"]) == ["image/*"]
    post = paths["/v1/images"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {*Order.__dataclass_fields__, "size"} and schema["required"] == ["prompt"]
    assert "image/png" in post["responses"]["200"]["content"]
    assert {"400", "401", "403", "408", "413", "415", "429", "500", "503"} <= set(post["responses"])
    # The ends of every range are taken, and what lies beyond is refused.
    for key, facts in schema["properties"].items():
        if "maximum" in facts:
            refused(
                *raw(
                    server,
                    "POST",
                    "/v1/images",
                    json.dumps({"prompt": "a", key: facts["maximum"] + 1}).encode(),
                    content_type="application/json",
                )
            )
        for value in facts.get("enum", []):
            assert server.ask(**{key: value}).status_code == 200
        assert "default" in facts or key in ("prompt", "steps", "guidance", "size")


def test_idle_connections_neither_stay_nor_fill_the_server(server: Server) -> None:
    """Six hundred that say nothing, and as many that say a little again and again: who asks is answered meanwhile."""
    opened = []
    try:
        for number in range(600):
            connection = socket.create_connection(server.host, timeout=30)
            if number % 2:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: loc")
            opened.append(connection)
            if number % 100 == 99:
                assert server.health()["status"] == "ok"
        assert server.ask().status_code == 200
        start = time.monotonic()
        while time.monotonic() - start < 8:
            time.sleep(1)
            with contextlib.suppress(OSError):
                opened[-1].sendall(b"a")  # which does not lengthen its time
        for connection in opened:
            connection.settimeout(10)
            with contextlib.suppress(ConnectionError):
                assert connection.recv(100) == b""
        assert time.monotonic() - start < 15
    finally:
        for connection in opened:
            connection.close()


def test_after_an_answer_a_connection_has_its_time_too(server: Server) -> None:
    with socket.create_connection(server.host, timeout=20) as connection:
        connection.sendall(b"HEAD /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET")
        start = time.monotonic()
        assert connection.recv(65536) == b"" and 5 < time.monotonic() - start < 15


MALFORMED: list[dict[str, Any]] = [
    {"prompt": ""},
    {"prompt": "   \n\t "},
    {"prompt": None},
    {"prompt": 5},
    {"prompt": ["a red cat"]},
    {"prompt": "x" * 1001},
    {"prompt": "a \x00 cat"},
    {"prompt": "a \ud800 cat"},
    {"negative_prompt": "x" * 1001},
    {"negative_prompt": {"a": 1}},
    {"steps": 0},
    {"steps": 101},
    {"steps": 2.5},
    {"steps": "10"},
    {"steps": True},
    {"steps": 10**400},
    {"size": 56},
    {"size": 1032},
    {"size": 65},
    {"size": -64},
    {"size": [64, 64]},
    {"guidance": -0.1},
    {"guidance": 30.1},
    {"guidance": float("nan")},
    {"guidance": float("inf")},
    {"guidance": "high"},
    {"guidance": 10**400},
    {"count": 0},
    {"count": 5},
    {"seed": -1},
    {"seed": 2**32},
    {"seed": None},
    {"scheduler": "nope"},
    {"scheduler": "../ddim"},
    {"scheduler": {"type": "DDIMScheduler"}},
    {"model": "other"},
    {"unknown": 1},
    {"prompt_weights": "yes"},
    {"prompt": "a (red:1.3) cat", "prompt_weights": True},
    {"prompt": "a (red)99 cat", "prompt_weights": True},
    {"scales": [1.0]},
    {"scales": "1.0"},
    {"image": "../../etc/passwd"},
    {"image": "nothing.png"},
    {"image": 5},
    {"mask": "nothing.png"},
    {"strength": 0},
    {"strength": 1.01},
    {"strength": float("nan")},
]
BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"a red cat"',
    b"\xff\xfe\x00",
    b'{"prompt": "a red cat", "steps": 1' + b"0" * 5000 + b"}",
    b"[" * 100_000,
]


def test_malformed_orders_are_refused_in_one_sentence(server: Server) -> None:
    assert len(MALFORMED) + len(BODIES) >= 30
    before = server.health()["answered"]
    for order in MALFORMED:
        body = json.dumps({"prompt": "a red cat", "steps": 1, **order}).encode()
        refused(*raw(server, "POST", "/v1/images", body, content_type="application/json"))
    for body in BODIES:
        refused(*raw(server, "POST", "/v1/images", body, content_type="application/json"))
    assert server.health()["answered"] == before


def test_a_refusal_names_what_was_found_and_what_is_expected(server: Server) -> None:
    assert server.ask(steps=101).json()["error"] == "steps is 101; use 1 to 100."
    assert server.ask(size=65).json()["error"] == "size is 65; use 64 to 1024 in steps of 8."
    assert server.ask(prompt="x" * 1001).json()["error"] == "prompt has 1,001 characters; 1,000 are the most."


def test_malformed_events_of_the_page_are_refused(server: Server) -> None:
    join = "/gradio_api/queue/join"
    events: list[Any] = [
        {}, [], None, {"data": []}, {"data": [], "fn_index": 0}, {"data": [], "fn_index": 0, "session_hash": 5},
        {"data": [], "fn_index": 9999, "session_hash": "a"}, {"data": [], "fn_index": -1, "session_hash": "a"},
        {"data": "x", "fn_index": 0, "session_hash": "a"}, {"data": [], "fn_index": "0", "session_hash": "a"},
        {"data": [], "fn_index": True, "session_hash": "a"}, {"data": [], "fn_index": 0, "session_hash": "../a"},
        {"data": [], "fn_index": 0, "session_hash": "a", "event_data": 7, "trigger_id": "x"},
    ]  # fmt: skip
    for event in events:
        refused(*raw(server, "POST", join, json.dumps(event).encode(), content_type="application/json"))
    for path in ("/gradio_api/queue/data", "/gradio_api/queue/data?session_hash=../x", "/gradio_api/heartbeat/.."):
        refused(*raw(server, "GET", path))


def test_only_what_the_page_needs_is_open(server: Server) -> None:
    for path in (
        "upload",
        "run/predict",
        "api/predict",
        "call/predict",
        "component_server",
        "stream/1",
        "vibe-edit",
        "reset",
        "cancel",
    ):
        body = b'{"data": [], "session_hash": "a"}'
        refused(*raw(server, "POST", f"/gradio_api/{path}", body, content_type="application/json"))
    for path in ("/docs", "/redoc", "/monitoring", "/gradio_api/runs", "/login", "/gradio_api/proxy=http://127.0.0.1"):
        refused(*raw(server, "GET", path))
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"):
        assert raw(server, method, "/v1/images")[0] == 405
    assert raw(server, "GET", "/v1/images")[0] == 405


@pytest.mark.parametrize(
    "path",
    [
        "/v1/images/../config.yaml",
        "/v1/images/..%2fconfig.yaml",
        "/v1/images/%2e%2e%2fconfig.yaml",
        "/v1/images/..%5cconfig.yaml",
        "/v1/images//etc/passwd",
        "/v1/images/%2fetc%2fpasswd",
        "/v1/images/config.yaml",
        "/static/../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/svelte/../../etc/passwd",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../config.yaml",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/file%3d/etc/passwd",
        "/../../etc/passwd",
    ],
)
def test_no_file_outside_the_pictures_is_handed_out(server: Server, path: str) -> None:
    assert (server.folder / "config.yaml").exists()
    status, body = raw(server, "GET", path)
    refused(status, body)


def test_a_foreign_host_or_origin_is_refused(server: Server) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.", "", "[::1]:80", "localhost:80:80"):
        assert "is not known by that name" in refused(*raw(server, "GET", "/v1/health", host=host))
    assert raw(server, "GET", "/v1/health", host="LOCALHOST:1")[0] == 200
    order = b'{"prompt": "a red cat", "steps": 1}'
    json_type = {"content_type": "application/json"}
    assert raw(server, "POST", "/v1/images", order, origin="http://evil.example", **json_type)[0] == 403
    assert raw(server, "POST", "/v1/images", order, origin=server.url, **json_type)[0] == 200
    # What a form of another site can send without asking:
    assert raw(server, "POST", "/v1/images", order, content_type="text/plain")[0] == 415


def test_a_body_above_the_limit_is_refused_before_it_is_kept(server: Server) -> None:
    large = b'{"prompt": "' + b"x" * 5_000_000 + b'"}'
    status, body = raw(server, "POST", "/v1/images", b"{}", content_type="application/json", expect="")
    refused(status, body)

    def pieces() -> Any:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    for content in (large, pieces()):
        try:
            answer = httpx.post(
                f"{server.url}/v1/images", content=content, headers={"content-type": "application/json"}, timeout=60
            )
        except httpx.WriteError:
            continue  # the server closed the connection without reading on
        assert answer.status_code == 413
        refused(answer.status_code, answer.content)


def test_two_hundred_requests_are_answered_change_no_picture_and_leave_no_memory(server: Server) -> None:
    alone = server.ask(seed=11, steps=2)
    for seed in range(8):  # then the buffers are there that every later picture uses again
        server.ask(seed=seed)
    before = server.memory

    def ask(number: int) -> httpx.Response:
        return server.ask(seed=11, steps=2) if number % 10 == 0 else server.ask(seed=number)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(200)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    same = [answer for answer in answers[::10] if answer.status_code == 200]
    assert len(same) >= 10
    assert all(answer.content == alone.content for answer in same)
    assert server.memory - before < 50 * MEGABYTE


def leave(server: Server, seconds: float, **order: Any) -> None:
    """Ask, and hang up after a while."""
    body = json.dumps({"prompt": "a red cat", **order}).encode()
    with socket.create_connection(server.host) as connection:
        head = f"POST /v1/images HTTP/1.1\r\nHost: {server.host[0]}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(seconds)


LONG = {"steps": 100, "size": 512, "scheduler": "heun"}
"""Minutes of work on a slow machine."""


def test_a_client_that_leaves_frees_the_model(server: Server) -> None:
    answered = server.health()["answered"]
    leave(server, 1.0, **LONG)
    start = time.monotonic()
    assert server.ask().status_code == 200
    assert time.monotonic() - start < 20  # one step of the long one and the whole of the short one
    assert server.health()["answered"] == answered + 1


def test_a_full_queue_is_a_503_with_a_sentence(server: Server) -> None:
    with ThreadPoolExecutor(41) as pool:
        blocking = pool.submit(leave, server, 4.0, **LONG)
        time.sleep(1)
        answers = list(pool.map(lambda seed: server.ask(seed=seed), range(40)))
        blocking.result()
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 503} and codes.count(200) == 32
    full = next(answer for answer in answers if answer.status_code == 503)
    assert full.headers["retry-after"] == "60"
    sentence = full.json()["error"]
    assert sentence == "32 requests are waiting already; try again in a minute."


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    nothing: Any = None
    with pytest.raises(
        UserError, match=r"^task=serve needs gradio; type: pip install -c constraints\.txt -e '\.\[web\]'$"
    ):
        run(Serve(), nothing, nothing, {}, {}, tmp_path, print)


def test_a_port_in_use_is_named(server: Server) -> None:
    with pytest.raises(UserError, match=r"cannot be listened on .*; use another one, or serve\.port=0 for any"):
        listen(Serve(port=server.host[1]))


def test_credentials_rate_and_end(tmp_path: Path) -> None:
    credentials = tmp_path / "login"
    credentials.write_text("ada:correct horse\n")
    credentials.chmod(0o600)
    with serving(tmp_path, f"serve.credentials={credentials}", "serve.rate=3", "serve.keep=1") as server:
        assert raw(server, "GET", "/")[0] == 401
        assert httpx.get(f"{server.url}/v1/health", auth=("ada", "wrong horse")).status_code == 401
        me = ("ada", "correct horse")
        assert httpx.get(f"{server.url}/v1/health", auth=me).json()["models"] == ["base"]
        order = {"prompt": "a red cat", "steps": 1}
        answers = [httpx.post(f"{server.url}/v1/images", json=order, auth=me, timeout=60) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]  # the wrong password counts too
        assert 1 <= int(answers[2].headers["retry-after"]) <= 60
        assert len(list((server.folder / "images").glob("*.png"))) == 1
        recorded = "".join(path.read_text(errors="replace") for path in server.folder.glob("*.*"))
        assert "correct horse" not in recorded
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=30) == 130
        assert json.loads((server.folder / "metrics.json").read_text()) == {"answered": 2.0, "pictures": 2.0}
