"""`scc export --push` against a hub on the loopback interface, and without one."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, Scc
from numpy_adapters import write_run

pytest.importorskip("huggingface_hub")

TOKEN = "hf_thisIsTheSecretOfTheTest"


class Hub(ThreadingHTTPServer):
    """`files` is what was committed, by repository; `made` how each was made. `broken` answers commits with 500."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.made: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        self.broken = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """As much of the hub's interface as an upload asks for: weights go by LFS, pages within the commit."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def do_PUT(self) -> None:
        self.server.large[self.path.removeprefix("/lfs/")] = self._body()
        self._answer(200, {})

    def do_POST(self) -> None:
        body = self._body()
        if self.path.startswith("/lfs/"):
            self._answer(200, {})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": f"no such token: {self.headers.get('Authorization')}"})
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif self.path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith((".safetensors", ".gguf")) else "regular" for name in names}
            self._answer(
                200, {"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()]}
            )
        elif self.path.endswith("/info/lfs/objects/batch"):
            self._answer(200, {"transfer": "basic", "objects": [self._place(o) for o in json.loads(body)["objects"]]})
        elif "/commit/main" in self.path and not self.server.broken:
            self._commit("/".join(self.path.split("/")[3:5]), body)
        else:
            self._answer(500, {"error": "out of order"})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or 'anna'}/{asked['name']}"
        if name.startswith("closed/"):
            self._answer(403, {"error": "You don't have the rights to create a model under this namespace"})
            return
        self.server.made.setdefault(name, asked)
        self._answer(200, {"url": f"{self.server.url}/{name}", "name": name})

    def _place(self, item: dict[str, Any]) -> dict[str, Any]:
        place = {"href": f"{self.server.url}/lfs/{item['oid']}", "header": {}}
        return {**item, "actions": {"upload": place, "verify": place}}

    def _commit(self, repo: str, body: bytes) -> None:
        files = self.server.files.setdefault(repo, {})
        for row in map(json.loads, body.splitlines()):
            value = row["value"]
            if row["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif row["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
        url = f"{self.server.url}/{repo}/commit/{'a' * 40}"
        self._answer(200, {"success": True, "commitOid": "a" * 40, "commitUrl": url, "hookOutput": ""})

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


Push = Callable[..., Run]


@pytest.fixture
def push(scc_process: Scc, work: Path) -> Push:
    """Whatever happens, the folder is complete, and neither token nor traceback is shown."""
    write_run(work / "run")

    def run(endpoint: str, *args: str, repo: str = "anna/compressor", **env: str) -> Run:
        environment = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": endpoint, "HF_HOME": str(work / "hf"), "HF_TOKEN": TOKEN}
        environment["HF_HUB_DISABLE_XET"] = "1"  # the hub's newer storage, which is not played here
        words = ["export", "run", "--to", "out", "--format", "peft", "--push", repo, *args]
        result = scc_process(*words, env={**environment, **env}, timeout=120)
        assert TOKEN not in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        assert sorted(path.name for path in (work / "out").iterdir()) == FILES
        return result

    return run


FILES = ["README.md", "adapter_config.json", "adapter_model.safetensors", "export.json"]


def test_all_files_arrive(push: Push, work: Path, hub: Hub) -> None:
    result = push(hub.url)
    address = f"{hub.url}/anna/compressor"
    assert (result.exit_code, result.stderr) == (0, f"pushing to anna/compressor\npushed to {address}\n")
    sent = hub.files["anna/compressor"]
    assert {name: sent[name] for name in FILES} == {name: (work / "out" / name).read_bytes() for name in FILES}
    assert hashlib.sha256(sent["adapter_model.safetensors"]).hexdigest() in hub.large
    assert b"# compressor\n" in sent["README.md"]
    assert hub.made["anna/compressor"]["visibility"] == "private"


def test_public_and_json(push: Push, hub: Hub) -> None:
    result = push(hub.url, "--public", "--json")
    assert json.loads(result.stdout)["pushed"] == f"{hub.url}/anna/compressor"
    assert hub.made["anna/compressor"]["visibility"] == "public"


def one_line(result: Run) -> str:
    lines = result.stderr.splitlines()
    assert result.exit_code == 1
    assert lines[0].startswith("pushing to ")
    assert lines[2].startswith("hint: the folder is complete; again: hf upload ")
    assert len(lines) == 3
    return lines[1]


def test_no_network(push: Push) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert one_line(push(url)) == f"error: --push anna/compressor: the hub cannot be reached ({url})"


def test_offline(push: Push, hub: Hub) -> None:
    assert one_line(push(hub.url, HF_HUB_OFFLINE="1")) == "error: --push anna/compressor: the hub is switched off"


def test_a_token_that_the_hub_does_not_know(push: Push, hub: Hub) -> None:
    assert "401" in one_line(push(hub.url, HF_TOKEN="hf_other"))


def test_a_namespace_of_others(push: Push, hub: Hub) -> None:
    assert "don't have the rights" in one_line(push(hub.url, repo="closed/compressor"))


def test_a_hub_that_breaks(push: Push, hub: Hub) -> None:
    hub.broken = True
    assert "500" in one_line(push(hub.url))
    assert "501" in one_line(push(hub.url, "--force", HF_HUB_DISABLE_XET="0"))  # no storage, though the hub answers


def test_a_name_that_is_none(scc: Scc, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    write_run(work / "run")
    result = scc("export", "run", "--to", "out", "--format", "peft", "--push", "a/b/c")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --push a/b/c: ")
    assert not (work / "out").exists()
