"""`--engine adapter --backend openai`: the model of a server of one's own, on the loopback interface."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from adapters import PREFIX, SYSTEM, dense, document, paragraph, run_folder
from conftest import Scc
from provider_server import ProviderServer, Reply, Request, serving

from compressor_cli import compress
from compressor_cli.engines.adapter_model import close_model
from compressor_cli.errors import SccError

pytest.importorskip("openai")


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    close_model()
    with serving() as running:
        running.answer = answer
        yield running
        close_model()


def answer(request: Request) -> str:
    messages = request.body["messages"]
    said = str(next(one["content"] for one in messages if one["role"] == "user")).removeprefix(PREFIX)
    if "number 3 " in said and messages[-2]["role"] != "assistant":
        return dense(said).replace("not ", "")
    return dense(said)


def url(server: ProviderServer) -> str:
    return f"http://127.0.0.1:{server.port}/local/v1"


def test_a_document_by_the_model_of_a_server(server: ProviderServer, work: Path, scc: Scc) -> None:
    (work / "in.md").write_text(document(5))
    words = ["compress", "--engine", "adapter", "--backend", "openai", "--model", "tiny", "--base-url", url(server)]
    done = scc(*words, "--json", "in.md")
    assert done.exit_code == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert receipt["engine"] == "adapter" and len(server.requests) == 6, "one of them twice"
    assert [block["why"].startswith("written by local:tiny") for block in receipt["blocks"]] == [True] * 5
    assert "asked twice" in receipt["blocks"][3]["why"]
    body = server.requests[0].body
    assert body["model"] == "tiny" and body["temperature"] == 0 and body["messages"][0]["role"] == "system"


def test_the_run_says_how_it_is_asked(server: ProviderServer, work: Path) -> None:
    run = run_folder(work / "run")
    compress(paragraph(1), adapter=run, backend="openai", model="tiny", base_url=url(server))
    system, user = server.requests[0].body["messages"]
    assert system["content"] == SYSTEM and user["content"] == PREFIX + paragraph(1)


def test_one_that_refuses_a_piece_loses_that_piece(server: ProviderServer) -> None:
    server.script.append(Reply(400, "too long"))
    receipt = compress(document(4), backend="openai", model="tiny", base_url=url(server))
    assert sorted(block.engine for block in receipt.blocks) == ["adapter", "adapter", "adapter", "prose"]
    assert any("too long" in warning for warning in receipt.warnings)


def test_a_server_that_is_not_there(work: Path) -> None:
    close_model()
    gone = {"backend": "openai", "model": "tiny", "base_url": "http://127.0.0.1:9/v1"}
    began = time.monotonic()
    receipt = compress(paragraph(1), **gone)  # type: ignore[arg-type]
    assert receipt.engine == "prose" and "the embedded engine took the whole text" in receipt.warnings[0]
    with pytest.raises(SccError, match="no answer") as caught:
        compress(paragraph(1), **gone, engine="adapter")  # type: ignore[arg-type]
    assert "\n" not in str(caught.value) and time.monotonic() - began < 60
    close_model()
