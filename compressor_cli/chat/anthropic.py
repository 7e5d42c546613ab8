"""Claude, by the Messages API."""

from __future__ import annotations

from typing import Any, Literal

from compressor_cli.chat import Note
from compressor_cli.chat.sdk import SdkChat, count
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

        super().__init__(service, note)
        # A timeout of one's own also lifts the SDK's limit of 21,333 tokens on answers that are not streamed.
        timeout = anthropic.Timeout(service.timeout, connect=min(10.0, service.timeout))
        self._sdk = anthropic
        self.client = anthropic.AsyncAnthropic(
            api_key=service.key, base_url=service.url, timeout=timeout, max_retries=0
        )

    async def _send(self, request: ChatRequest) -> Any:
        return await self.client.messages.create(**self.body(request))

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

    def _reply(self, answer: Any, seconds: float) -> ChatReply:
        counted = answer.usage
        read, written = counted.cache_read_input_tokens or 0, counted.cache_creation_input_tokens or 0
        return ChatReply(
            text="".join(block.text for block in answer.content if block.type == "text"),
            model=answer.model,
            request_id=getattr(answer, "_request_id", None) or answer.id,
            stop=_STOPS.get(answer.stop_reason, "other"),
            usage=Usage(count(counted.input_tokens) + read + written, count(counted.output_tokens), read, written),
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
        await self.client.close()


def _is_spent(code: str | None) -> bool:
    """`ramp_limit_exceeded` and the bare rate limits pass; these do not."""
    return code is not None and ("spend_limit" in code or "billing" in code)
