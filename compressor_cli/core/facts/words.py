"""The words for what negations, modals and limits do, and the words that say nothing by themselves."""

from __future__ import annotations

# What a cue does, and the words for it. Those after the stroke are cues only in a compressed text, where they can stand
# for one of the original; in ordinary prose they mean too much else.
_CUES = {
    "neg": "not,never,no,none,nor,neither,without,w o,w out,cannot,can not,nobody,no one,nothing,nowhere,no longer,"
    "not yet,deny,denies,denied,denying,refuse,refuses,refused,refusing,reject,rejects,rejected,rejecting,fail,fails,"
    "failed,failing,lack,lacks,lacked,lacking,unable|non,un,sans,zero,0,absent,absence,missing,impossible,avoid,"
    "avoids,avoided,exclude,excludes,excluded,excluding,exempt,false,nil,null,declined,declines,dont,doesnt,wont,"
    "cant,isnt,free,anti,stop,stopped,invalid,ban,bans,ignored,ignores,ignore,skipped,skips,off,failure,refusal,"
    "denial,rejection,ruled out,rules out,rule out,prevent,prevents,prevented,nope,incapable,inability",
    "forbid": "must not,shall not,forbid,forbids,forbidden,prohibit,prohibits,prohibited,banned,not allowed,not "
    "permitted,not be allowed,not be permitted,mustn't,mustn’t|disallowed,disallow,disallows,off limits,ban,bans,"
    "prohibition",
    "maynot": "may not",
    "shouldnot": "should not,ought not,shouldn't,shouldn’t,not recommended|avoid,not advised,discouraged,inadvisable",
    "optional": "not need,need not,needn't,needn’t,not have to,not need to,not required,not necessary,not obliged,not "
    "obligatory,no need,not mandatory,not compulsory|optional,optionally,voluntary,unnecessary,exempt,no obligation,"
    "not needed,not req",
    "weak": "hardly,scarcely,barely,rarely,seldom|few,little,almost no,almost never",
    "only": "only,solely,exclusively|just,sole,alone,merely,exclusive,nothing but,no one else,nobody else,restricted,"
    "limited",
    "notonly": "not only,not just,not merely,not simply|also,both,as well,plus,besides",
    "except": "except,except for,apart from,other than,with the exception of,save for,aside from|excluding,exclude,"
    "excludes,excluded,excl,excepting,bar,barring,save,besides,exception,exceptions,exempt,minus,all but",
    "unless": "unless|if not,or else,else,otherwise,except if,except when,only if,w o,without,barring",
    "until": "until,till|til,up to,pending,through,thru,before",
    "notuntil": "not until,not before,no earlier than,not earlier than|only after,only from,only once,only when,"
    "earliest,after",
    "instead": "instead of,rather than,in place of|instead,vs,replaces,replacing,replaced",
    "against": "against|vs,anti,con,opposed,opposes,oppose,opposing",
    "must": "must,shall,has to,have to,had to,having to,needs to,need to,needed to,required to,obliged to,obligated "
    "to,is required,are required,was required,be required,were required,mandatory,compulsory|required,requires,"
    "require,req,req'd,reqd,needs,need,needed,obliged,obligatory,obligation,due,requirement,duty,to be,necessary,"
    "essential",
    "should": "should,ought to,had better|recommended,recommend,recommends,advised,advise,ought,shd,preferably,"
    "supposed,advisable,rec",
    "may": "may,allowed to,permitted to,allowed,permitted,entitled to|might,can,could,possibly,possible,perhaps,"
    "maybe,permissible,ok,allow,allows,permit,permits,eligible,free to,entitled,potentially,potential,able,optional,"
    "option,right to",
}  # fmt: skip
_LIMITS = {
    "le": "at most,no more than,not more than,up to,no longer than,no later than,no greater than,no higher than,not "
    "later than,not longer than,a maximum of,maximum of,maximum,not exceed,not exceeding,not to exceed,must not "
    "exceed,may not exceed,cannot exceed,shall not exceed,should not exceed,at the most|max,within,capped at,limited "
    "to,limit,cap,latest,by,not over,not above,limit of,limit is,never exceed",
    "ge": "at least,no less than,no fewer than,not less than,not fewer than,a minimum of,minimum of,minimum,at the "
    "least|min,from,min of,earliest,not under,not below",
    "lt": "less than,fewer than,under,below,lower than,smaller than,younger than,shorter than|sub,short of",
    "gt": "more than,over,above,greater than,higher than,larger than,older than,longer than,exceeding,exceeds,"
    "exceeded,exceed,upwards of,in excess of|beyond,past,topping",
}  # fmt: skip
AFTER_NUMBER = {
    "or less": "le", "or fewer": "le", "or below": "le", "or under": "le", "or younger": "le", "at most": "le",
    "at the most": "le", "max": "le", "maximum": "le", "or lower": "le", "or shorter": "le", "or earlier": "le",
    "or more": "ge", "or above": "ge", "or older": "ge", "or over": "ge", "or better": "ge", "at least": "ge",
    "at the least": "ge", "min": "ge", "minimum": "ge", "and over": "ge", "and above": "ge", "and older": "ge",
    "and up": "ge", "or higher": "ge", "or longer": "ge", "or later": "ge",
}  # fmt: skip
NT = ("n't", "n’t")
SIGNS = {"≤": "le", "<=": "le", "⩽": "le", "≥": "ge", ">=": "ge", "⩾": "ge", "<": "lt", ">": "gt"}
APART = {"max": "le", "maximum": "le", "limit": "le", "min": "ge", "minimum": "ge"}
MODALS = {"must": "forbid", "shall": "forbid", "may": "maynot", "should": "shouldnot", "ought": "shouldnot"}
FILLERS = frozenset("about around roughly approximately some a an the nearly of".split())
PRONOUNS = "i you he she it we they there who which that whom whose this these those me him them us".split()
AUXILIARY = frozenset(
    "am is are was were be been being do does did has have had having can could may might must shall should will would "
    "need ought get gets got".split()
)
CONJUNCTION = frozenset(
    "but while when whenever if because although though whereas since so unless until except than where after before "
    "whether once and".split()
)
RELATIVE = frozenset("who which that whom whose".split())
FUNCTION = (
    frozenset(
        "a an the to of in on at by for from with as any all also even yet very so too more just really ever enough "
        "its their his her our your my own such both each every some other another about into onto upon over under "
        "again still p m pm already anymore why thus then therefore however quite almost always often currently much "
        "many most or nor".split()
    )
    | frozenset("not no never only none neither without cannot".split())
    | frozenset(PRONOUNS)
    | AUXILIARY
    | CONJUNCTION
)
LY_VERBS = frozenset(
    "apply supply reply rely family fly july italy early daily weekly monthly yearly ally comply".split()
)
TWO_WORDS = frozenset("no without unless except nor neither instead never only against until".split())
DETERMINERS = frozenset("no none neither nor nobody nothing never nowhere".split())
BOTH_SIDES = frozenset("except must should may optional forbid until instead against weak".split())
IDIOMS = frozenset(("whether or not", "not to mention", "no doubt", "no matter"))


def _table(cues: dict[str, str], column: int) -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for does, line in cues.items():
        for phrase in filter(None, line.partition("|")[2 * column].split(",")):
            table[phrase] = (*table.get(phrase, ()), does)
    return table


def _by_first_word(table: dict[str, tuple[str, ...]]) -> dict[str, list[tuple[list[str], tuple[str, ...]]]]:
    """The longest first."""
    found: dict[str, list[tuple[list[str], tuple[str, ...]]]] = {}
    for phrase in sorted(table, key=len, reverse=True):
        words = phrase.split(" ")
        found.setdefault(words[0], []).append((words, table[phrase]))
    return found


PLAIN, LOOSE = _by_first_word(_table(_CUES, 0)), _by_first_word(_table(_CUES, 1))
AFTER_FIRST = frozenset(word for phrase in AFTER_NUMBER for word in phrase.removeprefix("and ").split(" ")[:1]) | {
    "and"
}
PLAIN_LIMITS = _table(_LIMITS, 0)
LOOSE_LIMITS = _table(_LIMITS, 1) | PLAIN_LIMITS
LIMIT_ENDS = frozenset(phrase.split(" ")[-1] for phrase in LOOSE_LIMITS)
_WORD_LIMITS = {
    phrase: PLAIN_LIMITS[phrase]
    for phrase in (
        "at least",
        "at most",
        "no more than",
        "not more than",
        "no less than",
        "no fewer than",
        "no later than",
        "more than",
        "less than",
        "fewer than",
    )
}
for _phrase, _does in _WORD_LIMITS.items():  # also of what is no number: at least the manager
    PLAIN.setdefault(_phrase.split(" ")[0], []).insert(0, (_phrase.split(" "), _does))
# Words that begin a cue but are none alone, and those that may follow them: most texts are full of `to` and `as`.
LED = {
    word
    for word in PLAIN | LOOSE
    if not any(phrase == [word] for phrase, _ in PLAIN.get(word, []) + LOOSE.get(word, []))
}
SECOND_WORDS = {phrase[1] for table in (PLAIN, LOOSE) for word in LED for phrase, _ in table.get(word, [])}

# What else keeps what a cue does.
KEEPS = {
    "neg": ("neg", "forbid", "maynot"),
    "forbid": ("forbid", "neg", "maynot"),
    "maynot": ("maynot", "neg", "forbid"),
    "shouldnot": ("shouldnot", "neg"),
    "optional": ("optional",),
    "weak": ("weak", "neg"),
    "only": ("only",),
    "notonly": ("notonly",),
    "except": ("except", "unless", "neg"),
    "unless": ("unless", "except", "neg"),
    "until": ("until",),
    "gt": ("gt",),
    "lt": ("lt",),
    "notuntil": ("notuntil",),
    "instead": ("instead", "neg"),
    "against": ("against", "neg"),
    "must": ("must",),
    "should": ("should",),
    "may": ("may",),
}
DENIES = frozenset("neg forbid maynot shouldnot optional notuntil weak".split())
_SAID = DENIES - {"notuntil"}
MAY_DENY = _SAID | {"except", "unless", "instead", "only"}
LOOSE_DENIALS = frozenset(word for word, found in LOOSE.items() if any(_SAID.intersection(does) for _, does in found))
