"""English or not, by frequent words; what is too short to tell is not called foreign."""

# ruff: noqa: E501 - tables of texts
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli.engines.language import foreign_language

FOREIGN = {
    "German": "Der alte Müller hat das Rad nicht mehr gefunden, und die Leute aus dem Dorf sind mit ihm an den Fluss gegangen.",
    "French": "Le vieux meunier ne trouve plus la roue, et les gens du village sont allés avec lui dans la vallée pour la chercher.",
    "Spanish": "El viejo molinero no encuentra la rueda, y los vecinos del pueblo fueron con él hasta el río para buscarla.",
    "Italian": "Il vecchio mugnaio non trova più la ruota della macina, e gli abitanti del paese sono andati con lui al fiume.",
    "Portuguese": "O velho moleiro não encontrou a roda do moinho, e os vizinhos foram com ele para o rio, mas também não a viram.",
    "Dutch": "De oude molenaar heeft het rad niet gevonden, en de mensen uit het dorp zijn met hem naar de rivier gegaan.",
    "Swedish": "Den gamle mjölnaren har inte hittat hjulet, och alla som bor i byn gick med honom till ån för att leta efter det.",
    "Danish": "Den gamle møller har ikke fundet hjulet, og alle fra landsbyen gik med ham til åen for at lede efter det.",
    "Polish": "Stary młynarz nie może znaleźć koła, ale ludzie z wioski poszli z nim do rzeki, żeby go szukać, i jest już po wszystkim.",
    "Czech": "Starý mlynář nemůže najít kolo, ale lidé z vesnice šli s ním k řece, protože se jim to zdálo být po dešti na dně.",
    "Turkish": "Yaşlı değirmenci çarkı bulamadı ve köyden gelenler onun ile nehre kadar yürüdü ama bu akşam da bir şey görmediler.",
    "Indonesian": "Penggiling tua itu tidak menemukan rodanya, dan orang-orang dari desa pergi dengan dia ke sungai untuk mencari yang hilang.",
    "Finnish": "Vanha mylläri ei löytänyt pyörää, mutta kylän väki oli jo joella, ja se on nyt siellä kuin ei mitään olisi tapahtunut.",
    "Hungarian": "Az öreg molnár nem találta a kereket, és a falu népe már lement a folyóhoz, hogy megkeresse, de ez sem volt elég.",
    "Romanian": "Bătrânul morar nu a găsit roata, iar oamenii din sat au mers cu el la râu pentru că nu este departe de casă și este lună.",
}  # fmt: skip
OTHER_SCRIPTS = [
    "Старый мельник не нашёл колеса, и жители деревни пошли к реке.",
    "老磨坊主没有找到水轮，村里的人都到河边去了。",
    "年老いた粉屋は水車を見つけられなかった。",
    "늙은 방앗간 주인은 바퀴를 찾지 못했다.",
    "لم يجد الطحان العجوز العجلة فذهب أهل القرية إلى النهر.",
    "הטוחן הזקן לא מצא את הגלגל ואנשי הכפר הלכו לנהר.",
    "बूढ़े चक्की वाले को पहिया नहीं मिला।",
    "Ο γέρος μυλωνάς δεν βρήκε τον τροχό.",
]
ENGLISH = [
    "The old miller did not find the wheel, and the people of the village went down to the river with him.",
    "Meeting moved Tuesday 14:00, room 3. Bring figures Q2. Anna absent, Bo chairs.",
    "ERROR 503 upstream timeout; retry 3/5 after 2.5s; circuit open; fallback cache miss",
    "GPU memory 24 GB, batch 16, lr 2e-4, warmup 6%, cosine decay, bf16, gradient checkpointing enabled",
    "Paris, Lyon, Marseille, Toulouse, Nice, Nantes, Strasbourg, Montpellier, Bordeaux, Lille",
    "The restaurant Le Chat Noir, on the Rue de la Paix, was opened by Marie de la Tour and her son.",
    "Wolfgang von der Heide and Ludwig van den Berg met the mayor of São Paulo.",
    "kubectl get pods --all-namespaces | grep -v Running",
    "I did so. He has a car. On a hill. As if. To be or not to be.",
    "x = 3, y = 4, z = 5; a, b, c, d, e, f, g",
    "Take 2 tablets daily with water. Do not chew. Store below 25 °C.",
]


@pytest.mark.parametrize("language", FOREIGN)
def test_languages(language: str) -> None:
    found = foreign_language(FOREIGN[language].split())
    # Danish and Swedish, or Czech and Polish, share most of their small words: that it is none of ours is what counts.
    assert found is not None
    near = {"Danish": "Swedish", "Swedish": "Danish", "Spanish": "Portuguese", "Portuguese": "Spanish"}
    assert found in (language, near.get(language))


@pytest.mark.parametrize("text", OTHER_SCRIPTS)
def test_scripts(text: str) -> None:
    assert foreign_language(text.split()) == "a script other than Latin"


@pytest.mark.parametrize("text", ENGLISH)
@pytest.mark.parametrize("among_english", [False, True])
def test_english_is_not_foreign(text: str, among_english: bool) -> None:
    assert foreign_language(text.split(), among_english=among_english) is None


def test_the_samples_are_english(samples: Path) -> None:
    for name in ("notes.md", "transcript.txt"):
        text = (samples / name).read_text()
        assert foreign_language(text.split()) is None
        for line in text.splitlines():
            assert foreign_language(line.split(), among_english=True) is None, line


@pytest.mark.parametrize("text", ["", "Guten Tag", "de la", "Not at all", "3 4 5", "- — …"])
def test_too_short_to_tell(text: str) -> None:
    assert foreign_language(text.split()) is None


@given(words=st.lists(st.text(st.characters(), max_size=8), max_size=40), among_english=st.booleans())
def test_any_words(words: list[str], among_english: bool) -> None:
    found = foreign_language(words, among_english=among_english)
    assert found is None or found
