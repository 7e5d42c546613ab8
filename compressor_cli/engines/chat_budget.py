"""A budget shared out over the contents of a chat: by size and age, and what one cannot do without the others pay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from compressor_cli.core.domains import Domain
from compressor_cli.errors import BudgetTooSmallError
from compressor_cli.records import Receipt

Count = Callable[[str], int]

SHORT = 40  # tokens; shorter contents are left alone unless the budget needs them
_SQUEEZED = 0.1  # of the long contents, below which a budget needs the short ones
_ROUNDS = 6  # of sharing out
_CALLS = 3  # of one content while sharing out; finding what it cannot do without takes two more
_NEAR = 0.95  # of a share or of the budget, at which a result is good enough
_USED_UP = 0.85  # of its share; a content that uses less has no use for more


@dataclass(frozen=True, eq=False)
class Form:
    """A content as it may stand in the result; `tokens` of the text, `cost` of its JSON, where a line end is two signs.

    `most` tokens were allowed for it.
    """

    json: str
    tokens: int
    cost: int
    most: float
    receipt: Receipt | None = None


@dataclass(eq=False)
class Content:
    """A text that may be compressed, and what was learnt about it. `ask` gives a form, or the tokens that it needs."""

    path: str
    domain: Domain
    weight: float
    whole: Form
    ask: Callable[[int | None], Form | int]
    forms: list[Form] = field(default_factory=list)
    least: Form | None = None
    ratio: float = 1.0  # cost of a token
    needed: int = 1
    cap: float = 0.0
    calls: int = 0

    @property
    def short(self) -> bool:
        return self.whole.tokens < SHORT

    @property
    def floor(self) -> float:
        """The smallest cost there can be, as far as is known."""
        return self.least.cost if self.least else min((self.needed + 0.5) * self.ratio, self.whole.cost)

    def by_default(self) -> Form:
        form = self.whole if self.short else self.ask(None)
        return form if isinstance(form, Form) and form.cost < self.whole.cost else self.whole

    def fit(self, share: float) -> Form | None:
        """A form for a share of the budget, roughly; None where that is refused, and `floor` is higher now."""
        if share >= self.whole.cost:
            return self.whole
        most = max(int(share / self.ratio), 1)
        fitting = [form for form in self.forms if form.cost <= share]
        known = [form for form in fitting if form.cost >= _NEAR * share or form.most >= most]
        if not known and self.calls < _CALLS:
            self.calls += 1
            made = self.ask(most)
            if isinstance(made, Form) and made.cost < self.whole.cost:
                self.forms.append(made)
                self.ratio = made.cost / max(made.tokens, 1)
                self.cap = made.cost if made.cost < _USED_UP * share else self.cap
                return made
            self.needed = made if isinstance(made, int) and made > most else self.whole.tokens
        return max(known or fitting, key=lambda form: form.cost, default=None)

    def smallest(self) -> Form:
        """The least that this content can be, whatever was asked before: what a chat is said to need is then enough."""
        most = 1
        for _ in range(_CALLS):
            made = self.ask(most)
            if isinstance(made, Form):
                self.least = made if made.cost < self.whole.cost else self.whole
                break
            if made <= most:
                break
            most = made
        self.least = self.least or self.whole
        self.forms.append(self.least)
        return self.least


Render = Callable[[Sequence[Form]], str]


def within(
    budget: int, render: Render, contents: Sequence[Content], before: int, count: Count, flags: str
) -> list[Form]:
    """The long contents alone, all of them, or each as short as it can be. `flags` say what stays verbatim."""
    whole = [content.whole for content in contents]
    stays = count(render([replace(form, json='""') for form in whole]))
    room = budget - stays - sum(content.whole.cost for content in contents if content.short)
    long = [content for content in contents if not content.short]
    forms = None
    if room >= _SQUEEZED * sum(content.whole.cost for content in long):
        forms = _shared_out(budget, render, contents, long, count)
    forms = forms or _shared_out(budget, render, contents, contents, count)
    if forms:
        return forms
    smallest = [content.smallest() for content in contents]
    needed = min(count(render(smallest)), count(render(whole)), before)
    if needed > budget:
        raise BudgetTooSmallError(
            "the chat takes at least {needed} tokens, the budget is {budget}",
            needed,
            budget,
            hint=f"{stays} of them stay verbatim" + (f"; less than {flags} would leave fewer" if flags else ""),
        )
    return _shared_out(budget, render, contents, contents, count) or smallest


def filled_up(budget: int, render: Render, contents: Sequence[Content], forms: list[Form], count: Count) -> list[Form]:
    """With what fits whole put back, the newest first; data stays short, since it lost nothing."""
    room = budget - count(render(forms))
    filled = list(forms)
    for n, content in reversed(list(enumerate(contents))):
        made = forms[n].receipt
        extra = content.whole.cost - forms[n].cost + 1
        if made is not None and made.engine != "json" and extra <= room:
            filled[n] = content.whole
            room -= extra
    return filled if count(render(filled)) <= budget else forms


def _shared_out(
    budget: int, render: Render, contents: Sequence[Content], some: Sequence[Content], count: Count
) -> list[Form] | None:
    """The fullest of a few attempts at fitting `some` of the contents, the others whole; None where none fits."""
    best: list[Form] | None = None
    last: list[Form] = []
    most = 0
    whole = [content.whole for content in contents]
    room = budget - count(render(whole)) + sum(content.whole.cost for content in some)
    for _ in range(_ROUNDS):
        shares = _shares(some, room)
        if shares is None:
            break
        found = _fitted(some, shares)
        if found is None:  # floors are better known now
            continue
        forms = [found.get(content.path, content.whole) for content in contents]
        total = count(render(forms))
        if most < total <= budget:
            best, most = forms, total
        if _NEAR * budget <= total <= budget or forms == last:
            break
        room, last = budget - total + sum(form.cost for form in found.values()), forms
    return best


def _fitted(contents: Sequence[Content], shares: Sequence[float]) -> dict[str, Form] | None:
    """By path; None where one was refused. What shrinks only so far goes first: prose pays for it, and takes longer."""
    found: dict[str, Form] = {}
    pairs = list(zip(contents, shares, strict=True))
    for rigid in (True, False):
        fits = {c.path: c.fit(share) for c, share in pairs if (c.domain.name in ("code", "json")) == rigid}
        found |= {path: form for path, form in fits.items() if form is not None}
        if None in fits.values():
            return None
    return found


def _shares(contents: Sequence[Content], room: float) -> list[float] | None:
    """The room by size and weight, none below its floor nor above its cap; None where it is less than the floors."""
    floors = [content.floor for content in contents]
    if sum(floors) > room:
        return None
    caps = [max(content.cap or content.whole.cost, floor) for content, floor in zip(contents, floors, strict=True)]
    if sum(caps) <= room:
        return caps
    wishes = [content.weight * content.whole.cost for content in contents]

    def at(level: float) -> list[float]:
        return [min(cap, max(floor, level * w)) for cap, floor, w in zip(caps, floors, wishes, strict=True)]

    low, high = 0.0, 1 / min((content.weight for content in contents), default=1.0)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(at(middle)) <= room else (low, middle)
    return at(low)
