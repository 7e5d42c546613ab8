"""Words that say the opposite of each other: by a prefix (safe, unsafe), an ending (careful, careless) or in pairs."""

from __future__ import annotations

import re

from compressor_cli.core.facts.values import stem

PREFIXES = ("un", "in", "im", "ir", "il", "dis", "non", "mis")
_LEAST = 3  # letters of what an ending is taken off
# In- denies adjectives and what is made of them only: inward, infall.
_DENIES = re.compile(
    r"(?:un|non|dis)([a-z]{3,})"
    r"|(?:in|im|ir|il)([a-z]+(?:able|ibl[ey]|ably|al|ate|ent|ant|ive|ect|ete|ous|ity|[ae]nc[ey]|ly|ure|ite|ar|id|er))"
)
# Begin like a negation, and are none.
_NO_PREFIX = frozenset(
    "income inform information indeed inflammable input inside install instance intend invaluable invent invest "
    "invoice union unit universe until disclose discount discover discuss disease display improve import "
    "important impress".split()
)

# Where a text says the one and another text the other, they contradict each other. Any form of a word will do, by its
# stem; of forms that have none in common, each. What turns into the other seen from the other side (A is above B, B is
# below A) stands after a `>`.
_PAIRS = """
> above | below beneath
accept approve grant | decline deny refuse reject
activate enable | deactivate disable disables
add | remove subtract
agree | oppose refuse
alive | dead
allow permit | ban deny forbid prohibit disallow
ancient | modern
answer | ignore
arrive | depart
ascend | descend
attack | defence defend defense
attend present | absent missing skip
> before | after
begin start | cease end finish stop
best | worst
> better | worse
> big bigger great larger | little smaller
biggest greatest largest | smallest
> buy buyer | sell seller
> cheap | dear expensive
cheapest | dearest
clean | dirty
coldest | hottest warmest
> cold cool | hot warm
contain include incl | exclude excl
create | delete destroy
credit | debit
> deep | shallow
domestic | foreign
download | upload
dry | wet
> early | late
earliest | latest
> east | west
eastern | western
> easy easier | difficult hard
empty | full
> enter | exit leave leaving
even | odd
exist | absent missing
expand | shrink shrank shrunk
> export | import
fail failure | pass succeed success successful
false | true
> fast quick | slow
fastest | slowest
female | male
forget | remember
front | back rear
> gain win | lose loss
good | bad poor
guilty | innocent
> heavy heavier | light
> high | low
highest | lowest
horizontal | vertical
husband | wife
climb grow increase raise rise soar | cut decline decrease drop fall lower plunge reduce shrink shrank shrunk sink slump
inner inside internal | external outer outside
input | output
> junior | senior
least minimum min | max maximum most
> left | right
legal | banned forbidden prohibited
> lend | borrow
> long | short
longest | shortest
majority | minority
> man | woman
mandatory compulsory obligatory | optional voluntary
manual | automatic
> more | fewer less
> narrow | broad wide
new newest young youngest | old oldest
> north | south
northern | southern
open | closed shut
permanent | temporary
positive | negative
private | public
profit | loss losses
pull | push
> receive | send
> rich | poor
rural | urban
safe | dangerous hazardous risky
> strong | weak
support favour favor | oppose against
survive live | die
> thick | thin
top upper | bottom lower
> upstream | downstream
trust | distrust
victory | defeat
"""

# What a denied word can be said as: not enough, insufficient. They contradict each other in some senses only.
_DENIED_AS = """
allow permit: forbidden prohibited banned; accept: decline; enough: insufficient short too; work: broken down;
know: unaware ignorant; attend: miss; occupied: empty; able: unable; longer: stop ceas end former ex discontinue;
yet: pending still; many: few; much: little; often: rare seldom; well: poor bad; change: same constant unchanged;
move: still; different: same; anybody: empty deserted; late: punctual; one: nobody none; anyone: nobody none;
anything: nothing; wait: immediate
"""


def _poles() -> dict[str, list[tuple[int, bool, bool]]]:
    """Of each stem: the lines it is of, the side of the line, and whether that depends on where one stands."""
    table: dict[str, list[tuple[int, bool, bool]]] = {}
    for number, line in enumerate(_PAIRS.strip().splitlines()):
        for side, words in enumerate(line.lstrip("> ").split("|")):
            for key in sorted({stem(word) for word in words.split()}):
                table.setdefault(key, []).append((number, bool(side), line[0] == ">"))
    return table


POLES = _poles()


def _denied_as() -> dict[str, set[str]]:
    table: dict[str, set[str]] = {}
    lines = [line.lstrip("> ").split("|") for line in _PAIRS.strip().splitlines()]
    lines += [entry.split(":") for entry in _DENIED_AS.split(";")]
    for line in lines:
        some, others = ({stem(word) for word in words.split()} for words in line)
        for word in some:
            table.setdefault(word, set()).update(others)
        for word in others:
            table.setdefault(word, set()).update(some)
    return table


DENIED_AS = _denied_as()


def without_prefix(word: str) -> str:
    """What a word denies, if it begins as one that does; else nothing."""
    match = _DENIES.fullmatch(word)
    return match[1] or match[2] if match and word not in _NO_PREFIX else ""


def without_less(word: str) -> str:
    """`care` of careless."""
    return word[:-4] if word.endswith("less") and len(word) >= 4 + _LEAST else ""
