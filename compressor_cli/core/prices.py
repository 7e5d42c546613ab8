"""What a request can cost at most, and what it did cost, by list prices; amounts are integers of 1e-9 USD.

A price list is YAML: `assets/prices.yaml`, and before it the user's own file of the same form. A model that stands in
neither has no price, which is never taken for a price of zero.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from compressor_cli.errors import UsageError
from compressor_cli.records import ChatRequest, Usage

NANO = 10**9  # parts of a dollar
SHIPPED = Path(__file__).parents[1] / "assets" / "prices.yaml"

# Tokens that providers add around what is sent: roles and marks of turns; instructions that go with a schema (Anthropic
# documents up to 530 for tools).
PER_REQUEST, PER_MESSAGE, PER_SCHEMA = 64, 16, 1024

_DATED = re.compile(r"-(?:\d{4}-\d\d-\d\d|20\d{6})$")


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _RatesForm(_Form):
    """USD per million tokens. Without a rate of their own, tokens of the prompt cache cost what input costs."""

    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)
    cache_read: Decimal | None = Field(None, ge=0)
    cache_write: Decimal | None = Field(None, ge=0)


class _LongForm(_RatesForm):
    """For the whole of a request whose input is more than `above` tokens."""

    above: int = Field(ge=0)


class _ModelForm(_RatesForm):
    """`then` is what holds after the day `until`."""

    long: _LongForm | None = None
    batch: Decimal | None = Field(None, ge=0)
    until: date | None = None
    then: _ModelForm | None = None

    @model_validator(mode="after")
    def _goes_on(self) -> _ModelForm:
        if (self.until is None) != (self.then is None):
            raise ValueError("`until` and `then` go together: without one, what holds after that day is not known")
        return self


class _ListForm(_Form):
    """`batch` is the factor on all rates of a request in a batch, where the model says no other."""

    as_of: date
    batch: Decimal = Field(Decimal(1), ge=0)
    models: dict[str, _ModelForm]


@dataclass(frozen=True, slots=True)
class Rates:
    """In 1e-9 USD per million tokens."""

    input: int
    output: int
    cache_read: int
    cache_write: int


@dataclass(frozen=True, slots=True)
class Price:
    """`as_of` is the day of the list it comes from."""

    rates: Rates
    batch: Fraction
    as_of: date
    above: int | None = None
    long: Rates | None = None
    until: date | None = None
    then: Price | None = None

    def at(self, day: date) -> Price:
        return self.then.at(day) if self.then and self.until and day > self.until else self

    def cost(self, usage: Usage, *, batch: bool = False) -> int:
        rates = self.long if self.long and self.above is not None and usage.input_tokens > self.above else self.rates
        fresh = max(0, usage.input_tokens - usage.cache_read - usage.cache_write)
        total = fresh * rates.input + usage.cache_read * rates.cache_read
        total += usage.cache_write * rates.cache_write + usage.output_tokens * rates.output
        return self._charged(total, batch)

    def bound(self, request: ChatRequest, *, batch: bool = False) -> int:
        """No answer to this request costs more: every token takes at least a byte, and the highest rate is charged."""
        tokens = _most_tokens(request)
        which = [self.rates]
        if self.long and self.above is not None and tokens > self.above:
            which.append(self.long)
        highest = max(max(rates.input, rates.cache_read, rates.cache_write) for rates in which)
        output = max(rates.output for rates in which)
        return self._charged(tokens * highest + request.max_tokens * output, batch)

    def _charged(self, total: int, batch: bool) -> int:
        """`total` is in 1e-9 USD times a million; rounded up."""
        factor = self.batch if batch else 1
        return -int(-total * factor // 1_000_000)


class Prices:
    """Of several lists the first that knows a model counts; `as_of` is the day of the last, the shipped one."""

    def __init__(self, lists: Iterable[tuple[date, list[tuple[str, Price]]]]) -> None:
        self._lists = list(lists)
        self.as_of = self._lists[-1][0]

    def find(self, name: str) -> Price | None:
        """By `provider:model`; a date at the end of a model's name is looked past where nothing fits with it."""
        names = dict.fromkeys((name, _DATED.sub("", name)))
        for _, models in self._lists:
            for wanted in names:
                for pattern, price in models:
                    if fnmatchcase(wanted, pattern):
                        return price
        return None


def load_prices(own: Path | None = None) -> Prices:
    """Raises UsageError for a file of one's own that is missing or has another form."""
    return Prices([_read(path) for path in (own, SHIPPED) if path is not None])


def nano(usd: Decimal | float) -> int:
    return int((Decimal(str(usd)) * NANO).to_integral_value(ROUND_CEILING))


def _most_tokens(request: ChatRequest) -> int:
    texts = [message.content for message in request.messages]
    extra = PER_REQUEST + PER_MESSAGE * len(request.messages)
    if request.system:
        texts.append(request.system)
    if request.schema is not None:
        texts += [json.dumps(request.schema), request.schema_name]
        extra += PER_SCHEMA
    return extra + sum(len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")) for text in texts)


def _read(path: Path) -> tuple[date, list[tuple[str, Price]]]:
    hint = "its form is that of compressor_cli/assets/prices.yaml"
    try:
        form = _ListForm.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as exc:
        raise UsageError(f"prices file {path}: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"prices file {path}: not UTF-8") from None
    except yaml.YAMLError as exc:
        raise UsageError(f"prices file {path}: not YAML: {' '.join(str(exc).split())}") from None
    except ValidationError as exc:
        told = "; ".join(f"{'.'.join(map(str, error['loc'])) or 'top'}: {error['msg']}" for error in exc.errors())
        raise UsageError(f"prices file {path}: {told}", hint=hint) from None
    return form.as_of, [(pattern, _price(model, form)) for pattern, model in form.models.items()]


def _price(model: _ModelForm, form: _ListForm) -> Price:
    return Price(
        rates=_rates(model),
        batch=Fraction(form.batch if model.batch is None else model.batch),
        as_of=form.as_of,
        above=model.long.above if model.long else None,
        long=_rates(model.long) if model.long else None,
        until=model.until,
        then=_price(model.then, form) if model.then else None,
    )


def _rates(form: _RatesForm) -> Rates:
    read, write = (form.input if rate is None else rate for rate in (form.cache_read, form.cache_write))
    return Rates(nano(form.input), nano(form.output), nano(read), nano(write))
