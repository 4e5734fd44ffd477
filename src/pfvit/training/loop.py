"""What both stages of training share: devices, batches, and the check for losses that are not finite."""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor

from pfvit.config import Hardware, Pretrain, Train
from pfvit.data.dataset import Batch, Faces, Stream, loader
from pfvit.errors import InputError
from pfvit.training import distributed


def make_fabric(hardware: Hardware) -> Fabric:
    """Set up Fabric for a processor, one GPU or several; bf16 where the hardware multiplies it fast."""
    if hardware.resident and hardware.workers:
        raise InputError("--hardware.resident needs --hardware.workers 0: the faces are decoded already", status=2)
    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    distributed.keep_memory()
    precision = hardware.precision
    if precision == "auto":
        fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        precision = "bf16" if fast or torch.ops.mkldnn._is_mkldnn_bf16_supported() else "32"
    here, nodes = distributed.world(hardware)
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=here,
        num_nodes=nodes,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        strategy=distributed.strategy(hardware),
    )
    distributed.rejoin()
    fabric.launch()
    distributed.leave_at_exit()
    return fabric


def pieces(batch: Batch, count: int) -> list[Batch]:
    """Part a process's batch as it would be parted over `count` processes."""
    return [
        Batch(batch.image[i::count], batch.target[i::count], batch.name[i::count], batch.place[i::count])
        for i in range(count)
    ]


def check_share(batch: int, world: int, accumulate: int, what: str) -> None:
    """Raise InputError if a step's faces cannot be shared evenly, with the nearest number that can."""
    share = world * accumulate
    if accumulate < 1 or batch % share:
        nearest = max(share, round(batch / share) * share) if share > 0 else batch
        raise InputError(
            f"{what} {batch} cannot be shared evenly by {world} processes in {accumulate} pieces each; "
            f"take {what} {nearest}, or another number of processes",
            status=2,
        )


def feed(fabric: Fabric, config: Pretrain | Train, faces: Faces, step: int) -> Iterator[Batch]:
    """Return this process's batches from `step` on."""
    sizes, hardware = config.model, config.hardware
    if hardware.resident:
        faces.keep(sizes.image_size, sizes.channels, fabric.device)
    stream = Stream(
        faces,
        config.batch,
        sizes.image_size,
        sizes.channels,
        config.seed,
        step,
        fabric.global_rank,
        fabric.world_size,
    )
    pin = fabric.device.type == "cuda" and not hardware.resident
    return iter(loader(stream, hardware.workers, pin))


def stop_if_not_finite(terms: Mapping[str, Tensor], step: int, names: Sequence[str]) -> None:
    """Raise InputError with step, loss terms and row names if any term is infinite or not a number."""
    values = {name: float(term.detach()) for name, term in terms.items()}
    if all(math.isfinite(value) for value in values.values()):
        return
    listed = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    raise InputError(
        f"the loss is not finite at step {step} ({listed}). The last checkpoint is whole: lower the learning rate or "
        f"look at these rows, then --resume. Rows: {', '.join(names)}"
    )
