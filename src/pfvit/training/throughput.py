"""How fast a run goes and what holds it up: faces per second, waiting for data, the slowest process."""

import time
from collections.abc import Iterator

import torch
from lightning_fabric import Fabric

from pfvit.data.dataset import FaceBatch


class Throughput:
    """The clocks of one process, compared with the others' when `figures` is asked for.

    A step's own time runs from asking for the batch to the end of the first forward, before processes wait for one
    another in the backward. On a GPU that is the time in which the processor asked for the work, not that of the card.
    """

    def __init__(self, fabric: Fabric, batch: int):
        self.fabric, self.batch, self.began = fabric, batch, time.monotonic()
        self._start_over()

    def _start_over(self) -> None:
        self.since, self.steps, self.loading, self.own = time.monotonic(), 0, 0.0, 0.0

    def load(self, batches: Iterator[FaceBatch]) -> FaceBatch:
        """Return the next batch and remember how long it took."""
        self.began = time.monotonic()
        batch = next(batches)
        self.loading += time.monotonic() - self.began
        self.steps += 1
        return batch

    def forward_done(self) -> None:
        """Stop the own time of this step."""
        self.own += time.monotonic() - self.began

    def figures(self) -> dict[str, float]:
        """Return what the log gets since the last call; every process must call this.

        `loading` is the mean share of the time spent waiting for data, `straggler` the longest own time of a process
        over the mean one (1: all alike), and `straggler_rank` whose it is.
        """
        spent = max(time.monotonic() - self.since, 1e-9)
        mine = torch.tensor([self.loading / spent, self.own], dtype=torch.float64, device=self.fabric.device)
        everyone = mine[None]
        if self.fabric.world_size > 1:
            parts = [torch.empty_like(mine) for _ in range(self.fabric.world_size)]
            torch.distributed.all_gather(parts, mine)
            everyone = torch.stack(parts)
        loading, own = everyone.unbind(1)
        figures = {
            "faces_per_second": self.steps * self.batch / spent,
            "loading": float(loading.mean()),
            "straggler": float(own.max() / own.mean().clamp(min=1e-9)),
            "straggler_rank": int(own.argmax()),
        }
        self._start_over()
        return figures
