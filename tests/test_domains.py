"""What a text is, by rule."""

# ruff: noqa: E501 - tables of texts
from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
