"""Whom a client asks, and its refusals as our errors: none of them ever holds the key."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from compressor_cli.errors import BadRequestError, QuotaError, RateLimitedError, SccError, UnavailableError, UsageError

_LONGEST = 500  # characters of what a provider says; some answer with a page of HTML
_PERHAPS_DONE = frozenset({408, 502, 504, 524})  # who answers is in between, and does not know what became of it


@dataclass(frozen=True, slots=True)
class Service:
    """`variable` names where the key comes from; `url` is None where the SDK knows the address itself."""

    provider: str
    model: str
    url: str | None
    key: str = field(repr=False)
    variable: str
    timeout: float

    @property
    def name(self) -> str:
        return f"{self.provider}:{self.model}"

    def clean(self, text: str) -> str:
        """One line without the key, of a bearable length."""
        scrubbed = text.replace(self.key, "***") if self.key else text
        line = " ".join("".join(char if char.isprintable() else " " for char in scrubbed).split())
        return line if len(line) <= _LONGEST else line[:_LONGEST] + "..."

    def refused(
        self,
        status: int,
        said: str,
        *,
        request_id: str | None = None,
        retry_after: float | None = None,
        quota: bool = False,
        wrong_key: bool = False,
    ) -> SccError:
        """For an answer with an error status. `quota` and `wrong_key`: what the body says and the status does not."""
        text = f"{self.name}: {status}: {self.clean(said)}"
        if request_id:
            text += f" (request {self.clean(request_id)})"
        if quota or status == 402:
            hint = f"raise the limit or add credit with {self.provider}, then go on with --resume"
            return QuotaError(text, hint=hint, request_id=request_id)
        if wrong_key or status in (401, 403):
            return UsageError(text, hint=f"check {self.variable}: is it right, and may it use this model?")
        if status == 404:
            return UsageError(text, hint="check the name of the model, and the base URL")
        if status == 429:
            return RateLimitedError(text, retry_after=retry_after, request_id=request_id)
        if status in (408, 409) or status >= 500:
            perhaps = status in _PERHAPS_DONE
            return UnavailableError(text, retry_after=retry_after, maybe_charged=perhaps, request_id=request_id)
        return BadRequestError(text, request_id=request_id)

    def unreadable(self, why: str) -> UnavailableError:
        return UnavailableError(f"{self.name}: the answer cannot be read: {self.clean(why)}", maybe_charged=True)

    def no_answer(self, exc: BaseException) -> UnavailableError:
        """For a failure on the way, be it there or back."""
        import httpx2

        what = self.clean(str(exc)) or type(exc).__name__
        if isinstance(exc, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
            return UnavailableError(f"{self.name}: not reached: {what}")
        if isinstance(exc, httpx2.TimeoutException):
            what = f"no answer within {self.timeout:g} seconds"
        return UnavailableError(f"{self.name}: the connection broke: {what}", maybe_charged=True)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """In seconds; a provider gives milliseconds, seconds or a date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        if (value := headers.get(name)) is None:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - time.time()
            except ValueError:
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
