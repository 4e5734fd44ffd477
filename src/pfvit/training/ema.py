"""Averaged weights: an exponential moving average that is evaluated and exported."""

from typing import Any, Self, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from pfvit.model import PFViT
from pfvit.training import distributed

WARMUP = 10  # updates: the decay starts at 1 / 10 and rises to its value


class AveragedPFViT(AveragedModel):
    """The moving average of a PF-ViT's weights and statistics, w <- d w + (1 - d) current, d from 1 / 10 to `decay`."""

    def __init__(self, model: PFViT, decay: float):
        super().__init__(model, use_buffers=True)
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

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Follow a model's weights and statistics one step; the first time, take them over.

        The method of the class copies the count to the device, and a GPU's step waits for that.
        """
        count = int(self.n_averaged)
        decay = min(self.decay, (1 + count) / (WARMUP + count))
        averaged, current = ([*some.parameters(), *some.buffers()] for some in (self.module, model))
        if count == 0:
            for ours, theirs in zip(averaged, current, strict=True):
                ours.copy_(theirs)
        else:  # a stem's count of batches, which nothing reads, stays
            pairs = [pair for pair in zip(averaged, current, strict=True) if pair[0].is_floating_point()]
            ours, theirs = (distributed.local_shards(some) for some in zip(*pairs, strict=True))
            torch._foreach_lerp_(ours, theirs, 1 - decay)
        self.n_averaged += 1
