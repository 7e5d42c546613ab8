"""The batch endpoints of the loopback provider, there from when this module is imported.

desk = desk_of(server)
desk.seconds = 0.5                                     how long a batch takes
desk.fate = lambda custom_id, body: "expired"          what becomes of a request; "succeeded" if nothing is said
desk.status = "cancelled"                              of an OpenAI batch that has ended, once
desk.refusal = [{"code": ..., "message": ..., "line": 1}]   the next OpenAI batch fails with these errors
desk.late = 0.05                                       seconds until a batch shows in lists
    desk.torn = lambda data: data[:9]     what is sent of the next results
desk.batches                                           what was submitted
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from provider_server import (
    ENDPOINTS,
    Json,
    ProviderServer,
    Refusal,
    Request,
    anthropic_error,
    anthropic_message,
    openai_completion,
    openai_error,
)

from compressor_cli.records import Usage


@dataclass
class Batch:
    """`rows` are results by custom id; `usage` those that were charged."""

    id: str
    provider: str
    number: int
    bodies: dict[str, Json]
    ends: float
    rows: dict[str, Json] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)
    metadata: Json | None = None
    status: str = "completed"
    errors: list[Json] | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def ended(self) -> bool:
        return time.monotonic() >= self.ends


class Desk:
    def __init__(self) -> None:
        self.batches: dict[str, Batch] = {}
        self.files: dict[str, bytes] = {}
        self.seconds = 0.0
        self.fate: Callable[[str, Json], str] = lambda custom_id, body: "succeeded"
        self.status: str | None = None
        self.refusal: list[Json] | None = None
        self.late = 0.0
        self.torn: Callable[[bytes], bytes] | None = None

    @property
    def submitted(self) -> list[Json]:
        """The bodies of all requests in all batches."""
        return [body for batch in self.batches.values() for body in batch.bodies.values()]

    @property
    def charged(self) -> list[Usage]:
        return [usage for batch in self.batches.values() for usage in batch.usage.values()]

    def begin(self, provider: str, bodies: dict[str, Json]) -> Batch:
        number = len(self.batches) + 1
        batch = Batch(f"{provider}_batch_{number}", provider, number, bodies, time.monotonic() + self.seconds)
        self.batches[batch.id] = batch
        return batch

    def listed(self, provider: str) -> list[Batch]:
        """The newest first."""
        every = [one for one in self.batches.values() if one.provider == provider]
        return [one for one in reversed(every) if (datetime.now(UTC) - one.created).total_seconds() >= self.late]

    def sent(self, data: bytes) -> bytes:
        torn, self.torn = self.torn, None
        return torn(data) if torn else data

    def find(self, name: str) -> Batch:
        if name not in self.batches:
            raise Refusal(404, f"no such batch: {name}")
        return self.batches[name]


_DESKS: WeakKeyDictionary[ProviderServer, Desk] = WeakKeyDictionary()


def desk_of(server: ProviderServer) -> Desk:
    return _DESKS.setdefault(server, Desk())


def _part(request: Request, pattern: str) -> str:
    found = re.match(pattern, request.path)
    assert found
    return found[1]


def _jsonl(rows: list[Json]) -> bytes:
    """In another order than they came."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in reversed(rows))


def _once(custom_ids: list[str]) -> None:
    if len(set(custom_ids)) < len(custom_ids):
        raise Refusal(400, "custom_id must be unique")
    for custom_id in custom_ids:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", custom_id):
            raise Refusal(400, f"custom_id: {custom_id}")


def _single(request: Request, body: Json) -> Request:
    return Request(request.provider, "POST", "/single", request.headers, body)


# --- Anthropic


def anthropic_create(server: ProviderServer, request: Request) -> Json:
    desk, rows = desk_of(server), request.body["requests"]
    _once([row["custom_id"] for row in rows])
    batch = desk.begin("anthropic", {row["custom_id"]: row["params"] for row in rows})
    for custom_id, body in batch.bodies.items():
        fate = desk.fate(custom_id, body)
        result: Json = {"type": fate}
        if fate == "succeeded":
            result["message"] = anthropic_message(server, _single(request, body))
            counted = result["message"]["usage"]
            batch.usage[custom_id] = Usage(counted["input_tokens"], counted["output_tokens"])
        elif fate.isdecimal():
            result = {"type": "errored", "error": anthropic_error(int(fate), "no") | {"request_id": "req_b"}}
        batch.rows[custom_id] = {"custom_id": custom_id, "result": result}
    return _anthropic_batch(server, batch)


def _anthropic_batch(server: ProviderServer, batch: Batch) -> Json:
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    for row in batch.rows.values():
        counts[row["result"]["type"] if batch.ended else "processing"] += 1
    url = f"http://127.0.0.1:{server.port}/anthropic/v1/messages/batches/{batch.id}/results"
    time = batch.created.isoformat()
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if batch.ended else "in_progress",
        "request_counts": counts,
        "created_at": time,
        "expires_at": time,
        "results_url": url if batch.ended else None,
    }


def anthropic_list(server: ProviderServer, request: Request) -> Json:
    data = [_anthropic_batch(server, one) for one in desk_of(server).listed("anthropic")]
    return {"data": data, "has_more": False, "first_id": None, "last_id": None}


def anthropic_retrieve(server: ProviderServer, request: Request) -> Json:
    return _anthropic_batch(server, desk_of(server).find(_part(request, r"/v1/messages/batches/([^/?]+)")))


def anthropic_results(server: ProviderServer, request: Request) -> bytes:
    batch = desk_of(server).find(_part(request, r"/v1/messages/batches/([^/?]+)"))
    if not batch.ended:
        raise Refusal(404, "no results yet")
    return desk_of(server).sent(_jsonl(list(batch.rows.values())))


# --- OpenAI


def openai_upload(server: ProviderServer, request: Request) -> Json:
    desk = desk_of(server)
    boundary = b"--" + request.headers["content-type"].partition("boundary=")[2].encode()
    parts = [part.partition(b"\r\n\r\n") for part in request.body.split(boundary)]
    fields = {found[1]: body[:-2] for head, _, body in parts if (found := re.search(rb'name="(\w+)"', head))}
    if fields[b"purpose"] != b"batch":
        raise Refusal(400, "purpose")
    name = f"file-{len(desk.files) + 1}"
    desk.files[name] = fields[b"file"]
    return {"id": name, "object": "file", "bytes": len(fields[b"file"]), "created_at": 1, "filename": "batch.jsonl",
            "purpose": "batch", "status": "processed"}  # fmt: skip


def openai_create(server: ProviderServer, request: Request) -> Json:
    desk, asked = desk_of(server), request.body
    rows = [json.loads(line) for line in desk.files[asked["input_file_id"]].splitlines()]
    _once([row["custom_id"] for row in rows])
    if {row["url"] for row in rows} != {asked["endpoint"]} or asked["completion_window"] != "24h":
        raise Refusal(400, "endpoint, completion_window")
    batch = desk.begin("openai", {row["custom_id"]: row["body"] for row in rows})
    batch.metadata = asked["metadata"]
    batch.errors, desk.refusal = desk.refusal, None
    batch.status, desk.status = "failed" if batch.errors else desk.status or "completed", None
    for custom_id, body in batch.bodies.items() if not batch.errors else ():
        fate = desk.fate(custom_id, body)
        row: Json = {"id": f"r{custom_id}", "custom_id": custom_id, "response": None, "error": None}
        if fate == "succeeded":
            answer = openai_completion(server, _single(request, body))
            row["response"] = {"status_code": 200, "request_id": f"req_{custom_id}", "body": answer}
            counted = answer["usage"]
            batch.usage[custom_id] = Usage(counted["prompt_tokens"], counted["completion_tokens"])
        elif fate.isdecimal():
            error = openai_error(int(fate), "no")
            row["response"] = {"status_code": int(fate), "request_id": "req_b", "body": error}
        elif fate.startswith("unsupported"):
            error = {"message": "no", "type": "invalid_request_error", "param": fate.partition(":")[2],
                     "code": "unsupported_value"}  # fmt: skip
            row["response"] = {"status_code": 400, "request_id": "req_b", "body": {"error": error}}
        elif fate == "missing":
            continue
        else:
            row["error"] = {"code": f"batch_{fate}", "message": "not done in time"}
        batch.rows[custom_id] = row
    good = [row for row in batch.rows.values() if (row["response"] or {}).get("status_code") == 200]
    desk.files[f"{batch.id}-output"] = _jsonl(good)
    desk.files[f"{batch.id}-error"] = _jsonl([row for row in batch.rows.values() if row not in good])
    return _openai_batch(server, batch)


def _openai_batch(server: ProviderServer, batch: Batch) -> Json:
    done = len(batch.usage) if batch.ended else 0
    body: dict[str, Any] = {
        "id": batch.id,
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "created_at": int(batch.created.timestamp()),
        "input_file_id": "file",
        "metadata": batch.metadata,
        "status": batch.status if batch.ended else "in_progress",
        "request_counts": {"total": len(batch.bodies), "completed": done, "failed": len(batch.rows) - done},
    }
    if batch.ended and batch.errors:
        body["errors"] = {"object": "list", "data": batch.errors}
    elif batch.ended:
        files = desk_of(server).files
        for kind in ("output", "error"):
            if files[f"{batch.id}-{kind}"]:
                body[f"{kind}_file_id"] = f"{batch.id}-{kind}"
    return body


def openai_list(server: ProviderServer, request: Request) -> Json:
    data = [_openai_batch(server, one) for one in desk_of(server).listed("openai")]
    return {"object": "list", "data": data, "has_more": False}


def openai_retrieve(server: ProviderServer, request: Request) -> Json:
    return _openai_batch(server, desk_of(server).find(_part(request, r"/v1/batches/([^/?]+)")))


def openai_content(server: ProviderServer, request: Request) -> bytes:
    desk = desk_of(server)
    return desk.sent(desk.files[_part(request, r"/v1/files/([^/]+)/content")])


ENDPOINTS += [
    ("anthropic", "POST", "/v1/messages/batches", anthropic_create),
    ("anthropic", "GET", r"/v1/messages/batches(\?.*)?", anthropic_list),
    ("anthropic", "GET", "/v1/messages/batches/[^/?]+/results", anthropic_results),
    ("anthropic", "GET", "/v1/messages/batches/[^/?]+", anthropic_retrieve),
    ("openai", "POST", "/v1/files", openai_upload),
    ("openai", "POST", "/v1/batches", openai_create),
    ("openai", "GET", r"/v1/batches(\?.*)?", openai_list),
    ("openai", "GET", "/v1/batches/[^/?]+", openai_retrieve),
    ("openai", "GET", "/v1/files/[^/]+/content", openai_content),
]
