"""TRL's trainers, led by the pace of the run. Imports torch.

The loss of a step is the mean over all its items (trained tokens, or pairs), whatever the number of processes and of
batches it is made of: `compute_loss` returns the sum over the items of one batch, divided by `num_items_in_batch` of
the whole step, and times the processes, since DDP takes the mean of their gradients.

Distillation from logits is not TRL's DistillationTrainer: that one has the student write the answers (on-policy), and
the rows' answers are never read. What goes by the rows is `trl.experimental.gkd`, which may change in any version.
`LogitsTrainer` is SFTTrainer with its loss in place: the forward KL divergence from teacher to student on the trained
tokens, both softened by `temperature` and times its square, so that gradients keep their size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from trl import DPOTrainer, SFTTrainer

from compressor_cli.backends.torch.rows import Rows, Shares
from compressor_cli.backends.torch.world import World
from compressor_cli.core.pace import Pace, learning_rate
from compressor_cli.settings import TorchSettings


class _Paced:
    """Mixed into a trainer. Set `paced` before it trains."""

    settings: TorchSettings
    world: World
    pace: Pace
    rows: Rows
    valid: Rows
    loss_is_scaled_for_ga = True

    def follow(self: Any, settings: TorchSettings, world: World, pace: Pace, rows: Rows, valid: Rows) -> None:
        self.settings, self.world, self.pace, self.rows, self.valid = settings, world, pace, rows, valid

    def get_train_dataloader(self: Any) -> DataLoader:
        """All steps, as one epoch: the order of every epoch is the pace's."""
        return self._loader(self.train_dataset, self.pace, self.settings.gradient_accumulation)

    def _loader(self: Any, dataset: Any, pace: Pace, accumulation: int) -> DataLoader:
        shares = Shares(pace, self.settings.batch_size, accumulation, self.world.rank, self.world.size)
        return DataLoader(dataset, batch_sampler=shares, collate_fn=self.data_collator)

    def get_batch_samples(self: Any, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], int]:
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        return batches, sum(self.rows.items[place] for place in self.pace.rows_of(self.state.global_step))

    def create_scheduler(self: Any, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        def share(step: int) -> float:
            return learning_rate(step, self.pace.steps, 1.0, self.settings.warmup, self.settings.schedule)

        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, share)
        return self.lr_scheduler

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: it would name folders of this machine."""

    def validate(self: Any) -> float | None:
        """The mean loss over all items of the validation rows."""
        if not len(self.valid):
            return None
        size = self.settings.batch_size
        once = Pace(len(self.valid), size, -(-len(self.valid) // size), seed=0)
        training, total = self.model.training, 0.0
        self.model.eval()
        with torch.no_grad():
            for batch in self._loader(self.eval_dataset, once, 1):
                inputs = self._prepare_inputs(batch)
                total += float(self.compute_loss(self.model, inputs, num_items_in_batch=sum(self.valid.items)))
        self.model.train(training)
        self._metrics["eval"].clear()  # what TRL gathers for a log that is never made
        return float(self.world.mean(total))


class RowsTrainer(_Paced, SFTTrainer):
    """Pretraining, sft, and distillation from traces."""


class LogitsTrainer(_Paced, SFTTrainer):
    teacher: Any

    def compute_loss(
        self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        inputs = {**inputs, "use_cache": False}
        trained = inputs.pop("labels")[:, 1:] != -100
        # Logits are made only where some row has a trained token next: a vocabulary wide, they are what takes memory.
        inputs["logits_to_keep"] = places = trained.any(0).nonzero().flatten()
        student = model(**inputs).logits[trained[:, places]]
        with torch.no_grad():
            teacher = self.teacher(**inputs).logits[trained[:, places]]
        width, temperature = min(student.size(-1), teacher.size(-1)), self.settings.temperature
        divergence = functional.kl_div(
            functional.log_softmax(student[:, :width].float() / temperature, dim=-1),
            functional.log_softmax(teacher[:, :width].float() / temperature, dim=-1),
            reduction="sum",
            log_target=True,
        )
        return divergence * temperature**2 * self.world.size / num_items_in_batch


class PairsTrainer(_Paced, DPOTrainer):
    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """As it is: rendered here, and no row too many for it."""
        return dataset

    def compute_loss(
        self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """TRL's is the mean over the pairs of the batch. A pair that only fills a place has no answers."""
        pairs = (inputs["completion_mask"].sum(1) > 0).sum() / 2
        return super().compute_loss(model, inputs) * pairs * self.world.size / num_items_in_batch
