"""`scc serve`: a real process behind real sockets, its limits, its batches and its end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from typing import Any

import pytest
from adapters import ScriptedModel, dense, document, model, paragraph, run, said
from conftest import Scc

from compressor_cli import compress
from compressor_cli.core.generation import Prompt, Sampling
from compressor_cli.engines.adapter_batching import Batching
from compressor_cli.engines.adapter_model import close_model, open_model
from compressor_cli.engines.options import Options
from compressor_cli.errors import SccError, UsageError
from compressor_cli.settings import CompressSettings, ServeSettings
from compressor_cli.stages.serve import compress_request, serve

__all__ = ["model", "run"]  # fixtures
TOKEN = "a-token-of-the-test"
Answer = tuple[int, Any, HTTPMessage]


@contextmanager
def serving(*args: str, env: Mapping[str, str] | None = None) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "compressor_cli", "serve", "--port", "0", *args]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.match(r"http://[^ ]*:(\d+): ", line)
    assert found, line + process.stderr.read()
    try:
        yield process, int(found[1])
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    try:
        connection.request(method, path, data, headers)
        reply = connection.getresponse()
        text = reply.read()
        is_json = reply.headers["content-type"] == "application/json"
        return reply.status, json.loads(text) if is_json else text.decode(), reply.headers
    finally:
        connection.close()


def metric(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    assert found, text
    return float(found[1])


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    clean = {name: "" for name in os.environ if name.startswith("SCC_")}
    with serving(env={**clean, "SCC_SERVE__MAX_BYTES": "100000", "SCC_SERVE__TIMEOUT": "2"}) as (_, found):
        yield found


def test_the_answer_is_the_receipt(port: int, scc: Scc, work: Path) -> None:
    (work / "in.txt").write_text(document(2))
    printed = json.loads(scc("compress", "--json", "--rate", "0.6", "in.txt").stdout)
    status, receipt, headers = ask(port, "POST", "/compress", {"text": document(2), "rate": 0.6, "filename": "in.txt"})
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert {**receipt, "seconds": 0} == {**printed, "seconds": 0}
    told = {"text": document(1), "max_tokens": 70, "protect": ["numbers"], "query": "Which pump?", "map": True}
    status, receipt, _ = ask(port, "POST", "/compress", told)
    assert status == 200 and receipt["tokens_out"] <= 70 and receipt["map"]
    chat = {"messages": [{"role": "user", "content": document(1)}, *({"role": "user", "content": "Hi"},) * 3]}
    status, receipt, _ = ask(port, "POST", "/compress", {"text": chat, "chat": True})
    assert status == 200 and json.loads(receipt["compressed"])["messages"][1]["content"] == "Hi"


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[" * 99_000, 400, "not JSON"),
        ([], 400, "an object is needed"),
        ({}, 400, "text: a string is needed"),
        ({"text": 3}, 400, "text: a string is needed"),
        ({"text": " "}, 400, "the input is empty"),
        ({"text": "a b c", "rate": 7}, 400, "outside"),
        ({"text": "a b c", "rate": "x"}, 400, "rate: a number is needed"),
        ({"text": "a b c", "colour": 1}, 400, "no such field: colour"),
        ({"text": "a b c", "adapter": "/etc"}, 400, "no such field: adapter"),
        ({"text": "a b c", "tokenizer": "/etc/x.json"}, 400, "no such field: tokenizer"),
        ({"text": "a b c", "rate": 0.5, "max_tokens": 5}, 400, "exclude each other"),
        ({"text": "a b c", "engine": "adapter"}, 400, "which one"),
        ({"text": "a b c", "protect_pattern": "("}, 400, "--protect-pattern"),
        ({"text": document(1), "max_tokens": 5}, 422, "tokens"),
        (b"x" * 100_001, 413, "larger than 100000 bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(body: Any, status: int, error: str, port: int) -> None:
    found, told, _ = ask(port, "POST", "/compress", body)
    assert (found, error in told["error"], "\n" in told["error"]) == (status, True, False), told
    if status == 422:
        assert ask(port, "POST", "/compress", {**body, "max_tokens": told["tokens_needed"]})[0] == 200


def test_paths_and_methods(port: int) -> None:
    assert ask(port, "GET", "/healthz")[:2] == (200, {"status": "ok"})
    assert ask(port, "GET", "/healthz?x=1")[0] == 200
    assert ask(port, "GET", "/")[0] == 404
    status, _, headers = ask(port, "GET", "/compress")
    assert status == 405 and headers["Allow"] == "POST"
    assert ask(port, "POST", "/compress", {"text": "a b"}, Origin="http://evil.example")[0] == 403


def raw(port: int, data: bytes, *, wait: float = 10) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        connection.sendall(data)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


HOST = b"Host: localhost\r\n"
POST = b"POST /compress HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b" 400 "),
        (b"GET / SPDY/3\r\n\r\n", b" 400 "),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", b" 400 "),
        (b"GET /healthz HTTP/1.1\r\n\r\n", b" 400 "),
        (POST + b"Content-Length: -1\r\n\r\n", b" 400 "),
        (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b" 400 "),
        (POST + b"Content-Length: 50\r\n\r\n{", b" 408 "),
        (CHUNKED + b"1\r\n{\r\n", b" 408 "),
        (b"GET /healthz HTTP/1.0\r\n\r\n", b" 200 "),
        (b"GET /healthz HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n", b" 200 "),
    ],
)
def test_the_connection_ends_with_the_reply(data: bytes, status: bytes, port: int) -> None:
    reply = raw(port, data)
    assert status in reply.split(b"\r\n")[0] + b" " and b"connection: close" in reply.lower()


def test_a_body_in_chunks_has_the_same_limit(port: int) -> None:
    def chunks(size: int) -> bytes:
        body = json.dumps({"text": "a b c" + " " * size}).encode()
        parts = [body[place : place + 9000] for place in range(0, len(body), 9000)]
        return CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"

    assert raw(port, chunks(90_000)).startswith(b"HTTP/1.1 200 ")
    reply = raw(port, chunks(110_000))
    assert reply.startswith(b"HTTP/1.1 413 ") and json.loads(reply.partition(b"\r\n\r\n")[2])["error"]
    assert raw(port, POST + b"Content-Length: 110000\r\n\r\n").startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [b"GET /heal"],
        [b"G", b"E", b"T", b" ", b"/", b"h"] * 3,
        [CHUNKED, *[b"9000\r\n" + b"x" * 0x9000 + b"\r\n"] * 30],
    ],
)
def test_who_sends_no_request_to_the_end_is_cut_off(sent: list[bytes], port: int) -> None:
    """A byte now and then does not put the deadline of two seconds off, nor does a body that was refused."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, suppress(ConnectionError):
        for data in sent:
            connection.sendall(data)
            time.sleep(0.3)
        while connection.recv(65536):
            pass
    assert 1 < time.monotonic() - began < 12


def test_a_client_that_goes_away_is_no_bug() -> None:
    with serving() as (process, port):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(POST + b"Content-Length: 50\r\n\r\n{")
        while metric(ask(port, "GET", "/metrics")[1], "scc_errors_total") < 1:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143 and process.stderr is not None
        assert process.stderr.read().count("\n") == 1


def test_a_connection_is_used_again_and_an_idle_one_is_closed(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    for _ in range(3):
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b'{"status": "ok"}\n'
    assert connection.sock is not None
    began = time.monotonic()
    assert connection.sock.recv(10) == b"" and time.monotonic() - began < 10
    connection.close()
    body = json.dumps({"text": "a b c"}).encode()
    head = POST + b"Content-Length: %d\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as waiting:
        waiting.sendall(head)
        assert waiting.recv(100).startswith(b"HTTP/1.1 100 ")
        waiting.sendall(body)
        assert waiting.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_metrics_add_up(port: int) -> None:
    before = ask(port, "GET", "/metrics")[1]
    good = [ask(port, "POST", "/compress", {"text": document(1)})[1] for _ in range(3)]
    ask(port, "POST", "/compress", b"{")
    after = ask(port, "GET", "/metrics")[1]

    def grown(name: str) -> float:
        return metric(after, name) - (metric(before, name) if re.search(rf"^{re.escape(name)} ", before, re.M) else 0)

    assert grown('scc_requests_total{path="/compress",status="200"}') == 3
    assert grown('scc_requests_total{path="/compress",status="400"}') == 1 and grown("scc_errors_total") == 1
    assert grown("scc_tokens_in_total") == sum(receipt["tokens_in"] for receipt in good)
    assert grown("scc_tokens_out_total") == sum(receipt["tokens_out"] for receipt in good)
    assert grown("scc_request_seconds_count") == 4 == grown('scc_request_seconds_bucket{le="+Inf"}')
    assert metric(after, "scc_requests_in_work") == 0 and metric(after, "scc_request_seconds_sum") > 0
    for line in after.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? [\d.e+-]+", line), line


def test_a_token_is_asked_for(work: Path) -> None:
    (work / "token").write_text(f"{TOKEN}\n")
    with serving("--host", "0.0.0.0", "--token-file", "token") as (_, port):
        body = {"text": "one two three"}
        assert ask(port, "GET", "/healthz")[0] == 200
        status, told, headers = ask(port, "POST", "/compress", body)
        assert status == 401 and headers["WWW-Authenticate"] == "Bearer" and TOKEN not in told["error"]
        for wrong in ("Bearer wrong", f"Basic {TOKEN}", "Bearer", TOKEN, "Bearer \xe9"):
            assert ask(port, "POST", "/compress", body, Authorization=wrong)[0] == 401
        assert ask(port, "GET", "/metrics")[0] == 401
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:  # without waiting for the body
            connection.sendall(POST + b"Content-Length: 50\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
        assert (
            ask(port, "POST", "/compress", body, Authorization=f"Bearer {TOKEN}", Origin="http://a.example")[0] == 200
        )


@pytest.mark.parametrize(
    ("args", "env", "message"),
    [
        (["--host", "0.0.0.0"], {}, "a token is needed"),
        (["--host", "::"], {}, "a token is needed"),
        (["--token-file", "none"], {}, "No such file"),
        (["--token-file", "empty"], {}, "a token is one word"),
        (["--token-file", "empty"], {"SCC_SERVE__TOKEN": "x"}, "exclude each other"),
        (["--config", "c.yaml"], {}, "holds no keys"),
        (["--engine", "adapter"], {}, "which one"),
        (["--model", "nowhere"], {}, "no such folder"),
        (["--port", "70000"], {}, "serve.port"),
    ],
)
def test_what_keeps_it_from_starting(
    args: list[str], env: dict[str, str], message: str, work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "empty").write_text("")
    (work / "c.yaml").write_text("serve: {token: secret}\n")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    done = scc("serve", *args)
    assert done.exit_code == 2 and message in done.stderr and "secret" not in done.stderr


def test_a_port_that_is_taken(port: int, scc: Scc) -> None:
    done = scc("serve", "--port", str(port))
    assert done.exit_code == 1 and f"cannot listen on 127.0.0.1:{port}: Address already in use\n" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_once_all_is_answered(number: int, code: int) -> None:
    with serving() as (process, port), ThreadPoolExecutor(4) as pool:
        idle = socket.create_connection(("127.0.0.1", port))
        long = "\n\n".join(document(40).replace("Part", f"Part {n}") for n in range(2))
        asked = [pool.submit(ask, port, "POST", "/compress", {"text": long}) for _ in range(3)]
        while metric(ask(port, "GET", "/metrics")[1], "scc_requests_in_work") < 3:
            time.sleep(0.01)
        process.send_signal(number)
        assert [future.result()[0] for future in asked] == [200] * 3
        assert process.wait(20) == code
        assert process.stderr is not None and "Traceback" not in process.stderr.read()
        idle.close()


def test_a_second_signal_does_not_wait() -> None:
    with serving() as (process, port), ThreadPoolExecutor(1) as pool:
        long = "\n\n".join(document(400).replace("Part", f"Part {n}") for n in range(4))
        asked = pool.submit(ask, port, "POST", "/compress", {"text": long})
        while metric(ask(port, "GET", "/metrics")[1], "scc_requests_in_work") < 1:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None and "stopping" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 143
        assert process.stderr.read() == "1 requests were dropped\n"
        assert asked.result()[0] == 503


def test_what_takes_longer_than_the_grace_is_dropped() -> None:
    with serving(env={"SCC_SERVE__GRACE": "0.5"}) as (process, port), ThreadPoolExecutor(1) as pool:
        long = "\n\n".join(document(400).replace("Part", f"Part {n}") for n in range(4))
        asked = pool.submit(ask, port, "POST", "/compress", {"text": long})
        while metric(ask(port, "GET", "/metrics")[1], "scc_requests_in_work") < 1:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert asked.result()[0] == 503 and process.wait(5) == 143
        assert process.stderr is not None and process.stderr.read().endswith("\n1 requests were dropped\n")


def test_without_the_extra_it_is_one_line(scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "compressor_cli.stages.serve.app", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = scc("serve", "--port", "0")
    assert done.exit_code == 2 and "'uvicorn', which is not installed" in done.stderr
    assert "pip install 'compressor-cli[serve]'" in done.stderr


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_ipv6() -> None:
    with serving("--host", "::1") as (_, port), socket.create_connection(("::1", port), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")


# In this process, with a model that a test scripts.


@contextmanager
def served(settings: ServeSettings, defaults: CompressSettings) -> Iterator[int]:
    """In the main thread of a test there is no room for it: in another, which a `Stop` ends."""
    ports: list[int] = []
    ready = threading.Event()
    stops: list[Any] = []

    @contextmanager
    def no_signals(stop: Any, tell: Any) -> Iterator[None]:
        stops.append(stop)
        yield

    def on_ready(url: str, engine: str) -> None:
        ports.append(int(url.rpartition(":")[2]))
        ready.set()

    patch = pytest.MonkeyPatch()
    patch.setattr("compressor_cli.stages.serve.app.stopped_by_signals", no_signals)
    thread = threading.Thread(
        target=serve, args=(settings, defaults), kwargs={"on_ready": on_ready, "tell": print}, daemon=True
    )
    thread.start()
    assert ready.wait(30)
    try:
        yield ports[0]
    finally:
        stops[0].ask(15)
        thread.join(30)
        patch.undo()
        assert not thread.is_alive()


def test_requests_that_come_together_go_to_the_model_together(model: ScriptedModel, run: Path) -> None:
    model.gate = threading.Event()
    with served(ServeSettings(port=0), CompressSettings(adapter=str(run))) as port, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, port, "POST", "/compress", {"text": document(2) + f" {n}"}) for n in range(6)]
        while metric(ask(port, "GET", "/metrics")[1], "scc_requests_in_work") < 6:
            time.sleep(0.01)
        time.sleep(0.3)
        model.gate.set()
        replies = [future.result() for future in asked]
        metrics = ask(port, "GET", "/metrics")[1]
    assert [status for status, _, _ in replies] == [200] * 6
    assert {receipt["engine"] for _, receipt, _ in replies} == {"adapter"}
    assert len({receipt["compressed"] for _, receipt, _ in replies}) == 6
    sizes = [len(batch) for batch in model.batches]
    assert sum(sizes) == 12 and len(sizes) <= 3 and max(sizes) >= 6, sizes
    assert metric(metrics, "scc_batches_total") == len(sizes) and metric(metrics, "scc_prompts_total") == 12
    assert len(model.threads) == 1 and model.closed == 1 and len(model.opened) == 1


def test_too_many_are_told_to_come_again(model: ScriptedModel, run: Path) -> None:
    model.gate = threading.Event()
    settings = ServeSettings(port=0, queue=2)
    with served(settings, CompressSettings(adapter=str(run))) as port, ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask, port, "POST", "/compress", {"text": paragraph(n)}) for n in range(2)]
        while metric(ask(port, "GET", "/metrics")[1], "scc_requests_in_work") < 2:
            time.sleep(0.01)
        status, _, headers = ask(port, "POST", "/compress", {"text": paragraph(3)})
        assert status == 503 and headers["Retry-After"] == "1"
        assert ask(port, "GET", "/healthz")[0] == 200
        model.gate.set()
        assert [future.result()[0] for future in asked] == [200, 200]


def test_there_is_a_limit_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compressor_cli.stages.serve.app._CONNECTIONS", 2)
    with served(ServeSettings(port=0), CompressSettings()) as port:
        assert ask(port, "GET", "/healthz")[0] == 200
        with socket.create_connection(("127.0.0.1", port)):
            assert ask(port, "GET", "/healthz")[0] == 503


def test_a_model_that_is_gone_is_a_bad_gateway(
    model: ScriptedModel, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(text: str, prompt: Prompt) -> str:
        if "number 7 " in text:
            raise SccError("the model is gone")
        if "number 8 " in text:
            raise ZeroDivisionError
        return dense(text)

    model.answer = broken
    with served(ServeSettings(port=0), CompressSettings(adapter=str(run), engine="adapter")) as port:
        status, told, _ = ask(port, "POST", "/compress", {"text": paragraph(7)})
        assert (status, told["error"]) == (502, "the model is gone")
        status, told, _ = ask(port, "POST", "/compress", {"text": paragraph(8)})
        assert status == 500 and "bug" in told["error"]
        assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]
        assert ask(port, "POST", "/compress", {"text": paragraph(9)})[1]["engine"] == "adapter"
        assert ask(port, "POST", "/compress", {"text": paragraph(9), "engine": "prose"})[1]["engine"] == "prose"


def test_a_wrong_type_is_for_the_client_alone(recwarn: pytest.WarningsRecorder) -> None:
    """Nothing of a request is to stand in the log of the server."""
    with pytest.raises(UsageError, match="a number is needed"):
        compress_request(b'{"text": "one two", "rate": "a secret"}', CompressSettings())
    assert not recwarn.list


def test_defaults_give_way_to_what_a_request_says(model: ScriptedModel, run: Path) -> None:
    defaults = CompressSettings(rate=0.9, adapter=str(run), model="base")
    receipt = compress_request(json.dumps({"text": document(1), "max_tokens": 100}).encode(), defaults)
    assert receipt.tokens_out <= 100
    receipt = compress_request(json.dumps({"text": document(1), "task": "chat"}).encode(), defaults)
    assert any("task chat" in warning for warning in receipt.warnings)
    receipt = compress_request(json.dumps({"text": document(1), "engine": "prose"}).encode(), defaults)
    assert receipt.engine == "prose" and receipt.rate == 0.9


def test_a_shared_model_fails_for_those_who_asked(model: ScriptedModel) -> None:
    shared = Batching(lambda: model)
    prompts = [Prompt(({"role": "user", "content": word},), 5) for word in ("one", "two", "three")]
    assert {place: answer.text for place, answer in shared.generate(prompts, Sampling())} == {
        0: "one",
        1: "two",
        2: "three",
    }
    model.answer = lambda text, prompt: said("", error="gone")
    assert [answer.error for _, answer in shared.generate(prompts[:1], Sampling())] == ["gone"]
    shared.close()
    assert model.closed == 1
    with pytest.raises(SccError, match="is closed"):
        list(shared.generate(prompts, Sampling()))

    def cannot() -> ScriptedModel:
        raise UsageError("no such model")

    with pytest.raises(UsageError, match="no such model"):
        Batching(cannot)


def test_a_wrapped_model_is_what_compress_finds(model: ScriptedModel, run: Path) -> None:
    open_model(Options(adapter=str(run)), Batching)
    assert compress(paragraph(1), adapter=str(run)).engine == "adapter"
    assert threading.get_ident() not in model.threads and len(model.opened) == 1
    close_model()
