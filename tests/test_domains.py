"""What a text is, by rule."""

# ruff: noqa: E501 - tables of texts
from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import REPO
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli import compress
from compressor_cli.core.domains import Domain, detect_domain

PROSE = {
    "plain": "The miller of Tarn said that the wheel had stopped. Nobody knew why, for the river was high.",
    "one word": "Hello",
    "question": "Why did you return the book for free?",
    "list": "- flour\n- two eggs\n- a little salt\n\nMix it, and let it rest for 20 minutes.",
    "headings": "# Plan\n\nWe import nothing this year.\n\n## Costs\n\nReturn to this in May; the class of 1990 is full.",
    "transcript": "Ann: Is it late?\nBo: It is, and if you want to go, go now.\nAnn: For me it is fine.",
    "mail": "Dear Mr. Lund,\n\nthank you for your letter of 3 May. We cannot deliver before June.\n\nKind regards\nIda Voss",
    "brackets": "[Sketch] The house (see {plan}) has 3 rooms.",
    "inline code": "Run `scc compress` first, and never `rm -rf` anything: it is gone for good afterwards.",
    "telegraphic": "Meeting moved Tuesday 14:00, room 3. Bring figures Q2. Anna absent, Bo chairs.",
}

CODE = {
    "python": 'import os\nfrom pathlib import Path\n\n\nclass Store:\n    """Keeps files."""\n\n    def __init__(self, root: Path) -> None:\n        self.root = root\n\n    def names(self):\n        for name in sorted(os.listdir(self.root)):\n            if name.endswith(".md"):\n                yield name\n',
    "typescript": 'interface Crate {\n  id: number;\n  label?: string;\n}\n\nexport function weigh(crate: Crate): number {\n  const base: number = crate.label ? 2 : 1;\n  return base * crate.id;\n}\n',
    "javascript": "const fs = require('fs');\n\nfunction count(path) {\n  const lines = fs.readFileSync(path, 'utf8').split('\\n');\n  return lines.filter((line) => line !== '').length;\n}\n\nmodule.exports = { count };\n",
    "java": 'package org.example.barn;\n\nimport java.util.List;\n\npublic class Barn {\n    private final List<String> cows;\n\n    public Barn(List<String> cows) {\n        this.cows = cows;\n    }\n\n    public static void main(String[] args) {\n        System.out.println("moo");\n    }\n}\n',
    "csharp": 'using System;\nusing System.Linq;\n\nnamespace Barn\n{\n    public class Cow\n    {\n        public string Name { get; set; }\n\n        public void Moo()\n        {\n            Console.WriteLine(Name);\n        }\n    }\n}\n',
    "go": 'package main\n\nimport (\n\t"fmt"\n\t"os"\n)\n\nfunc main() {\n\tdata, err := os.ReadFile("barn.txt")\n\tif err != nil {\n\t\tpanic(err)\n\t}\n\tfmt.Println(len(data))\n}\n',
    "rust": 'use std::fs;\n\npub struct Barn {\n    cows: Vec<String>,\n}\n\nimpl Barn {\n    pub fn load(path: &str) -> Result<Self, std::io::Error> {\n        let mut cows = Vec::new();\n        for line in fs::read_to_string(path)?.lines() {\n            cows.push(line.to_string());\n        }\n        Ok(Barn { cows })\n    }\n}\n',
    "cpp": '#include <iostream>\n#include <vector>\n\ntemplate <typename T>\nclass Stack {\npublic:\n    void push(T item) { items.push_back(item); }\nprivate:\n    std::vector<T> items;\n};\n\nint main() {\n    std::cout << "hay" << std::endl;\n}\n',
    "c": '#include <stdio.h>\n#define COWS 12\n\nstruct cow {\n    int age;\n    char *name;\n};\n\nint main(void) {\n    int i = 0;\n    struct cow *c = NULL;\n    printf("%d %d\\n", COWS, i);\n    return 0;\n}\n',
    "ruby": "require 'json'\n\nclass Barn\n  attr_reader :cows\n\n  def initialize(cows)\n    @cows = cows\n  end\n\n  def names\n    cows.map do |cow|\n      cow[:name]\n    end\n  end\nend\n",
    "php": "<?php\nuse App\\Barn;\n\nfunction names(array $cows): array {\n    $found = [];\n    foreach ($cows as $cow) {\n        $found[] = $cow->name;\n    }\n    return $found;\n}\n",
    "sql": "SELECT cow.name, count(*) AS litres\nFROM cow\nJOIN milking ON milking.cow_id = cow.id\nWHERE milking.day > '2024-01-01'\nGROUP BY cow.name\nORDER BY litres DESC;\n",
    "shell": '#!/bin/bash\nset -eu\n\nexport BARN=/srv/barn\nfor file in "$BARN"/*.txt; do\n  if [ -s "$file" ]; then\n    echo "$file"\n  fi\ndone\n',
    "html": "<!DOCTYPE html>\n<html>\n<head>\n  <title>Barn</title>\n</head>\n<body>\n  <div class=\"cows\">\n    <p>Twelve cows.</p>\n  </div>\n</body>\n</html>\n",
    "css": "body {\n  margin: 0;\n  color: #333;\n}\n\n.cow {\n  width: 12px;\n  font-weight: bold;\n}\n",
}  # fmt: skip


@pytest.mark.parametrize("name", PROSE)
def test_prose(name: str) -> None:
    assert detect_domain(PROSE[name]) == Domain("prose")


@pytest.mark.parametrize("language", CODE)
def test_code_and_its_language(language: str) -> None:
    assert detect_domain(CODE[language]) == Domain("code", language)


@pytest.mark.parametrize("language", CODE)
def test_a_fence_alone_is_code(language: str) -> None:
    assert detect_domain(f"```\n{CODE[language]}```\n") == Domain("code", language)


@pytest.mark.parametrize("language", CODE)
def test_prose_with_a_fence_is_mixed(language: str) -> None:
    text = f"{PROSE['plain']}\n\n```{language}\n{CODE[language]}```\n\nThat is all there is to it.\n"
    assert detect_domain(text) == Domain("mixed")


def test_prose_around_bare_code_is_mixed() -> None:
    around = (PROSE["plain"] + "\n") * 6
    assert detect_domain(f"{around}\n{CODE['python']}\n{around}").name == "mixed"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        ' \n{"a": [1, 2.5, null], "b": "x"}\n',
        '{\n  "name": "barn",\n  "cows": [\n    {"id": 1}\n  ]\n}',
        '{"id": 1, "text": "one"}\n{"id": 2, "text": "two"}\n',
        '{"id": 1}\n\n[2, 3]\n{"id": 4}',
        json.dumps([{"n": n} for n in range(500)]),
    ],
)
def test_json_and_jsonl(text: str) -> None:
    assert detect_domain(text) == Domain("json")


@pytest.mark.parametrize("text", ["{not json}", "[1, 2", "{", '"a string"', "42", "[a](b) is a link.", "[" * 100_000])
def test_what_only_looks_like_json(text: str) -> None:
    assert detect_domain(text).name != "json"


def test_back_ticks_in_a_line_open_no_fence() -> None:
    assert detect_domain(f"```so``` is how it is written.\n{PROSE['plain']}") == Domain("prose")


def test_the_samples(samples: Path) -> None:
    assert detect_domain((samples / "notes.md").read_text()).name == "mixed"
    assert detect_domain((samples / "transcript.txt").read_text()) == Domain("prose")


@given(text=st.text(st.characters()))
def test_any_text_is_something(text: str) -> None:
    found = detect_domain(text)
    assert found.name in ("prose", "code", "json", "mixed")
    assert found.language is None or found.name == "code"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("services:\n  web:\n    image: nginx:1.25\n    ports: [80]\n  db:\n    image: postgres:16\n", "yaml"),
        ("name,paid,note\nAnn,12.50,late\nBo,3.10,early\nCem,7.00,never\n", "csv"),
        ('FROM python:3.12\nWORKDIR /app\nCOPY . .\nRUN pip install .\nCMD ["app"]\n', "dockerfile"),
        ("all: build test\n\nbuild: main.c\n\tgcc -o main main.c\n\ntest: build\n\t./main --test\n", "make"),
        ("\\documentclass{article}\n\\begin{document}\n\\section{One}\nText.\n\\end{document}\n", "latex"),
        ("$ ls -l\ntotal 4\n$ cd data\n$ wc -l rows.csv\n120 rows.csv\n", "shell"),
    ],
)
def test_forms_in_which_each_word_counts(text: str, language: str) -> None:
    assert detect_domain(text) == Domain("code", language)


FORMS = {
    "yaml with comments": ("yaml", "# The services of the site, and what they need.\n# Ask Ann before you change a port.\nservices:\n  web:\n    # the public one\n    image: nginx:1.25.3\n    ports:\n      - \"80:80\"\n    command: run --fast, please\nvolumes:\n  data: {}\n"),
    "yaml, flat": ("yaml", "# Settings.\nname: barn\nversion: 1.2.0\nurl: https://example.org/a.html\ndebug: false\n"),
    "yaml with text in it": ("yaml", "# Config\ntitle: The farm\ndescription: >\n  A farm in the north, where twelve cows live.\n  They give milk every day.\nowner:\n  name: Ann Dunmore\n"),
    "yaml of a job": ("yaml", "name: CI\n\n# Runs on each push.\non:\n  push:\n    branches: [main]\njobs:\n  test:\n    steps:\n      - uses: actions/checkout@v4\n      - name: Install the packages.\n        run: |\n          pip install -r a.txt\n          pytest -q\n"),
    "xml with an attribute a line": ("xml", '<project xmlns="http://maven.apache.org/POM/4.0.0"\n         xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n  <groupId>org.example</groupId>\n  <version>1.0</version>\n</project>\n'),
    "xml in one line": ("xml", "<note><to>Ann</to><from>Bo</from><body>Do not forget the milk.</body></note>"),
    "xml below a comment": ("xml", "<!-- of the barn -->\n<cows>\n  <cow id=\"1\"/>\n</cows>"),
    "xml with a declaration": ("xml", '<?xml version="1.0"?>\n<text>\nThe miller said that the wheel had stopped.\n</text>\n'),
    "html": ("html", "<html>\n<body>\n<p>Twelve cows live here, and they do not like the rain.</p>\n</body>\n</html>\n"),
    "html with a doctype": ("html", "<!doctype html>\n<p>Twelve cows live here, and they do not like the rain.\n<p>Nobody knows why.\n"),
    "ini": ("ini", "; the paths\n[paths]\nroot = /srv/barn\ncache = /var/cache/barn\n\n[mail]\nfrom = Ann Dunmore <ann@example.org>\n"),
    "toml": ("toml", '# What the project is, and what it needs.\n[project]\nname = "barn"\ndescription = "Counts the cows, and does not count the sheep."\ndependencies = [\n  "torch>=2",\n]\n\n[[tool.x]]\na.b = 1\n'),
    "environment": ("ini", "# settings of the site\nDB_HOST=localhost\nDB_PORT=5432\nNAME=The barn of Ann\n"),
    "git diff": ("diff", "diff --git a/barn.py b/barn.py\nindex 12ab..34cd 100644\n--- a/barn.py\n+++ b/barn.py\n@@ -1,3 +1,3 @@ def cows():\n a line of the file\n-The cows are not in the barn.\n+The cows are in the barn.\n"),
    "diff": ("diff", "--- a/notes.md\n+++ b/notes.md\n@@ -3,3 +3,3 @@\n The miller said that the wheel had stopped.\n-Nobody knew why, for the river was high.\n+Everybody knew why, for the river was low.\n That is all that there is to say about it.\n"),
    "mailed patch": ("diff", "From: Ann <a@b.c>\nSubject: [PATCH] Mend the barn\n\nThe door did not close, and the cows went out.\n---\n barn.py | 2 +-\n\ndiff --git a/barn.py b/barn.py\n--- a/barn.py\n+++ b/barn.py\n@@ -1,2 +1,2 @@\n x = 1\n-y = 2\n+y = 3\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms_without_an_engine_stay_as_they_are(name: str) -> None:
    language, text = FORMS[name]
    assert detect_domain(text) == Domain("code", language)
    receipt = compress(text)
    assert (receipt.engine, receipt.compressed) == ("none", text)
    assert f"{language} is left as it is" in receipt.warnings[0]


LIKE_FORMS = {
    "prompt with marked parts": "<document>\nThe miller of Tarn said that the wheel had stopped. Nobody knew why.\nThe river was high.\n</document>",
    "prompt in one line": "<text>The miller of Tarn said that the wheel had stopped. Nobody knew why, for the river was high.</text>",
    "readme with tags": '<p align="center">\n  <img src="logo.png">\n</p>\n\n# Barn\n\nBarn counts the cows of a farm. It does not count the sheep.\n\n<details>\n<summary>More</summary>\n\nText that is a sentence of its own.\n\n</details>\n',
    "comment above a heading": "<!-- a comment -->\n# Barn\n\nBarn counts the cows of a farm. It does not count the sheep.\n",
    "front matter": "---\ntitle: A day\ntags: [a, b]\ndate: 2020-01-01\nauthor: Ann\n---\n\nIt rained all day long, and nobody went out to the barn.\nThe next day was dry.\nWe went out.\n",
    "list below headings": "# Shopping\n\nBring these:\n\n- flour\n- two eggs\n\n## Later\n\n- milk\n- bread: the brown one, not the white one\n",
    "minutes": "# Minutes\n\nDate: 3 May\nPlace: the town hall\nPresent: Ann, Bo and Cem\n\n## Bridge\n\nAnn said that the bridge must be closed.\n\n## Costs\n\n- Paint: 300 euros\n- Wood: 1,200 euros\n",
    "conversation without stops": "Ann: Is it late\nBo: It is\nAnn: Go home then\nBo: Not yet\n",
    "mail": "From: Ann\nTo: Bo\nSubject: The bridge\n\nDear Bo,\n\nthe bridge must not be opened before June. Please tell the others, and bring the keys.\n\nAnn\n",
    "part in brackets": "[Sketch]\n\nThe house has 3 rooms. In the first stands a table; x = 3 is all that is written on it.\n\n[End]\n",
    "literature": "[1] Ann Dunmore. The bridge of Tarn. 1990.\n[2] Bo Lind. Cows and milk. 2001.\n[3] Cem Oke. Sheep. 2003.\n",
    "list of changes": "--- \n+ one thing\n+ another thing\n- a third\n\nThat is the list, and it is not long.\n",
    "settings above prose": "[paths]\nroot = /srv\n\n" + "The root is where the cows are, and nobody may change it without a word to Ann.\n" * 9,
}  # fmt: skip


@pytest.mark.parametrize("name", LIKE_FORMS)
def test_text_that_has_signs_of_a_form(name: str) -> None:
    assert detect_domain(LIKE_FORMS[name]).name in ("prose", "mixed")


def test_documents_are_no_forms(samples: Path) -> None:
    for path in [*REPO.glob("*.md"), *REPO.glob("docs/*.md"), *samples.glob("*.md"), *samples.glob("*.txt")]:
        assert detect_domain(path.read_text(encoding="utf-8")).name in ("prose", "mixed"), path


def test_a_log_is_a_document_and_a_recording_prose() -> None:
    log = "".join(f"2026-11-21T10:00:0{n}Z WARN disk {n} is full\n" for n in range(9))
    assert detect_domain(log) == Domain("mixed")
    assert "of a log" in detect_domain(log).why
    assert detect_domain("".join(f"[00:00:0{n}] and then we went on\n" for n in range(9))) == Domain("prose")


@pytest.mark.parametrize(
    "unit", ["a: b\n", "<a ", "<a>", "[a]\nb = 1\n", "- a:\n", "@@ -1 +1 @@\n", "a: |\n  b\n", "<!-- "]
)
def test_a_hostile_text_gets_an_answer(unit: str) -> None:
    found = detect_domain(unit * (1_000_000 // len(unit)))  # what is quadratic would take minutes
    assert found.why
