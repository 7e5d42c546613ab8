"""Whether a text is English, the language the embedded model was trained on. Rules, for whole texts and for lines."""

from __future__ import annotations

from collections.abc import Sequence

_ENGLISH = frozenset(
    "the of and to in is that for was on are with as it be by at this from have not or which but were an we you they he she "
    "has had their its can will would there been if more when who what all do so about into than them only some could out "
    "your our my his her i then these no how also should must may after before because while where any each other".split()
)
# Frequent words that are no English words, by language.
_OTHERS = {
    "German": "der das und ist nicht ein eine einen dem den des mit für auf sich auch wird von zu im sind wie aber oder nach bei",
    "French": "le la les des et est une dans que qui pour pas sur avec sont il elle du au aux ce cette par plus nous vous ont",
    "Spanish": "el los las y es una que por con para del se su como más pero fue al este esta entre son ha también lo muy",
    "Italian": "il gli della di che è una per con del nel sono anche più alla come dei delle ha questo ma non lo dal nella",
    "Portuguese": "os as um uma não que para com do da dos das em por mais foi como ao são pelo pela também ser seu sua",
    "Dutch": "het een van en niet dat zijn voor met op aan ook door werd naar bij uit wordt maar om deze heeft hij zij",
    "Swedish": "och att det som en är på av för med till inte den har de ett om var från kan men ska sig",
    "Danish": "og at det som en er på af for med til ikke den har de et om var fra kan men skal sig",
    "Polish": "nie się jest na że do w z to jak ale za przez po od dla był są tym oraz jego może tylko",
    "Czech": "a je se na že v to s z do pro jsou jako by ale byl který jeho také podle mezi nebo není",
    "Turkish": "ve bir bu için da de ile olarak olan çok daha en gibi sonra kadar ancak olduğu ne değil",
    "Indonesian": "yang dan di dengan untuk dari pada ini itu dalam tidak adalah akan oleh sebagai juga telah atau",
    "Finnish": "ja on ei että se oli hän mutta myös kun kuin tai ovat sekä joka mukaan jonka ole olla",
    "Hungarian": "a az és hogy nem egy is volt meg ez csak már vagy mint ki kell még lesz amely",
    "Romanian": "și de în la cu pe nu este care din a un o pentru mai sau au fost prin sunt după",
    "Vietnamese": "và của là có không được cho trong một người với các những này đã khi để từ",
}
_OTHER_WORDS = {name: frozenset(words.split()) - _ENGLISH - {"a", "an"} for name, words in _OTHERS.items()}
_ANY_OTHER = frozenset().union(*_OTHER_WORDS.values())


def foreign_language(words: Sequence[str], *, among_english: bool = False) -> str | None:
    """Name of the language or script if the words are not English; None for English and for too few to tell.

    `among_english`: more evidence is asked of a line whose surroundings are English.
    """
    letters = "".join(words)
    alphabetic = sum(1 for char in letters if char.isalpha())
    beyond_latin = sum(1 for char in letters if char.isalpha() and ord(char) > 0x24F)
    if alphabetic and beyond_latin > 0.4 * alphabetic:
        return "a script other than Latin"
    if len(words) < 6:
        return None
    lower = [word.lower() for word in words]
    english = sum(1 for word in lower if word in _ENGLISH)
    candidates = [word for word in lower if word in _ANY_OTHER]
    best, hits = max(
        ((name, sum(1 for word in candidates if word in known)) for name, known in _OTHER_WORDS.items()),
        key=lambda pair: pair[1],
    )
    least = 4 if among_english else 2
    if hits > (3 if among_english else 1.5) * english and hits >= max(least, 0.08 * len(words)):
        return best
    beyond_ascii = sum(1 for char in letters if char.isalpha() and ord(char) > 127)
    if len(words) >= 20 and not among_english and english < 0.03 * len(words) and beyond_ascii > 0.03 * alphabetic:
        return "a language other than English"
    return None
