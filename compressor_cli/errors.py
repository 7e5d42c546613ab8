"""Every error a user can cause, each with its exit code.

SccError (1)
├── UsageError (2)            a wrong flag, setting or input; a refused resume
│   ├── MissingExtraError     a package that an extra installs is absent
│   └── MissingKeyError       no API key for a provider that is asked
├── ChatError (1)             what a provider said in place of an answer
│   ├── RateLimitedError      too much at once: try again, later
│   ├── UnavailableError      overloaded, broken, out of reach: try again; it may have been charged
│   ├── BadRequestError       this request will never be answered: recorded on its row
│   └── QuotaError            the account's quota or spend limit: the run stops, and nothing is tried again
├── DetachedError (3)         the run stops waiting for a batch, which goes on at the provider
├── PartialError (3)          done in part: rows failed or are pending
├── SpendCapError (4)         the next request could pass --budget-usd
└── GateError (100)           what was asked of the quality does not hold
    └── BudgetTooSmallError   what must not be touched is larger than the budget
"""

from __future__ import annotations

import shlex
import sys


class SccError(Exception):
    """What went wrong, and in `hint` what to do about it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(SccError):
    exit_code = 2


def install_command(extra: str) -> str:
    """For the interpreter that runs now: another one's pip would install beside it, or fetch a stranger's package."""
    return f"{shlex.quote(sys.executable or 'python')} -m pip install 'compressor-cli[{extra}]'"


class MissingExtraError(UsageError):
    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package {package!r}, which is not installed",
            hint=install_command(extra),
        )


class MissingKeyError(UsageError):
    """`variable` is the name of the environment variable that holds the key."""

    def __init__(self, provider: str, variable: str) -> None:
        super().__init__(f"no API key for {provider}", hint=f"set {variable} in the environment or in .env")


class ChatError(SccError):
    """`request_id` is the provider's, where it gave one."""

    def __init__(self, message: str, *, hint: str | None = None, request_id: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.request_id = request_id


class RateLimitedError(ChatError):
    """`retry_after` in seconds, where the provider said."""

    def __init__(self, message: str, *, retry_after: float | None = None, request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.retry_after = retry_after


class UnavailableError(ChatError):
    """`maybe_charged`: the request was sent and no answer came, so that it may have been done and billed."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        maybe_charged: bool = False,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.retry_after = retry_after
        self.maybe_charged = maybe_charged


class BadRequestError(ChatError):
    pass


class QuotaError(ChatError):
    pass


class SpendCapError(SccError):
    exit_code = 4


class DetachedError(SccError):
    exit_code = 3


class PartialError(SccError):
    exit_code = 3


class GateError(SccError):
    exit_code = 100


class BudgetTooSmallError(GateError):
    """`tokens_needed` is a budget that can be met. `template` is the message with {needed} and {budget}: where a part
    was too large, the caller who knows the whole says these again with `of`."""

    def __init__(
        self, template: str, tokens_needed: int, budget: int | None = None, *, hint: str | None = None
    ) -> None:
        super().__init__(template.replace("{needed}", str(tokens_needed)).replace("{budget}", str(budget)), hint=hint)
        self.template, self.tokens_needed, self.budget = template, tokens_needed, budget

    def of(self, tokens_needed: int, budget: int | None) -> BudgetTooSmallError:
        return BudgetTooSmallError(self.template, tokens_needed, budget, hint=self.hint)
