"""Claude, by the Messages API."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Literal

from compressor_cli.chat import Note
from compressor_cli.chat.sdk import Clients, SdkChat, count
from compressor_cli.chat.service import Service, retry_after
from compressor_cli.errors import SccError
from compressor_cli.records import ChatReply, ChatRequest, Usage

_STOPS: dict[str, Literal["end", "length", "refusal"]] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}


class AnthropicChat(SdkChat):
    def __init__(self, service: Service, note: Note) -> None:
        import anthropic
        import httpx2

        super().__init__(service, note)
        timeout = anthropic.Timeout(service.timeout, connect=min(10.0, service.timeout))
        self._sdk = anthropic
        connect = partial(anthropic.DefaultAsyncHttpxClient, verify=httpx2.create_ssl_context())
        self.client = anthropic.AsyncAnthropic(
            api_key=service.key, base_url=service.url, timeout=timeout, max_retries=0, http_client=connect()
        )
        self._clients = Clients(self.client, connect)

    async def _send(self, request: ChatRequest) -> tuple[Any, str | None]:
        import httpx2

        with self._clients.lent() as client:
            answer = await client.post("/v1/messages", cast_to=httpx2.Response, body=self.body(request))
        return json.loads(answer.content), answer.headers.get("request-id")

    def body(self, request: ChatRequest) -> dict[str, Any]:
        for option in ("temperature", "seed"):
            if getattr(request, option) is not None:
                self.note(f"{self.name} takes no {option}: not sent")
        body: dict[str, Any] = {
            "model": self.service.model,
            "max_tokens": request.max_tokens,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        }
        if request.system is not None:
            body["system"] = request.system
        if request.schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": dict(request.schema)}}
        return body

    def _reply(self, body: Any, seconds: float, request_id: str | None) -> ChatReply:
        counted = body["usage"]
        read, written = (counted.get(f"cache_{name}_input_tokens") or 0 for name in ("read", "creation"))
        return ChatReply(
            text="".join(block["text"] for block in body["content"] if block["type"] == "text"),
            model=body.get("model", self.service.model),
            request_id=request_id or body.get("id"),
            stop=_STOPS.get(body.get("stop_reason"), "other"),
            usage=Usage(
                count(counted["input_tokens"]) + read + written, count(counted["output_tokens"]), read, written
            ),
            seconds=seconds,
        )

    def _refusal(self, exc: Exception) -> SccError | None:
        sdk = self._sdk
        if isinstance(exc, sdk.APIStatusError):
            return self.service.refused(
                exc.status_code,
                str(exc.api_message or exc.response.text),
                request_id=exc.request_id,
                retry_after=retry_after(exc.response.headers),
                quota=exc.type == "billing_error" or _is_spent(exc.error_code),
            )
        if isinstance(exc, sdk.APIResponseValidationError):
            return self.service.unreadable(str(exc))
        return None

    async def aclose(self) -> None:
        await self._clients.aclose()


def _is_spent(code: str | None) -> bool:
    """`ramp_limit_exceeded` and the bare rate limits pass; these do not."""
    return code is not None and ("spend_limit" in code or "billing" in code)
