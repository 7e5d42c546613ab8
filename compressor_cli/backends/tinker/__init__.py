"""Training and generation in the Tinker cloud, or on any server that speaks its protocol, through its SDK."""

from __future__ import annotations

from compressor_cli.backends.tinker.access import find_access
from compressor_cli.backends.tinker.check import CheckReport, check, preflight
from compressor_cli.backends.tinker.generating import open_generator
from compressor_cli.backends.tinker.training import fit
from compressor_cli.core.runfiles import read_card
from compressor_cli.core.training import Launch, RunReport, TrainJob, conduct_run

__all__ = ["CheckReport", "check", "conduct", "open_generator"]


def conduct(job: TrainJob, launch: Launch) -> RunReport:
    """Key, server, model and settings are looked at before a folder is made. A finished run needs none of them."""
    card = read_card(launch.folder) if launch.folder.is_dir() else None
    if not (card and card["state"] == "finished" and launch.resume_from is None):
        preflight(job, find_access(job.settings))
    return conduct_run(job, launch, fit, ("tinker",))
