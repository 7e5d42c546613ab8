"""The clients with the real SDKs against a loopback server: what is sent, what is read, what each failure becomes."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO
from provider_server import KEY, ProviderServer, Reply, google_error, serving

from compressor_cli.chat import Chat
from compressor_cli.chat.clients import open_chat, service_of
from compressor_cli.errors import (
    BadRequestError,
    MissingExtraError,
    MissingKeyError,
    QuotaError,
    RateLimitedError,
    SccError,
    UnavailableError,
    UsageError,
)
from compressor_cli.records import ChatMessage, ChatReply, ChatRequest, Usage
from compressor_cli.settings import ChatSettings

SCHEMA = {
    "type": "object",
    "properties": {"compressed": {"type": "string"}, "kept": {"type": "integer"}},
    "required": ["compressed", "kept"],
    "additionalProperties": False,
}
MODELS = {
    "anthropic": "anthropic:claude-test",
    "openai": "openai:gpt-test",
    "google": "google:gemini-test",
    "local": "local:tiny",
}
VARIABLES = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY", "google": "GEMINI_API_KEY"}
every = pytest.mark.parametrize("provider", MODELS)
hosted = pytest.mark.parametrize("provider", VARIABLES)
HELLO = ChatRequest((ChatMessage("user", "Hello."),))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with serving() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


Asks = Callable[..., ChatReply]


def settings_for(server: ProviderServer, **changes: Any) -> ChatSettings:
    """One attempt, so that a failure is seen as the client makes it."""
    url = f"http://127.0.0.1:{server.port}/local/v1"
    return ChatSettings(**{"base_url": url, "attempts": 1, "no_cache": True, "timeout": 5} | changes)


def with_chat(name: str, settings: ChatSettings, use: Callable[[Chat], Awaitable[Any]], notes: list[str]) -> Any:
    async def run() -> Any:
        chat = open_chat(name, settings, notes.append)
        try:
            return await use(chat)
        finally:
            await chat.aclose()

    return asyncio.run(run())


def ask(server: ProviderServer, provider: str, request: ChatRequest = HELLO, **changes: Any) -> ChatReply:
    notes: list[str] = changes.pop("notes", [])
    reply = with_chat(MODELS[provider], settings_for(server, **changes), lambda chat: chat.ask(request), notes)
    assert isinstance(reply, ChatReply)
    return reply


def failure(server: ProviderServer, provider: str, *scripted: Reply, **changes: Any) -> SccError:
    server.script.extend(scripted)
    with pytest.raises(SccError) as caught:
        ask(server, provider, **changes)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None and caught.value.__cause__ is None
    return caught.value


@every
def test_a_question_and_its_answer(provider: str, server: ProviderServer) -> None:
    server.answer = lambda request: "Guten Tag – 你好."
    request = ChatRequest(
        (ChatMessage("user", "Hello."), ChatMessage("assistant", "Hm?"), ChatMessage("user", "In German.")),
        system="Be brief.",
        max_tokens=99,
    )
    reply = ask(server, provider, request)
    assert (reply.text, reply.stop) == ("Guten Tag – 你好.", "end")
    assert reply.model == MODELS[provider].partition(":")[2]
    assert reply.request_id and reply.usage.input_tokens > 5 and reply.usage.output_tokens > 3
    assert (reply.cached, reply.cost_usd) == (False, None) and 0 < reply.seconds < 5
    (sent,) = server.requests
    assert sent.provider == provider
    texts = ["Hello.", "Hm?", "In German."]
    if provider == "google":
        assert [part["text"] for content in sent.body["contents"] for part in content["parts"]] == texts
        assert [content["role"] for content in sent.body["contents"]] == ["user", "model", "user"]
        assert sent.body["systemInstruction"]["parts"][0]["text"] == "Be brief."
        assert sent.body["generationConfig"] == {"maxOutputTokens": 99}
        return
    messages = [message["content"] for message in sent.body["messages"]]
    if provider == "anthropic":
        assert (sent.body["system"], sent.body["max_tokens"], messages) == ("Be brief.", 99, texts)
    else:
        assert messages == ["Be brief.", *texts]
        assert sent.body["max_tokens" if provider == "local" else "max_completion_tokens"] == 99
    assert not {"temperature", "seed", "response_format", "output_config", "sample"} & sent.body.keys()


@every
def test_connections_are_kept_one_for_each_request_at_once(provider: str, server: ProviderServer) -> None:
    server.latency = 0.05

    async def use(chat: Chat) -> list[int]:
        counts = []
        for at_once in (1, 1, 6, 3, 6):
            await asyncio.gather(*(chat.ask(HELLO) for _ in range(at_once)))
            counts.append(len(server.connections))
        return counts

    assert with_chat(MODELS[provider], settings_for(server), use, []) == [1, 1, 6, 6, 6]


@every
def test_an_answer_in_the_form_of_a_schema(provider: str, server: ProviderServer) -> None:
    server.answer = lambda request: '{"compressed": "x", "kept": 1}'
    request = ChatRequest(HELLO.messages, schema=SCHEMA, schema_name="pair")
    assert ask(server, provider, request).text == '{"compressed": "x", "kept": 1}'
    body = server.requests[0].body
    if provider == "anthropic":
        assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    elif provider == "google":
        config = body["generationConfig"]
        assert config["responseMimeType"] == "application/json"
        assert config["responseJsonSchema"] == SCHEMA
    else:
        form = {"name": "pair", "schema": SCHEMA, "strict": True}
        assert body["response_format"] == {"type": "json_schema", "json_schema": form}


UNSUPPORTED = {
    name: Reply(400, {"error": {"message": f"{name} does not apply", "type": "invalid_request_error",
                                "param": name, "code": "unsupported_value"}})
    for name in ("temperature", "seed")
}  # fmt: skip


@every
def test_what_a_model_does_not_take_is_told_once(provider: str, server: ProviderServer) -> None:
    request = ChatRequest(HELLO.messages, temperature=0.5, seed=7)
    notes: list[str] = []
    if provider == "openai":
        server.script.extend(UNSUPPORTED.values())

    async def twice(chat: Chat) -> None:
        await chat.ask(request)
        await chat.ask(request)

    with_chat(MODELS[provider], settings_for(server), twice, notes)
    *_, last = server.requests
    name = MODELS[provider]
    if provider in ("anthropic", "openai"):
        assert not {"temperature", "seed"} & last.body.keys()
        assert notes == [f"{name} takes no temperature: not sent", f"{name} takes no seed: not sent"]
        assert len(server.requests) == (4 if provider == "openai" else 2)
    else:
        options = last.body.get("generationConfig", last.body)
        assert (options["temperature"], options["seed"], notes) == (0.5, 7, [])


def test_a_temperature_out_of_range_is_a_bad_request(server: ProviderServer) -> None:
    error = {"message": "too hot", "type": "invalid_request_error", "param": "temperature", "code": "invalid_value"}
    server.script.append(Reply(400, {"error": error}))
    with pytest.raises(BadRequestError, match="too hot"):
        ask(server, "openai", ChatRequest(HELLO.messages, temperature=9))


def anthropic_answer(**changes: Any) -> Reply:
    usage = {"input_tokens": 10, "output_tokens": 7, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20}
    content = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "Yes."}]
    body = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": content, "usage": usage,
            "stop_reason": "end_turn", "stop_sequence": None}  # fmt: skip
    return Reply(200, body | changes)


def openai_answer(finish: str = "stop", **message: Any) -> Reply:
    usage = {"prompt_tokens": 130, "completion_tokens": 7, "total_tokens": 137,
             "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 20},
             "completion_tokens_details": {"reasoning_tokens": 5}}  # fmt: skip
    choice = {"index": 0, "message": {"role": "assistant", "content": "Yes."} | message, "finish_reason": finish}
    return Reply(200, {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice],
                       "usage": usage})  # fmt: skip


def google_answer(finish: str = "STOP", **changes: Any) -> Reply:
    parts = [{"text": "hm", "thought": True}, {"text": "Yes."}]
    usage = {"promptTokenCount": 130, "candidatesTokenCount": 2, "thoughtsTokenCount": 5, "totalTokenCount": 137,
             "cachedContentTokenCount": 100}  # fmt: skip
    candidate = {"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": finish}
    body = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r"}
    return Reply(200, body | changes)


@pytest.mark.parametrize(
    ("provider", "answer", "usage"),
    [
        ("anthropic", anthropic_answer(), Usage(130, 7, 100, 20)),
        ("openai", openai_answer(), Usage(130, 7, 100, 20)),
        ("google", google_answer(), Usage(130, 7, 100)),
    ],
)
def test_usage_is_all_of_the_input_and_all_of_the_output(
    provider: str, answer: Reply, usage: Usage, server: ProviderServer
) -> None:
    server.script.append(answer)
    reply = ask(server, provider)
    assert (reply.text, reply.model, reply.usage) == ("Yes.", "m", usage)


@pytest.mark.parametrize(
    ("provider", "answer", "stop"),
    [
        ("anthropic", anthropic_answer(stop_reason="stop_sequence"), "end"),
        ("anthropic", anthropic_answer(stop_reason="max_tokens"), "length"),
        ("anthropic", anthropic_answer(stop_reason="model_context_window_exceeded"), "length"),
        ("anthropic", anthropic_answer(stop_reason="refusal"), "refusal"),
        ("anthropic", anthropic_answer(stop_reason="pause_turn"), "other"),
        ("anthropic", anthropic_answer(stop_reason="refusal", content=[]), "refusal"),
        ("openai", openai_answer("length"), "length"),
        ("openai", openai_answer("length", content=None), "length"),
        ("openai", openai_answer("content_filter"), "refusal"),
        ("openai", openai_answer("stop", content=None, refusal="I cannot."), "refusal"),
        ("openai", openai_answer("tool_calls"), "other"),
        ("google", google_answer("MAX_TOKENS"), "length"),
        ("google", google_answer("CONTINUATION", continuationToken="bW9yZQ=="), "length"),
        ("google", google_answer("SAFETY"), "refusal"),
        ("google", google_answer("OTHER"), "other"),
        ("google", google_answer(candidates=None, promptFeedback={"blockReason": "SAFETY"}), "refusal"),
        ("google", google_answer(candidates=[{"finishReason": "MAX_TOKENS"}]), "length"),
    ],
)
def test_how_an_answer_ended(provider: str, answer: Reply, stop: str, server: ProviderServer) -> None:
    server.script.append(answer)
    assert ask(server, provider).stop == stop
    assert len(server.requests) == 1  # a cut answer is not continued behind our back


ECHO = f"no: {KEY} is what you sent"


@hosted
@pytest.mark.parametrize(
    ("status", "error", "exit_code"),
    [
        (400, BadRequestError, 1),
        (413, BadRequestError, 1),
        (422, BadRequestError, 1),
        (401, UsageError, 2),
        (403, UsageError, 2),
        (404, UsageError, 2),
        (402, QuotaError, 1),
        (408, UnavailableError, 1),
        (409, UnavailableError, 1),
        (429, RateLimitedError, 1),
        (500, UnavailableError, 1),
        (503, UnavailableError, 1),
        (529, UnavailableError, 1),
    ],
)
def test_a_status_becomes_an_error(
    provider: str,
    status: int,
    error: type[SccError],
    exit_code: int,
    server: ProviderServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    found = failure(server, provider, Reply(status, ECHO, {"Retry-After": "7"}))
    assert type(found) is error and found.exit_code == exit_code
    assert str(found).startswith(f"{MODELS[provider]}: {status}: no: *** is what you sent")
    assert provider == "google" or "(request req_1)" in str(found)
    assert len(server.requests) == 1  # no SDK tries again by itself
    assert KEY not in caplog.text + str(found.hint) + repr(found)
    if isinstance(found, RateLimitedError | UnavailableError):
        assert found.retry_after == 7
    if isinstance(found, UnavailableError):
        assert found.maybe_charged is (status == 408)
    if status in (401, 403):
        assert VARIABLES[provider] in str(found.hint)
    if isinstance(found, RateLimitedError | UnavailableError | QuotaError | BadRequestError) and provider != "google":
        assert found.request_id == "req_1"


@every
@pytest.mark.parametrize(
    "body",
    [b"<html>no</html>", b"", b"[]", b"5", b'["no"]', b'{"error": 5}', b'{"error": {"message": ["no"], "details": 5}}',
     b'{"error": {"details": [5, {"violations": [5]}]}}', b"x" * 100_000],
)  # fmt: skip
def test_a_refusal_of_an_unknown_form(provider: str, body: bytes, server: ProviderServer) -> None:
    for status, error in ((400, BadRequestError), (429, RateLimitedError)):
        found = failure(server, provider, Reply(status, body))
        assert type(found) is error and str(found).startswith(f"{MODELS[provider]}: {status}: ")
        assert len(str(found)) < 700


def spent(code: str) -> Json:
    error = {"type": "rate_limit_error", "message": "limit", "details": {"error_code": code}}
    return {"type": "error", "error": error}


Json = dict[str, Any]
VIOLATION = "type.googleapis.com/google.rpc.QuotaFailure"


def google_quota(quota: str, value: str = "50") -> Json:
    violations = [{"quotaMetric": "generate_content_requests", "quotaId": quota, "quotaValue": value}]
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
    return google_error(429, "quota", {"@type": VIOLATION, "violations": violations}, delay)


@pytest.mark.parametrize(
    ("provider", "status", "body"),
    [
        ("anthropic", 429, spent("contract_spend_limit_reached")),
        ("anthropic", 429, spent("enforced_spend_limit_reached")),
        ("anthropic", 403, spent("linked_organization_billing_unavailable")),
        ("anthropic", 400, {"type": "error", "error": {"type": "billing_error", "message": "no credit"}}),
        ("openai", 429, {"error": {"message": "q", "type": "insufficient_quota", "code": "insufficient_quota"}}),
        ("openai", 400, {"error": {"message": "q", "type": "x", "code": "billing_hard_limit_reached"}}),
        ("google", 429, google_quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")),
        ("google", 429, google_quota("GenerateRequestsPerMinutePerProjectPerModel", "0")),
        ("google", 429, google_error(429, "Your project has exceeded its monthly spending cap.")),
    ],
)
def test_spent_quota(provider: str, status: int, body: Json, server: ProviderServer) -> None:
    found = failure(server, provider, Reply(status, body), attempts=6)
    assert isinstance(found, QuotaError)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("provider", "reply", "seconds"),
    [
        ("anthropic", Reply(429, spent("ramp_limit_exceeded"), {"retry-after": "3"}), 3.0),
        ("anthropic", Reply(429, "slow", {"retry-after-ms": "1500", "retry-after": "2"}), 1.5),
        ("openai", Reply(429, "slow", {"retry-after": "nan"}), None),
        ("openai", Reply(429, "slow", {"retry-after": "soon"}), None),
        ("openai", Reply(429, "slow", {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}), 0.0),
        ("google", Reply(429, google_quota("GenerateRequestsPerMinutePerProjectPerModel")), 34.5),
    ],
)
def test_a_rate_limit_says_when_to_come_back(
    provider: str, reply: Reply, seconds: float | None, server: ProviderServer
) -> None:
    found = failure(server, provider, reply)
    assert isinstance(found, RateLimitedError) and found.retry_after == seconds


def test_a_wrong_key_of_google_is_a_400(server: ProviderServer) -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    found = failure(server, "google", Reply(400, google_error(400, "API key not valid.", detail)))
    assert isinstance(found, UsageError) and "GEMINI_API_KEY or GOOGLE_API_KEY" in str(found.hint)


MALFORMED = [
    Reply(200, b'{"id": "x", '),
    Reply(200, b"<html>a proxy</html>", {"Content-Type": "text/html"}),
    Reply(200, b""),
    Reply(200, b"\xff\xfe{}"),
    Reply(200, {}),
    Reply(200, b"[]"),
    Reply(200, b"null"),
    Reply(200, b'"text"'),
    Reply(200, {"id": "x", "content": None, "choices": [], "candidates": [], "model": "m"}),
    Reply(200, {"choices": "x", "candidates": "x", "content": "x", "usage": "x", "usageMetadata": "x"}),
    Reply(200, {"content": [5], "choices": [5], "candidates": [5]}),
    Reply(200, {"content": [{"type": "text", "text": 5}], "choices": [{"message": 5}], "candidates": [{"content": 5}]}),
    Reply(200, {"choices": [{"message": {"content": {"a": 5}}}], "candidates": [{"content": {"parts": 5}}]}),
    Reply(200, b"{}", {"Content-Encoding": "gzip"}),
]


@every
@pytest.mark.parametrize("reply", [*MALFORMED, Reply(200, {}, cut=0), Reply(200, {"a": "b" * 99}, cut=120)])
def test_no_answer_that_can_be_read_may_have_been_charged(provider: str, reply: Reply, server: ProviderServer) -> None:
    found = failure(server, provider, reply)
    assert isinstance(found, UnavailableError) and found.maybe_charged
    assert str(found).startswith(f"{MODELS[provider]}: ") and len(server.requests) == 1


@pytest.mark.parametrize("answer", [anthropic_answer(usage=None), google_answer(usageMetadata=None)])
def test_an_answer_without_usage_cannot_be_charged_for(answer: Reply, server: ProviderServer) -> None:
    assert isinstance(answer.body, dict)
    provider = "google" if "candidates" in answer.body else "anthropic"
    assert isinstance(failure(server, provider, answer), UnavailableError)


def test_a_local_server_may_not_count(server: ProviderServer) -> None:
    answer = openai_answer()
    assert isinstance(answer.body, dict)
    body = {name: value for name, value in answer.body.items() if name != "usage"}
    server.script.append(Reply(200, body))
    notes: list[str] = []
    assert ask(server, "local", notes=notes).usage == Usage(0, 0)
    assert notes == ["local:tiny does not say how many tokens it used: counted as 0"]
    assert isinstance(failure(server, "openai", Reply(200, body)), UnavailableError)


@every
def test_an_answer_that_does_not_come(provider: str, server: ProviderServer) -> None:
    async def use(chat: Chat) -> None:
        await chat.ask(HELLO)  # so that the connection is there
        server.latency = 30
        await chat.ask(HELLO)

    with pytest.raises(UnavailableError) as caught:
        with_chat(MODELS[provider], settings_for(server, timeout=1), use, [])
    assert caught.value.maybe_charged
    assert str(caught.value) == f"{MODELS[provider]}: the connection broke: no answer within 1 seconds"


@every
def test_nobody_there_charges_nothing(provider: str, server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    for variable in ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.setenv(variable, url)
    found = failure(server, provider, base_url=url)
    assert isinstance(found, UnavailableError) and not found.maybe_charged
    assert str(found).startswith(f"{MODELS[provider]}: not reached: ")


@every
def test_text_that_is_no_unicode_is_a_bad_request(provider: str, server: ProviderServer) -> None:
    with pytest.raises(BadRequestError):
        ask(server, provider, ChatRequest((ChatMessage("user", "broken \ud800"),)))
    assert server.requests == []


@hosted
def test_without_a_key_nothing_is_sent(provider: str, server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLES[provider])
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "another")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "another")
    found = failure(server, provider)
    assert isinstance(found, MissingKeyError) and VARIABLES[provider] in str(found.hint)
    for broken in ("sk-ü", "sk one", "sk-a\nb"):
        monkeypatch.setenv(VARIABLES[provider], broken)
        found = failure(server, provider)
        assert type(found) is UsageError and broken not in str(found)
    assert server.requests == []


@hosted
def test_the_key_is_the_one_that_is_named(
    provider: str, server: ProviderServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The SDKs know other variables; the newline is what a key from a file may end with."""
    monkeypatch.setenv(VARIABLES[provider], KEY + "\n")
    for other in ("ANTHROPIC_AUTH_TOKEN", "OPENAI_ADMIN_KEY", "GOOGLE_API_KEY"):
        monkeypatch.setenv(other, "another")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    assert ask(server, provider).text == "An answer."
    assert KEY not in repr(service_of(MODELS[provider], settings_for(server)))
    assert capfd.readouterr() == ("", "")


def test_keys_and_addresses_from_a_file(server: ProviderServer, monkeypatch: pytest.MonkeyPatch, work: Path) -> None:
    lines = [f"{name}={value}" for name, value in server.environment().items() if not name.startswith("SCC_")]
    (work / ".env").write_text("\n".join(lines))
    for name in server.environment():
        monkeypatch.delenv(name)
    assert [ask(server, provider).text for provider in MODELS] == ["An answer."] * 4


def test_a_local_server_never_sees_the_key_of_openai(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(server, "local")
    monkeypatch.setenv("LOCAL_API_KEY", "own")
    ask(server, "local")
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer none", "Bearer own"]


@pytest.mark.parametrize(
    ("name", "changes", "message", "hint"),
    [
        ("claude-test", {}, "'claude-test' names no model", "anthropic:MODEL, openai:MODEL, google:MODEL, local:MODEL"),
        ("mistral:large", {}, "'mistral:large' names no model", "local:MODEL"),
        ("openai:", {}, "'openai:' names no model", "openai:MODEL"),
        ("", {}, "'' names no model", "openai:MODEL"),
        ("local:tiny", {"base_url": None}, "local:tiny: where is it?", "--base-url"),
        ("local:tiny", {"base_url": "localhost:8080"}, "must start with http", ""),
        ("openai:gpt-test", {"fallback": "openai:gpt-test"}, "cannot be its own fallback", ""),
        ("openai:gpt-test", {"fallback": "gpt"}, "'gpt' names no model", "openai:MODEL"),
    ],
)
def test_names_of_models(name: str, changes: Json, message: str, hint: str, server: ProviderServer) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_chat(name, settings_for(server, **changes), print)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("provider", "module"), [("anthropic", "anthropic"), ("openai", "openai"), ("google", "google.genai")]
)
def test_a_missing_package(provider: str, module: str, server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=module) as caught:
        open_chat(MODELS[provider], settings_for(server), print)
    assert "compressor-cli[providers]" in str(caught.value.hint)


def test_a_provider_of_the_callers_own(server: ProviderServer) -> None:
    class Echo:
        name = "embedded"

        async def ask(self, request: ChatRequest) -> ChatReply:
            return ChatReply(request.messages[0].content, "embedded", None, "end", Usage(1, 1), 0.0)

        async def aclose(self) -> None: ...

    opened: list[str] = []

    def opener(rest: str) -> Chat:
        opened.append(rest)
        return Echo()

    chat = open_chat("embedded", settings_for(server), print, others={"embedded": opener})
    assert asyncio.run(_ask_and_close(chat)) == "Hello." and opened == [""]


def test_the_benchmark_runs() -> None:
    command = [sys.executable, str(REPO / "benchmarks" / "chat_overhead.py"), "--rows", "2", "--latency", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split("  ")[0] for line in done.stdout.splitlines()[4:]] == [
        "bare SDK",
        "open_chat, no cache",
        "open_chat, cache",
    ]


async def _ask_and_close(chat: Chat) -> str:
    reply = await chat.ask(HELLO)
    await chat.aclose()
    return reply.text
