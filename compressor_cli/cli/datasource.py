"""Where the commands that need a dataset find it: what was named, what was pulled, or what is pulled now."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from compressor_cli.errors import UsageError

if TYPE_CHECKING:
    from compressor_cli.settings import Settings


def find_data(
    data: Path | None,
    hf_dataset: str | None,
    settings: Settings,
    tell: Callable[[str], None],
    *,
    doing: str,
    configured: str | None = None,
    split: str = "train",
) -> Path:
    """`--data`; else the folder into which the dataset was pulled, or is pulled where it is not there yet.

    `doing` is what the command does with it, for the person; `configured` is the dataset that a section of the settings
    names. Of a folder that no pull left, the file of `split` is enough.
    """
    from compressor_cli.settings import DEFAULT_DATASET, PullSettings, load_keys
    from compressor_cli.stages.pull import pull, pulled_from

    if data is not None:
        if hf_dataset is not None:
            raise UsageError(f"--data and --hf-dataset both say what to use for {doing}; give one")
        return data
    dataset = hf_dataset or configured or settings.hf_dataset
    own = re.sub(r"[^\w.-]+", "-", dataset.rstrip("/").split("/")[-1]).strip(".-") or "pulled"
    folder = settings.pull.output if dataset == DEFAULT_DATASET else Path("data") / own
    if pulled_from(folder) == dataset:
        tell(f"{doing} on {dataset}, as it was pulled into {folder}")
        return folder
    if hf_dataset is None and (folder / f"{split}.jsonl").is_file():
        tell(f"{doing} on {folder}")
        return folder
    tell(f"pulling {dataset} into {folder}")
    key = load_keys().huggingface
    pull(PullSettings(dataset=dataset, output=folder), token=key.get_secret_value() if key else None)
    return folder
