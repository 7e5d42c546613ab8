"""A process that trains, alone or under torchrun: `torch_worker.py MODEL DATA RUN SETTINGS`, the last as JSON.

Prints what happens as it happens, and an error as the command does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from torch_runs import torch_job, train

from compressor_cli.errors import SccError


def main(model: str, data: str, run: str, settings: str) -> None:
    job = torch_job(Path(model), Path(data), **json.loads(settings))
    try:
        report = train(job, Path(run), on_event=lambda event: print(json.dumps(dict(event)), flush=True))
        print(f"finished {report.steps}", flush=True)
    except SccError as exc:
        print(f"error: {exc}", file=sys.stderr, flush=True)
        raise SystemExit(exc.exit_code) from None


if __name__ == "__main__":
    main(*sys.argv[1:])
