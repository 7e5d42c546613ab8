"""A page in headless Chromium: opened at a width, used by a script, and what it then shows.

The page stands in a frame of that width, since no window of Chromium is as narrow as a phone.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
DESKTOP, PHONE = 1280, 390


def use(page: Path, script: str, *, width: int = DESKTOP) -> Any:
    """What `script` returns; it is the body of a function. An error of the page's own scripts fails."""
    assert CHROMIUM is not None
    text = page.read_text(encoding="utf-8")
    watch = "<script>onerror = (what) => { parent.document.body.dataset.error = what; };</script>"
    told = f"parent.document.body.dataset.result = JSON.stringify((() => {{ {script} }})());"
    text = text.replace("<style>", f"{watch}<style>", 1).replace("</body>", f"<script>{told}</script></body>")
    outer = page.resolve().with_name(f"{page.stem}.frame.html")
    frame = f'<iframe width="{width}" height="900" style="border:0" srcdoc="{html.escape(text)}"></iframe>'
    outer.write_text(f"<!doctype html><meta charset=utf-8><body>{frame}</body>", encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1000"]
    options += [f"--user-data-dir={outer.parent / 'browser'}", "--virtual-time-budget=5000", "--dump-dom"]
    command = [CHROMIUM, *options, outer.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    body = re.search(r"<body[^>]*>", done.stdout)
    assert body, done.stderr[-2000:]
    error = re.search(r'data-error="([^"]*)"', body[0])
    assert not error, error
    result = re.search(r'data-result="([^"]*)"', body[0])
    assert result, done.stderr[-2000:]
    return json.loads(html.unescape(result[1]))


WIDE = "return [innerWidth, document.documentElement.scrollWidth];"
