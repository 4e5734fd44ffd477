"""Devices and processes: Fabric, weights sharded over processes (FSDP2), recomputed blocks, restarts.

A checkpoint is the same file whatever the number of processes: weights are gathered before they are written and sharded
after they are read, so that a run goes on with more processes or fewer, sharded or not.
"""

import atexit
import ctypes
import os
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from pfvit.config import Hardware, Pretrain, Train
from pfvit.errors import InputError, UsageError
from pfvit.model import PFViT
from pfvit.model.transformer import Block
from pfvit.training import checkpoint
from pfvit.training.gan import DiscriminatorSide, GeneratorSide
from pfvit.utils import console

Config = TypeVar("Config", Pretrain, Train)
#: What says which process of several this one is.
RANKS = (
    "RANK",
    "LOCAL_RANK",
    "NODE_RANK",
    "GROUP_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_PORT",
    "MASTER_ADDR",
)
OUR_PROCESS = "PFVIT_FIRST_PROCESS"
SHARED_MEMORY = Path("/dev/shm")
SHARED_BYTES = 32_000_000  # a process that decodes keeps two batches there
CUBLAS_WORKSPACE = ":4096:8"  # one of the two values with which cuBLAS is deterministic
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
KEPT_BYTES = 1 << 30
HUGE_PAGE, MADV_HUGEPAGE = 1 << 21, 14  # bytes; Linux's mman.h
#: What torchrun and SLURM count in a process that takes the place of one that died.
RESTARTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")


def make_fabric(hardware: Hardware) -> Fabric:
    """Set up Fabric for a processor, one GPU or several; bf16 where the hardware multiplies it fast."""
    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    keep_memory()
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")  # TF32: float32 products at eight times the rate, with 10 bits each
    if hardware.deterministic:
        be_deterministic()
    precision = hardware.precision
    if precision == "auto":
        fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        precision = "bf16" if fast or torch.ops.mkldnn._is_mkldnn_bf16_supported() else "32"
    here, nodes = world(hardware)
    check_shared_memory(hardware)
    check_gpus(here)
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=here,
        num_nodes=nodes,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        strategy=strategy(hardware),
        plugins=environment(),
    )
    rejoin()
    os.environ[OUR_PROCESS] = str(os.getpid())  # the processes that Fabric starts know it from us
    fabric.launch()
    leave_at_exit()
    if hardware.devices not in (1, here) and fabric.is_global_zero:  # no error: it may be from the record of a run
        started = "1 process" if here == 1 else f"{here} processes"
        console.say(f"torchrun started {started} a node: --hardware.devices {hardware.devices} is passed over")
    return fabric


def be_deterministic() -> None:
    """Let torch take deterministic algorithms alone for the rest of the process; RuntimeError where it has none.

    cuBLAS reads its variable when it is loaded, before which this must be called; processes that Fabric starts have it.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # which takes the algorithm that is fastest today


def check_share(batch: int, world: int, accumulate: int, what: str) -> None:
    """Raise UsageError if a step's faces cannot be shared evenly, with the nearest number that can."""
    share = world * accumulate
    if batch % share:
        nearest = max(share, round(batch / share) * share)
        raise UsageError(
            f"{what} {batch} cannot be shared evenly by {world} processes in {accumulate} pieces each; "
            f"take {what} {nearest}, or another number of processes"
        )


def world(hardware: Hardware) -> tuple[int, int]:
    """Return processes per node and nodes: those that torchrun or srun started, or else those of the settings."""
    if torch.distributed.is_torchelastic_launched():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        return here, int(os.environ["WORLD_SIZE"]) // here
    if (tasks := _srun_tasks()) > 1:
        nodes = int(os.environ.get("SLURM_STEP_NUM_NODES") or 1)
        if hardware.devices not in (1, tasks // nodes):
            raise UsageError(
                f"srun started {tasks // nodes} tasks a node and --hardware.devices is {hardware.devices}: leave it out"
            )
        if tasks % nodes:
            raise UsageError(f"srun started {tasks} tasks on {nodes} nodes: use --ntasks-per-node, as many on each")
        return tasks // nodes, nodes
    return hardware.devices, 1


def _srun_tasks() -> int:
    """Return how many tasks the srun that started this process has; 1 without srun.

    SLURM_NTASKS says only how many the job asked for: in a batch script that calls pfvit itself there is one process.
    """
    return int(os.environ.get("SLURM_STEP_NUM_TASKS") or 1)


def environment() -> Any:
    """Return Fabric's plugins: who says how many processes there are and how they find one another.

    Variables with the number of a process that nobody gave this one (left in a shell, or written into a container's
    image) are taken out, and that is told.
    """
    if torch.distributed.is_torchelastic_launched():
        return None
    if _srun_tasks() > 1:
        return [SLURMEnvironment()]
    first = os.environ.get(OUR_PROCESS)
    if first in (None, str(os.getpid())):  # not one of those that Fabric started for another process
        stray = [name for name in RANKS if os.environ.pop(name, None) is not None]
        if stray and first is None:  # Fabric itself leaves them behind when a process trains a second time
            console.say(f"{', '.join(stray)}: set, but neither torchrun nor srun started this process; passed over")
    return [LightningEnvironment()]


def check_gpus(processes: int) -> None:
    """Raise UsageError if this machine has GPUs, but fewer than processes."""
    if torch.cuda.is_available() and processes > (there := torch.cuda.device_count()):
        raise UsageError(
            f"{processes} processes need a GPU each, and this machine shows {there}: take --hardware.devices {there}, "
            "or see CUDA_VISIBLE_DEVICES"
        )


def check_shared_memory(hardware: Hardware) -> None:
    """Raise UsageError if processes that decode have too little memory to hand their pictures over in."""
    if not hardware.workers or not SHARED_MEMORY.is_dir():
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < hardware.workers * SHARED_BYTES:
        raise UsageError(
            f"{SHARED_MEMORY} has {free / 1e6:.0f} MB free, too little for --hardware.workers {hardware.workers}: give "
            "the container more (docker run --shm-size 8g), or leave --hardware.workers out"
        )


def strategy(hardware: Hardware) -> Any:
    """Return Fabric's strategy: a whole model per process, or (`shard`) a share of it."""
    here, nodes = world(hardware)
    if hardware.shard:
        return ModelParallelStrategy(_as_it_is, data_parallel_size=here * nodes, tensor_parallel_size=1)
    # A step of recognition alone leaves the generator without gradients, which plain DDP refuses.
    return DDPStrategy(find_unused_parameters=True) if here * nodes > 1 else "auto"


def _as_it_is(module: nn.Module, _: Any) -> nn.Module:
    return module  # sharded already: the optimizer must be made of the shards


def restarted() -> bool:
    """Say whether torchrun or SLURM started this process again after a rank or a node was lost."""
    return any(int(os.environ.get(name) or 0) > 0 for name in RESTARTS)


def rejoin() -> None:
    """After a restart, meet the other processes under a key prefix of this attempt's own.

    torchrun's own key-value store still holds the addresses of the processes that died.
    """
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if attempt == "0" or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    store = torch.distributed.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    torch.distributed.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo",
        store=torch.distributed.PrefixStore(f"attempt-{attempt}", store),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )


def end_process(status: int = 0) -> None:
    """End this process at once if it is one of a group; a process by itself goes on.

    When the interpreter shuts down, gloo's threads abort a process that is still in its group one time in six, and one
    with a sharded model, which holds on to them, one time in eight even when it has left.
    """
    if torch.distributed.is_initialized():
        _leave()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def end_other_processes() -> None:
    """End this process if it is one of a group and not the first: a script that trains goes on in one process."""
    if torch.distributed.is_initialized() and torch.distributed.get_rank():
        end_process()


def leave_at_exit() -> None:
    """Have this process leave its group before the interpreter shuts down, also after an error (`end_process`)."""
    if torch.distributed.is_initialized():
        atexit.unregister(_leave)  # a process may train more than once
        atexit.register(_leave)


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def auto_resume(config: Config) -> Config:
    """Return the settings, with `resume` if this is a restart and there is a checkpoint to resume.

    A run goes on in the precision that it began in, unless another one is asked for.
    """
    folder = Path(config.out)
    there = (folder / checkpoint.LAST).is_file()
    config = replace(config, resume=True) if restarted() and there else config
    if config.resume and there and config.hardware.precision == "auto":
        with suppress(InputError):  # said when it is loaded
            precision = checkpoint.record_of(folder)["config"]["hardware"]["precision"]
            return replace(config, hardware=replace(config.hardware, precision=precision))
    return config


@cache
def keep_memory() -> None:
    """Let freed memory stay with the process, in huge pages where Linux gives them to those who ask.

    Page faults of fresh megabytes cost more than filling them does, and so does looking up small pages. A no-op where
    the C library is not glibc.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        for setting in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            library.mallopt(setting, KEPT_BYTES)
        # What is allocated from here on lies where this block, which is not touched, lay.
        library.malloc.restype = ctypes.c_void_p
        if block := library.malloc(KEPT_BYTES - HUGE_PAGE):
            first = -(-block // HUGE_PAGE) * HUGE_PAGE
            library.madvise(ctypes.c_void_p(first), ctypes.c_size_t(KEPT_BYTES - 3 * HUGE_PAGE), MADV_HUGEPAGE)
            library.free(ctypes.c_void_p(block))


def recompute(module: nn.Module) -> None:
    """Let every transformer block drop its activations and recompute them in the backward pass."""
    for block in module.modules():
        if isinstance(block, Block):
            block.forward = partial(recomputed, block.forward, use_reentrant=False, preserve_rng_state=False)


def shard(module: nn.Module, strategy: Any) -> None:
    """Shard the weights of a stage's module, in place, over the processes of a sharding strategy."""
    if not isinstance(strategy, ModelParallelStrategy):
        return
    from torch.distributed.fsdp import fully_shard

    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")  # nobody writes into them
    mesh = strategy.device_mesh["data_parallel"]
    if isinstance(module, DiscriminatorSide):
        # Whole from forward to backward: R1 takes a gradient inside the forward, where no weights may come and go.
        fully_shard(module.discriminator, mesh=mesh, reshard_after_forward=False)
        fully_shard(module.probe, mesh=mesh, reshard_after_forward=False)
        return
    for block in module.modules():
        if isinstance(block, Block):
            fully_shard(block, mesh=mesh)
    model = module.model if isinstance(module, GeneratorSide) else module
    units = [model.encoder, model.separator, model.generator, model.classifier] if isinstance(model, PFViT) else [model]
    for unit in units:
        if any(True for _ in unit.parameters()):
            fully_shard(unit, mesh=mesh, reshard_after_forward=True)  # also after a forward without a backward


def set_requires_grad(module: nn.Module, flag: bool) -> None:
    """Let a module's weights have gradients or not; FSDP2 keeps shards and whole weights apart, so both are set."""
    if all(weight.requires_grad == flag for weight in module.parameters()):
        return
    if hasattr(module, "unshard"):
        cast(Any, module).unshard()
        module.requires_grad_(flag)
        cast(Any, module).reshard()
    module.requires_grad_(flag)


def full_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return sharded tensors whole; every process must call this."""
    return {name: cast(Any, t).full_tensor() if hasattr(t, "full_tensor") else t for name, t in tensors.items()}


def local_shards(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return what this process holds of each tensor, sharing its memory."""
    return [cast(Any, tensor).detach().to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]


def parameter_summary(module: nn.Module, processes: int) -> str:
    """Return how many of a module's weights, in millions, one process holds."""
    weights = list(module.parameters())
    here, all_ = (sum(weight.numel() for weight in some) / 1e6 for some in (local_shards(weights), weights))
    share = f"{here:.3f} of " if here != all_ else ""
    return f"{share}{all_:.3f} M weights in each of {processes} processes" if processes > 1 else f"{all_:.3f} M weights"
