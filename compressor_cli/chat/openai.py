"""GPT, and whatever else speaks the Chat Completions API: vLLM, Ollama, `mlx_lm server`."""

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
    "stop": "end",
    "length": "length",
    "content_filter": "refusal",
}
SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
NO_KEY = "none"  # the SDK wants one, and would take OPENAI_API_KEY to a server that is not OpenAI's


class OpenAIChat(SdkChat):
    def __init__(self, service: Service, note: Note) -> None:
        import httpx2
        import openai

        super().__init__(service, note)
        self._sdk = openai
        self._own = service.provider == "openai"
        self._refused: set[str] = set()  # parameters that the model does not take, as learnt from its refusals
        timeout = openai.Timeout(service.timeout, connect=min(10.0, service.timeout))
        connect = partial(openai.DefaultAsyncHttpxClient, verify=httpx2.create_ssl_context())
        self.client = openai.AsyncOpenAI(
            api_key=service.key or NO_KEY, base_url=service.url, timeout=timeout, max_retries=0, http_client=connect()
        )
        self._clients = Clients(self.client, connect)

    async def _send(self, request: ChatRequest) -> tuple[Any, str | None]:
        import httpx2

        while True:
            body = self.body(request)
            try:
                with self._clients.lent() as client:
                    answer = await client.post(
                        "/chat/completions",
                        cast_to=httpx2.Response,
                        body=body,
                        options={"security": {"bearer_auth": True}},  # never OPENAI_ADMIN_KEY
                    )
                return json.loads(answer.content), answer.headers.get("x-request-id")
            except self._sdk.BadRequestError as exc:
                if exc.param not in body or not self.learns(exc.code, exc.param):
                    raise

    def learns(self, code: str | None, param: str | None) -> bool:
        """Whether a refusal says that the model does not take an option which can be left out; from then on it is."""
        if param not in ("temperature", "seed", "top_p") or not (code or "").startswith("unsupported"):
            return False
        self._refused.add(param)
        self.note(f"{self.name} takes no {param}: not sent")
        return True

    def body(self, request: ChatRequest) -> dict[str, Any]:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        if request.system is not None:
            messages.insert(0, {"role": "system", "content": request.system})
        body: dict[str, Any] = {"model": self.service.model, "messages": messages}
        body["max_completion_tokens" if self._own else "max_tokens"] = request.max_tokens
        for option in ("temperature", "top_p", "seed"):
            if getattr(request, option) is not None:
                body[option] = getattr(request, option)
        if request.schema is not None:
            schema = {"name": request.schema_name, "schema": dict(request.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {name: value for name, value in body.items() if name not in self._refused}

    def _reply(self, body: Any, seconds: float, request_id: str | None) -> ChatReply:
        choice, *_ = body["choices"]
        message = choice["message"]
        refusal = message.get("refusal")
        return ChatReply(
            text="".join([message.get("content") or refusal or ""]),
            model=body.get("model", self.service.model),
            request_id=request_id or body.get("id"),
            stop="refusal" if refusal else _STOPS.get(choice.get("finish_reason"), "other"),
            usage=self._usage(body.get("usage")),
            seconds=seconds,
        )

    def _usage(self, counted: Any) -> Usage:
        if counted is None and not self._own:
            self.note(f"{self.name} does not say how many tokens it used: counted as 0")
            return Usage(0, 0)
        details = counted.get("prompt_tokens_details") or {}
        read, written = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
        return Usage(count(counted["prompt_tokens"]), count(counted["completion_tokens"]), read, written)

    def _refusal(self, exc: Exception) -> SccError | None:
        sdk = self._sdk
        if isinstance(exc, sdk.APIStatusError):
            said = exc.body.get("message") if isinstance(exc.body, dict) else None
            return self.service.refused(
                exc.status_code,
                str(said or exc.response.text),
                request_id=exc.request_id,
                retry_after=retry_after(exc.response.headers),
                quota=exc.code in SPENT or exc.type == "insufficient_quota",
            )
        if isinstance(exc, sdk.APIResponseValidationError):
            return self.service.unreadable(str(exc))
        return None

    async def aclose(self) -> None:
        await self._clients.aclose()
