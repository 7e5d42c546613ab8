"""`scc data pull` against a hub on the loopback interface; huggingface_hub reads its environment once a process."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from conftest import Run, Scc

datasets = pytest.importorskip("datasets")

TOKEN = "hf_thisIsTheSecretOfTheTest"
COMMITS = {"main": "a" * 40, "old": "b" * 40}
ROW = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
TRAIN = b"".join(json.dumps(ROW | {"id": n}).encode() + b"\n" for n in range(3))
FILES = {
    "README.md": b"---\nlicense: mit\n---\nrows\n",
    "train.jsonl": TRAIN,
    "test.jsonl": json.dumps(ROW).encode() + b"\n",
}


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.files = dict(FILES)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """As much of the hub's interface as `datasets` asks for: org/open, org/gated (files need the token), no other."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/datasets/"):
            self._api(path.removeprefix("/api/datasets/"))
        else:
            self._file(path.removeprefix("/datasets/"))

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        wanted = json.loads(body)["paths"] if body.startswith(b"{") else []
        self._json([self._entry(name) for name in wanted if name in self.server.files])

    def _api(self, path: str) -> None:
        org, name, *rest = path.split("/")
        if (org, name) == ("org", "broken"):
            self._refuse(500, "", "out of order")
        elif (org, name) not in {("org", "open"), ("org", "gated")}:
            self._refuse(401, "RepoNotFound", "Repository not found")
        elif rest and rest[0] == "tree":
            self._json([self._entry(file) for file in self.server.files])
        else:
            revision = rest[1] if rest else "main"
            sha = COMMITS.get(revision, revision if revision in COMMITS.values() else None)
            if sha is None:
                self._refuse(404, "RevisionNotFound", "Invalid rev id")
            else:
                self._json({"id": f"{org}/{name}", "sha": sha, "siblings": [], "private": False})

    def _file(self, path: str) -> None:
        _, name, _, revision, *rest = path.split("/")
        if name == "gated" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(403 if "Authorization" in self.headers else 401, "GatedRepo", "Access is restricted")
            return
        data = self.server.files.get("/".join(rest))
        if data is None:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        self._answer(200, data, {"X-Repo-Commit": COMMITS.get(revision, revision), "ETag": f'"{_oid(data)}"'})

    def _entry(self, name: str) -> dict[str, object]:
        data = self.server.files[name]
        return {"type": "file", "path": name, "size": len(data), "oid": _oid(data)}

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message} if code else {})

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        total, wanted = len(data), self.headers.get("Range")
        if wanted and status == 200:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            data = data[int(first) : int(last) + 1 if last else None]
            status, headers = 206, headers | {"Content-Range": f"bytes {first}-{int(first) + len(data) - 1}/{total}"}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def pull(scc_process: Scc, work: Path) -> Scc:
    """`pull(endpoint, *args)` into the folder sft; whatever happens, no token and no traceback is shown."""

    def run(endpoint: str, *args: str, env: Mapping[str, str] | None = None) -> Run:
        environment = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": endpoint, "HF_HOME": str(work / "hf"), **(env or {})}
        result = scc_process("data", "pull", "--output", "sft", *args, env=environment, timeout=60)
        assert TOKEN not in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return result

    return run


@pytest.mark.parametrize("streaming", [[], ["--streaming"]])
def test_a_dataset_of_the_hub(pull: Scc, work: Path, hub: Hub, streaming: list[str]) -> None:
    result = pull(hub.url, "--dataset", "org/open", "--json", *streaming)
    assert (result.exit_code, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert told["revision"] == COMMITS["main"]
    assert {name: file["rows"] for name, file in told["files"].items()} == {
        "train.jsonl": 3,
        "train.meta.jsonl": 3,
        "test.jsonl": 1,
    }
    assert json.loads((work / "sft/train.jsonl").read_text().splitlines()[2]) == ROW
    again = pull(hub.url, "--dataset", "org/open", "--json", *streaming)
    assert json.loads(again.stdout)["unchanged"] is True


@pytest.mark.slow
def test_parquet_of_the_hub(pull: Scc, work: Path, hub: Hub) -> None:
    datasets.Dataset.from_list([ROW, ROW]).to_parquet(work / "p.parquet")
    hub.files = {"train.parquet": (work / "p.parquet").read_bytes()}
    for words in ([], ["--streaming", "--force"]):
        result = pull(hub.url, "--dataset", "org/open", *words)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "sft/train.jsonl  2 rows\n", "")
        assert json.loads((work / "sft/train.jsonl").read_text().splitlines()[1]) == ROW


def test_another_commit_is_pulled_anew(pull: Scc, work: Path, hub: Hub) -> None:
    assert pull(hub.url, "--dataset", "org/open", "--revision", "old").exit_code == 0
    hub.files["train.jsonl"] = TRAIN + TRAIN
    result = pull(hub.url, "--dataset", "org/open", "--json")
    told = json.loads(result.stdout)
    assert (told["unchanged"], told["revision"], told["files"]["train.jsonl"]["rows"]) == (False, COMMITS["main"], 6)


def test_a_gated_dataset_with_its_token(pull: Scc, work: Path, hub: Hub) -> None:
    (work / ".env").write_text(f"HF_TOKEN={TOKEN}\n")
    assert pull(hub.url, "--dataset", "org/gated").exit_code == 0
    assert TOKEN not in (work / "sft/manifest.json").read_text()


REFUSED = [
    (["--dataset", "org/gated"], {}, "error: dataset 'org/gated' is gated, and no HF_TOKEN is set"),
    (["--dataset", "org/gated"], {"HF_TOKEN": "hf_other"}, "is gated, and this HF_TOKEN has no access to it"),
    (["--dataset", "org/none"], {}, "error: dataset 'org/none' was not found on the hub, or is private"),
    (["--dataset", "org/open", "--revision", "v9"], {}, "error: dataset 'org/open' has no revision 'v9'"),
    (["--dataset", "org/open"], {"HF_HUB_OFFLINE": "1"}, "error: dataset 'org/open': the hub is switched off"),
    (["--dataset", "org/open"], {"HF_TOKEN": TOKEN + "\x7f\n"}, "error: dataset 'org/open'"),
    (["--dataset", "org/broken"], {}, "error: dataset 'org/broken': "),
]


@pytest.mark.parametrize(("args", "env", "message"), REFUSED)
def test_what_the_hub_refuses_is_one_line(
    pull: Scc, work: Path, hub: Hub, args: list[str], env: dict[str, str], message: str
) -> None:
    result = pull(hub.url, *args, env=env)
    errors = [line for line in result.stderr.splitlines() if not line.startswith("hint: ")]
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(errors) == 1
    assert message in errors[0]
    assert not (work / "sft").exists()


def test_no_hub_at_all(pull: Scc) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        result = pull(url)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == (
        f"error: dataset 'Sudhendra/semantic-compression-sft': the hub cannot be reached ({url})"
    )


def test_a_failed_pull_of_the_hub_leaves_what_was_there(pull: Scc, work: Path, hub: Hub) -> None:
    assert pull(hub.url, "--dataset", "org/open", "--revision", "old").exit_code == 0
    before = {path.name: path.read_bytes() for path in (work / "sft").iterdir()}
    hub.files["test.jsonl"] = b'{"messages": []}\n'
    result = pull(hub.url, "--dataset", "org/open")
    assert result.exit_code == 1
    assert "split 'test', row 0 (the first is 0; test.jsonl, line 1): `messages` is empty" in result.stderr
    assert {path.name: path.read_bytes() for path in (work / "sft").iterdir()} == before
