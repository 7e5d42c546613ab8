"""Gemini, by `generateContent` of the Gemini API."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any, Literal

from compressor_cli.chat import Note
from compressor_cli.chat.sdk import SdkChat, count
from compressor_cli.chat.service import Service
from compressor_cli.chat.service import retry_after as retry_after_header
from compressor_cli.errors import SccError
from compressor_cli.records import ChatReply, ChatRequest, Usage

if TYPE_CHECKING:
    from google.genai import types

_STOPS: dict[str, Literal["end", "length", "refusal"]] = {
    "STOP": "end",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "refusal",
    "RECITATION": "refusal",
    "BLOCKLIST": "refusal",
    "PROHIBITED_CONTENT": "refusal",
    "SPII": "refusal",
}
_SPENT = re.compile("spending cap|credits are depleted", re.IGNORECASE)  # has no code of its own


class GoogleChat(SdkChat):
    def __init__(self, service: Service, note: Note) -> None:
        import httpx2
        from google import genai
        from google.genai import errors, types

        super().__init__(service, note)
        # Given a client of our own, the SDK does not look for aiohttp, with which it would send again what failed.
        self._http = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100))
        milliseconds = max(1, round(service.timeout * 1000))  # None here would be no limit, whatever the client's is
        # Of two keys in the environment it says which one it took, but it takes neither: the key is given.
        logging.getLogger("google_genai._api_client").setLevel(logging.ERROR)
        self._errors = errors
        self._client = genai.Client(
            vertexai=False,
            api_key=service.key,
            http_options=types.HttpOptions(base_url=service.url, timeout=milliseconds, httpx_async_client=self._http),
        )

    async def _send(self, request: ChatRequest) -> tuple[Any, None]:
        # The answer is read here, raw: one of an unknown shape fails anywhere within the SDK, and one that is cut makes
        # it send, and be charged for, one continuation after another.
        config: types.GenerateContentConfigDict = {
            "max_output_tokens": request.max_tokens,
            "should_return_http_response": True,
        }
        if request.system is not None:
            config["system_instruction"] = request.system
        if request.temperature is not None:
            config["temperature"] = request.temperature
        if request.seed is not None:
            config["seed"] = request.seed
        if request.schema is not None:
            config["response_mime_type"] = "application/json"
            config["response_json_schema"] = dict(request.schema)
        for message in request.messages:
            message.content.encode()  # the SDK would send what is no Unicode text
        contents: list[types.ContentUnionDict] = [
            {"role": "model" if message.role == "assistant" else "user", "parts": [{"text": message.content}]}
            for message in request.messages
        ]
        answer = await self._client.aio.models.generate_content(
            model=self.service.model, contents=contents, config=config
        )
        received: Any = answer.sdk_http_response
        return json.loads(received.body), None

    def _reply(self, body: Any, seconds: float, request_id: str | None) -> ChatReply:
        counted = body["usageMetadata"]
        refused = "blockReason" in body.get("promptFeedback", {})
        (candidate, *_) = body.get("candidates") or [{"finishReason": "SAFETY"} if refused else None]
        parts = candidate.get("content", {}).get("parts", [])
        return ChatReply(
            text="".join(part["text"] for part in parts if "text" in part and not part.get("thought")),
            model=body.get("modelVersion", self.service.model),
            request_id=body.get("responseId"),
            stop=_STOPS.get(candidate["finishReason"], "other"),
            usage=Usage(
                count(counted["promptTokenCount"]) + count(counted.get("toolUsePromptTokenCount", 0)),
                count(counted.get("candidatesTokenCount", 0)) + count(counted.get("thoughtsTokenCount", 0)),
                count(counted.get("cachedContentTokenCount", 0)),
            ),
            seconds=seconds,
        )

    def _refusal(self, exc: Exception) -> SccError | None:
        if isinstance(exc, self._errors.APIError):
            headers = getattr(exc.response, "headers", {})
            details = _details(exc.details)
            said = str(exc.message or "")
            return self.service.refused(
                exc.code,
                said,
                retry_after=_retry_delay(details) or retry_after_header(headers),
                quota=exc.code == 429 and (_for_the_day(details) or bool(_SPENT.search(said))),
                wrong_key=any(detail.get("reason") == "API_KEY_INVALID" for detail in details),
            )
        return None

    async def aclose(self) -> None:
        await self._http.aclose()
        self._client.close()


def _details(body: Any) -> list[dict[str, Any]]:
    error = body.get("error", body) if isinstance(body, dict) else None
    return _objects(error.get("details")) if isinstance(error, dict) else []


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _retry_delay(details: list[dict[str, Any]]) -> float | None:
    for detail in details:
        if delay := re.fullmatch(r"(\d{1,9}(?:\.\d+)?)s", str(detail.get("retryDelay"))):
            return float(delay[1])
    return None


def _for_the_day(details: list[dict[str, Any]]) -> bool:
    """A quota by the minute is waited for; one by the day, or of nothing at all, is not."""
    return any(
        "PerDay" in str(violation.get("quotaId")) or str(violation.get("quotaValue")) == "0"
        for detail in details
        for violation in _objects(detail.get("violations"))
    )
