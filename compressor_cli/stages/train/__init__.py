"""`scc train`: rows in, a run folder with an adapter or a model out."""

from __future__ import annotations

import importlib

from compressor_cli.backends import BACKENDS
from compressor_cli.core.training import Launch, RunReport, TrainJob
from compressor_cli.stages.train.jobs import require_packages


def train(job: TrainJob, launch: Launch) -> RunReport:
    """A finished run is left as it is. Raises SystemExit with 130 or 143 where a signal stopped it."""
    require_packages(job.backend)
    report: RunReport = importlib.import_module(BACKENDS[job.backend].module).conduct(job, launch)
    return report
