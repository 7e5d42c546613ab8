"""What goes wrong between `scc train --backend tinker` and its server, each as one line."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import tinker
from tinker.types import RequestErrorCategory
from tinker_double import CUT, KEY, MODEL, Failure, Reply, TinkerServer
from tinker_fixtures import SETTINGS, Events, Train, server, tokenizer, train
from training_jobs import make_job, write_rows

from compressor_cli.backends.tinker import check, conduct, connection
from compressor_cli.backends.tinker.access import access_to
from compressor_cli.backends.tinker.failures import told
from compressor_cli.core.training import Launch
from compressor_cli.errors import MissingKeyError, QuotaError, SccError, UsageError
from compressor_cli.settings import CloudSettings

__all__ = ["server", "tokenizer", "train"]  # fixtures

SHORT = {"steps": 4, "rank": 2, "save_every": 2}


def one_line(error: SccError) -> str:
    assert "\n" not in str(error) and KEY not in str(error) + str(error.hint)
    return str(error)


def told_by(events: Events) -> list[str]:
    return [event["message"] for event in events if "message" in event]


# Before the server is asked


def test_a_key_is_needed(server: TinkerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINKER_API_KEY")
    with pytest.raises(MissingKeyError, match="no API key for Tinker") as missing:
        check()
    assert "TINKER_API_KEY" in (missing.value.hint or "") and not server.events


@pytest.mark.parametrize("key", ["sk-other", "tml-with space", "tml-\N{LATIN SMALL LETTER E WITH ACUTE}", "tml-a\nb"])
def test_a_key_of_another_form_is_not_sent(server: TinkerServer, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("TINKER_API_KEY", key)
    with pytest.raises(UsageError, match="TINKER_API_KEY holds no key of Tinker's") as refused:
        check()
    assert key not in str(refused.value) and not server.events


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://host", "http://", "http://host:99999", "http://[::1", "file:///etc/passwd"]
)
def test_what_is_no_address_is_refused(server: TinkerServer, url: str) -> None:
    with pytest.raises(UsageError, match="--base-url"):
        check(url)


def test_a_password_in_the_address_is_not_told(server: TinkerServer) -> None:
    with pytest.raises(UsageError, match="leave out user and password") as refused:
        check("http://me:secret@host")
    assert "secret" not in str(refused.value)


def test_the_flag_comes_before_the_environment(server: TinkerServer) -> None:
    assert access_to(None).url == server.url
    assert access_to("http://127.0.0.1:9/").url == "http://127.0.0.1:9"


# Whether the server is there


def test_a_closed_port_is_told_at_once(server: TinkerServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(SccError, match=f"no server at {url}"):
        check(url)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(503, "starting"), "is not ready: it answers 503"),
        (Reply(404, "no"), "is no Tinker server: 404"),
        (Reply(200, "<html>"), "is no Tinker server: 200"),
        (Reply(200, {"status": "down"}), "is no Tinker server: 200"),
        (CUT, "no server at"),
    ],
)
def test_what_does_not_answer_as_tinker_does(server: TinkerServer, reply: Any, why: str) -> None:
    server.always["healthz"] = reply
    with pytest.raises(SccError, match=why) as refused:
        check()
    one_line(refused.value)


def test_a_server_that_is_silent(server: TinkerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr("compressor_cli.backends.tinker.access._HEALTH_SECONDS", 0.3)
        access = access_to(f"http://127.0.0.1:{silent.getsockname()[1]}")
        from compressor_cli.backends.tinker.access import ask_health

        with pytest.raises(SccError, match="no answer from"):
            ask_health(access, 0.3)


# What the server has


def test_check_lists_the_models(server: TinkerServer) -> None:
    server.models = {"b/large": 1000, "a/small": 500}
    report = check()
    assert [(model.name, model.context) for model in report.models] == [("a/small", 500), ("b/large", 1000)]
    assert report.url == server.url and report.sdk == tinker.__version__
    assert server.count("create_session") == 0


def test_a_model_that_is_not_there(server: TinkerServer, train: Train, tmp_path: Path) -> None:
    server.models = {"Qwen/Qwen3-8B": 32768, "Qwen/Qwen3.5-4B": 32768, "other/thing": 32768}
    with pytest.raises(UsageError, match=r"model 'Qwen/Qwen3-8b' is not there; .* trains Qwen/Qwen3-8B, ") as refused:
        train(model="Qwen/Qwen3-8b")
    assert "--check" in (refused.value.hint or "") and not (tmp_path / "run").exists()


def test_rows_longer_than_the_model_takes(server: TinkerServer, train: Train, tmp_path: Path) -> None:
    server.models[MODEL] = 32
    with pytest.raises(UsageError, match=r"a row has \d+ tokens, and test/tiny takes 32 there"):
        train(**SHORT)
    assert not (tmp_path / "run").exists()


def test_dpo_is_refused(server: TinkerServer, tokenizer: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data", train=12, valid=3)
    job = make_job("tinker", CloudSettings(**SETTINGS), tokenizer, data)
    other = CloudSettings(**SETTINGS, stage="dpo")
    with pytest.raises(UsageError, match="no stage dpo"):
        conduct(type(job)(**{**vars(job), "settings": other}), Launch(tmp_path / "run"))


# What the server refuses


def test_a_key_that_the_server_does_not_know(server: TinkerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_API_KEY", "tml-unknown")
    with pytest.raises(UsageError, match=r"refuses the key in TINKER_API_KEY \(401\): no such key: \*\*\*$") as refused:
        check()
    assert "tml-unknown" not in str(refused.value)


@pytest.mark.parametrize("where", ["config", "get_server_capabilities"])
def test_an_account_that_has_not_paid(server: TinkerServer, where: str) -> None:
    server.always[where] = Reply(402, {"detail": "billing is not set up"})
    began = time.monotonic()
    with pytest.raises(QuotaError, match=r"asks to be paid.*billing is not set up") as refused:
        check()
    one_line(refused.value)
    assert time.monotonic() - began < 5  # the SDK would ask for an hour


@pytest.mark.parametrize(
    ("where", "reply", "kind", "why"),
    [
        ("create_session", Reply(403, {"detail": "read only"}), SccError, r"may not do this \(403\): read only"),
        ("create_model", Reply(404, {"detail": "no such model"}), SccError, r"does not know .* \(404\): no such model"),
        ("create_model", Reply(402, {"detail": "top up"}), QuotaError, r"asks to be paid \(402\): top up"),
        (
            "create_model",
            Reply(422, {"detail": [{"loc": ["body", "rank"], "msg": "too high"}]}),
            SccError,
            r"\(422\): body.rank: too high$",
        ),
        ("create_model", Failure("rank 2 is too low", "user"), SccError, "could not do .*: rank 2 is too low$"),
        ("forward_backward", Failure("out of memory"), SccError, "the server failed: out of memory$"),
        ("optim_step", Failure("bad rate", "user"), SccError, "could not do .*: bad rate$"),
        ("optim_step", Reply(413, {"error": "large"}), SccError, r"of this size \(413\): large"),
        ("save_weights", Reply(400, {"message": "bad name"}), SccError, r"refuses a request \(400\): bad name"),
        ("retrieve_future", Reply(404, {"detail": "gone"}), SccError, r"does not know .* \(404\): gone"),
        ("retrieve_future", Reply(410, {"detail": "expired"}), SccError, "expired"),
        ("get_info", Reply(200, {"nothing": 1}), SccError, "than tinker .* understands"),
        ("get_info", Reply(200, "<html>a portal</html>"), SccError, "than tinker .* understands"),
    ],
)  # fmt: skip
def test_refusals(server: TinkerServer, train: Train, where: str, reply: Any, kind: type[SccError], why: str) -> None:
    server.always[where] = reply
    with pytest.raises(kind, match=why) as refused:
        train(**SHORT)
    one_line(refused.value)
    assert not logging.getLogger("tinker").handlers


def test_a_result_of_another_protocol(server: TinkerServer, train: Train) -> None:
    server.script["retrieve_future"].extend([Reply(200, {"type": "create_model", "model_id": "x"}), Reply(200, {})])
    server.always["get_info"] = Reply(200, {"model_id": "x", "model_data": {}})
    server.always["forward_backward"] = Reply(200, {"request_id": "0"})
    server.always["optim_step"] = Reply(200, {"request_id": "0"})
    with pytest.raises(SccError, match=r"than tinker .* understands") as refused:
        train(**SHORT)
    one_line(refused.value)


# What passes


def test_what_passes_changes_nothing(server: TinkerServer, train: Train) -> None:
    train("calm", **SHORT)
    expected = server.last_state()
    server.script["forward_backward"].extend([Reply(500, "sorry"), CUT])
    server.script["optim_step"].extend([CUT, Reply(429, "slow down")])
    server.script["save_weights"].append(CUT)
    server.script["retrieve_future"].extend([Reply(408, "{}"), Reply(500, "sorry"), CUT])
    train("stormy", **SHORT)
    found = server.last_state()
    assert found is not expected and found.steps == expected.steps
    assert all((found.weights[name] == expected.weights[name]).all() for name in expected.weights)


def test_a_run_under_way_waits_until_it_is_paid(server: TinkerServer, train: Train) -> None:
    server.script["optim_step"].extend([None, None, Reply(402, {"detail": "top up"})])
    events: Events = []
    train(on_event=events.append, **SHORT)
    messages = told_by(events)
    assert any("paused due to billing" in message and "top up" in message for message in messages)
    assert server.last_state().steps == 4


def test_a_server_that_goes_away_is_noticed(
    server: TinkerServer, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", connection.Patience(ask=0.2, lost=1, tell=0.1))
    server.script["retrieve_future"].extend([None] * 8)
    server.always["retrieve_future"] = CUT
    server.script["healthz"].append(None)
    server.always["healthz"] = Reply(503, "down")
    events: Events = []
    with pytest.raises(SccError, match="is lost: no answer for 1 s") as lost:
        train(on_event=events.append, **SHORT)
    assert "goes on from the last checkpoint" in (lost.value.hint or "")
    messages = told_by(events)
    assert any("waiting for" in message for message in messages)
    assert any(message.startswith("no answer from") for message in messages)
    server.always.clear()
    train(**SHORT)
    assert server.last_state().steps == 4


def test_a_server_that_comes_back_is_told(server: TinkerServer, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", connection.Patience(ask=0.3, lost=60))
    server.script["healthz"].extend([None, Reply(503, "down"), None])
    server.script["optim_step"].append(Reply(429, "wait"))
    server.script["retrieve_future"].extend([CUT, CUT])
    events: Events = []
    train(on_event=events.append, **SHORT)
    messages = told_by(events)
    assert [message.split(" from ")[0] for message in messages[:2]] == ["no answer", f"{server.url} answers again"]


# What only comes after minutes, as the SDK raises it


def raised(kind: type[tinker.APIStatusError], status: int, body: Any) -> tinker.APIStatusError:
    request = httpx.Request("POST", "http://127.0.0.1/api")
    return kind(f"Error code: {status}", response=httpx.Response(status, request=request), body=body)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (raised(tinker.RateLimitError, 429, {"detail": "slow"}), "too many requests at once, after .* (429): slow"),
        (
            raised(tinker.ConflictError, 409, {"detail": "taken"}),
            "the server refuses: it has that already (409): taken",
        ),
        (raised(tinker.InternalServerError, 500, None), "http://x fails (500), after .*: no reason given"),
        (raised(tinker.InternalServerError, 503, "<p>\nbusy\n</p>"), "http://x fails (503), after .*: <p> busy </p>"),
        (tinker.APITimeoutError(httpx.Request("GET", "http://x")), "http://x gave no answer in time"),
        (tinker.APIConnectionError(httpx.Request("GET", "http://x")), "the connection to http://x is lost"),
        (tinker.RequestFailedError("Request failed: no", "1", RequestErrorCategory.Unknown), "the server failed: no"),
        (tinker.TinkerError("something\nelse"), "Tinker's SDK: something else"),
        (RuntimeError("closed"), "Tinker's SDK: closed"),
    ],
)
def test_lines(error: Exception, line: str) -> None:
    start, _, end = line.partition(".*")
    found = one_line(told(error, "http://x", KEY))
    assert found.startswith(start) and found.endswith(end)


def test_an_error_is_found_behind_another() -> None:
    try:
        try:
            raise raised(tinker.AuthenticationError, 401, {"detail": "no"})
        except tinker.AuthenticationError as exc:
            raise ValueError("Error retrieving result") from exc
    except ValueError as exc:
        assert isinstance(told(exc, "http://x"), UsageError)
