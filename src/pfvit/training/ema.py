"""Averaged weights: an exponential moving average that is evaluated and exported."""

from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import PARAM_LIST, AveragedModel

from pfvit.model import PFViT
from pfvit.training import distributed

WARMUP = 10  # updates: the decay starts at 1 / 10 and rises to its value


class AveragedPFViT(AveragedModel):
    """The moving average of a PF-ViT's weights and statistics, w <- d w + (1 - d) current, d from 1 / 10 to `decay`."""

    def __init__(self, model: PFViT, decay: float):
        super().__init__(model, multi_avg_fn=self._follow, use_buffers=True)
        self.decay = decay

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        """Move to a device; the count stays on the processor, as reading it from a GPU would make a step wait."""
        count = self.n_averaged
        super()._apply(*args, **kwargs)
        self.n_averaged = count
        return self

    @property
    def model(self) -> PFViT:
        """The averaged model."""
        return cast(PFViT, self.module)

    def _follow(self, averaged: PARAM_LIST, current: PARAM_LIST, _: Tensor | int) -> None:
        if not averaged[0].is_floating_point():
            return  # a stem's count of batches, which nothing reads
        count = int(self.n_averaged)
        decay = min(self.decay, (1 + count) / (WARMUP + count))
        with torch.no_grad():
            theirs, ours = distributed.local_shards(list(current)), distributed.local_shards(list(averaged))
            torch._foreach_lerp_(ours, theirs, 1 - decay)
