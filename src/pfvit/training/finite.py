"""Stop a run whose loss is infinite or not a number, and say what to do."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pfvit.config import Pretrain, Train
from pfvit.config.photo import TrainPhoto
from pfvit.errors import InputError
from pfvit.training import checkpoint

LOWER = 5  # a rate that is worth trying where the loss was not finite is so many times lower
SHOWN_ROWS = 4
#: Reading a number from a GPU makes it wait for all that was asked of it, so its losses are read every so many steps.
READ_EVERY = 10


class LossCheck:
    """Looks at every loss: at once on a processor, some steps later on a GPU, but before anything is saved."""

    def __init__(self, config: Pretrain | Train | TrainPhoto, device: torch.device):
        self.config = config
        self.late = device.type != "cpu"
        self._unread: list[tuple[int, Sequence[str], Mapping[str, Tensor]]] = []

    def note(self, losses: Mapping[str, Tensor], step: int, names: Sequence[str]) -> None:
        """Take the losses of step `step`, counted from 0, and the names of its faces; InputError as in `now`."""
        self._unread.append((step, names, {name: loss.detach() for name, loss in losses.items()}))
        if not self.late or step - self._unread[0][0] >= READ_EVERY - 1:
            self.now()

    def now(self) -> None:
        """Read what was noted; InputError with step, losses, some rows and what to do if one is not finite."""
        if not self._unread:
            return
        together = torch.stack([loss.float() for *_, losses in self._unread for loss in losses.values()]).tolist()
        unread, self._unread = self._unread, []
        values = iter(together)
        for step, names, losses in unread:
            read = {name: next(values) for name in losses}
            if not all(math.isfinite(value) for value in read.values()):
                raise self._problem(step, names, read)

    def _problem(self, step: int, names: Sequence[str], losses: Mapping[str, float]) -> InputError:
        config = self.config
        listed = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        lower = f"--lr {config.lr / LOWER:.2g}"
        if (Path(config.out) / checkpoint.LAST).is_file():
            at = checkpoint.record_of(Path(config.out))["step"]
            words = "the same command and --resume" if isinstance(config, TrainPhoto) else f"--resume {config.out}"
            advice = f"The checkpoint of step {at} is whole: go on from it with {words} {lower}"
        else:
            advice = f"There is no checkpoint yet: give the same command with {lower}, the run then begins anew"
        more = f" and {len(names) - SHOWN_ROWS} more" if len(names) > SHOWN_ROWS else ""
        rows = f"; or look at the rows of this step: {', '.join(names[:SHOWN_ROWS])}{more}" if names else ""
        return InputError(f"the loss is not finite at step {step} ({listed}). {advice}{rows}")
