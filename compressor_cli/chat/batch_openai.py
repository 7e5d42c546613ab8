"""OpenAI's Batch API: a file of requests goes up, files of answers and errors come down."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from compressor_cli.chat.batch_service import Outcome, Progress
from compressor_cli.chat.openai import SPENT, OpenAIChat
from compressor_cli.core.batches import Batch
from compressor_cli.errors import RateLimitedError, SccError, UnavailableError
from compressor_cli.records import ChatRequest

_CLOCKS = timedelta(minutes=10)  # how far those of this machine and the provider may be apart
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_TOKEN = "scc_token"
_FULL = "token_limit_exceeded"  # too much waits at the provider


class OpenAIBatches:
    most_requests = 50_000
    most_bytes = 190_000_000

    def __init__(self, chat: OpenAIChat) -> None:
        self.name, self.url = chat.name, chat.service.url
        self._chat = chat
        self._client = chat.client

    def encode(self, custom_id: str, request: ChatRequest) -> dict[str, Any]:
        return {"custom_id": custom_id, "method": "POST", "url": _ENDPOINT, "body": self._chat.body(request)}

    async def prepare(self, requests: Sequence[dict[str, Any]]) -> Any:
        lines = b"".join(json.dumps(request, ensure_ascii=False).encode() + b"\n" for request in requests)
        upload = self._client.files.create(file=("batch.jsonl", lines, "application/jsonl"), purpose="batch")
        return (await self._chat.translated(upload)).id

    async def create(self, token: str, prepared: Any) -> str:
        begun = self._client.batches.create(
            input_file_id=prepared, endpoint=_ENDPOINT, completion_window="24h", metadata={_TOKEN: token}
        )
        return str((await self._chat.translated(begun)).id)

    async def find(self, token: str, count: int, since: datetime) -> list[str]:
        async def search() -> list[str]:
            async for batch in self._client.batches.list(limit=100):  # the newest first
                if batch.created_at < (since - _CLOCKS).timestamp():
                    break
                if (batch.metadata or {}).get(_TOKEN) == token:
                    return [batch.id]
            return []

        return await self._chat.translated(search())

    async def owns(self, name: str, token: str) -> bool | None:
        return True

    async def look(self, name: str) -> Progress:
        batch = await self._chat.translated(self._client.batches.retrieve(name))
        counts = batch.request_counts
        done, total = (counts.completed + counts.failed, counts.total) if counts else (0, 0)
        return Progress(batch.status in _ENDED, done, total)

    async def results(self, batch: Batch) -> AsyncIterator[Outcome]:
        assert batch.id is not None
        found = await self._chat.translated(self._client.batches.retrieve(batch.id))
        if found.status == "failed":
            for outcome in self._failed(batch, found):
                yield outcome
            return
        count = 0
        for name in (found.output_file_id, found.error_file_id):
            if name is None:
                continue
            lines = self._lines(name)
            while (line := await self._chat.translated(anext(lines, None))) is not None:
                count += 1
                yield self._outcome(line, found.status)
        counts = found.request_counts
        if counts and count < counts.completed:
            raise self._chat.service.unreadable(f"{count} of {counts.completed} results of batch {batch.id}")

    async def _lines(self, name: str) -> AsyncIterator[dict[str, Any]]:
        """By newlines only: the SDK's own lines end at U+2028 too, which JSON has within strings."""
        async with self._client.files.with_streaming_response.content(name) as response:
            rest = b""
            async for chunk in response.iter_bytes():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    if line.strip():
                        yield json.loads(line)
            if rest.strip():
                yield json.loads(rest)

    def _outcome(self, line: dict[str, Any], status: str) -> Outcome:
        name, response = str(line["custom_id"]), line.get("response") or {}
        code, body = response.get("status_code"), response.get("body")
        if code == 200 and isinstance(body, dict):
            try:
                return Outcome(name, reply=self._chat.read(body, 0.0, response.get("request_id")))
            except SccError as exc:
                return Outcome(name, error=exc)
        if code is None:  # it was never begun
            told = line.get("error") or {}
            text = f"{self.name}: {told.get('code') or status}: {told.get('message') or 'not done'}"
            return Outcome(name, error=UnavailableError(self._chat.service.clean(text)))
        return Outcome(name, error=self._refused(code, body, response.get("request_id")))

    def _refused(self, code: int, body: Any, request_id: str | None) -> SccError:
        told = body.get("error") if isinstance(body, dict) else None
        told = told if isinstance(told, dict) else {"message": body}
        if self._chat.learns(told.get("code"), told.get("param")):
            return UnavailableError(f"{self.name} takes no {told['param']}")
        quota = told.get("code") in SPENT or told.get("type") == "insufficient_quota"
        error = self._chat.service.refused(code, str(told.get("message")), request_id=request_id, quota=quota)
        if isinstance(error, UnavailableError):  # what a batch does not do, it does not charge
            error = UnavailableError(str(error), request_id=request_id)
        return error

    def _failed(self, batch: Batch, found: Any) -> list[Outcome]:
        """The file was refused: by an error that names a line, that request; by one that names none, all of them."""
        assert batch.count is not None
        service, errors = self._chat.service, (found.errors and found.errors.data) or []
        lines = {error.line: error for error in errors if error.line is not None}
        first = next((error for error in errors if error.line is None), None)
        outcomes = []
        for number in range(batch.count):
            told = lines.get(number + 1) or first
            text = f"batch {found.id}: {told.message if told else 'it failed'}"
            error: SccError
            if told is None and lines:  # another line is to blame
                error = UnavailableError(f"{self.name}: {text}, with another request that was refused")
            elif told is not None and told.code == _FULL:
                error = RateLimitedError(f"{self.name}: {service.clean(text)}")
            else:
                error = service.refused(400, text, quota=told is not None and told.code in SPENT)
            outcomes.append(Outcome(batch.custom_id(number), error=error))
        return outcomes

    async def aclose(self) -> None:
        await self._chat.aclose()
