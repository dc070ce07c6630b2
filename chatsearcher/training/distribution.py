"""Where a training runs: devices, ranks, precision and the DeepSpeed engine, through accelerate."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from chatsearcher.device import pick_device, pick_dtype
from chatsearcher.training.settings import EngineSettings, Precision, RunSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

CONFIG_FOLDER = Path(__file__).resolve().parents[2] / "ds_configs"


def launched() -> bool:
    """True under a launcher (``deepspeed``, ``torchrun``, ``accelerate``) that set the ranks."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_main() -> bool:
    """Whether this process is the one that prints and writes; needs no process group yet."""
    return os.environ.get("RANK", "0") == "0"


def uses_deepspeed(run: RunSettings) -> bool:
    """Whether this run goes through the DeepSpeed engine (see ``EngineSettings.deepspeed``)."""
    if run.engine.deepspeed == "auto":
        return launched() or run.engine.zero > 0
    return run.engine.deepspeed != "off"


def zero_stage(engine: EngineSettings) -> int:
    """The ZeRO stage that an engine runs with: that of its JSON where one is named.

    Raises:
        FileNotFoundError: the JSON is not there.
    """
    if engine.deepspeed in ("auto", "on", "off"):
        return engine.zero
    return int(_engine_json(engine).get("zero_optimization", {}).get("stage", 0))


def _engine_json(engine: EngineSettings) -> dict[str, Any]:
    named = engine.deepspeed not in ("auto", "on")
    path = Path(engine.deepspeed) if named else CONFIG_FOLDER / f"zero{engine.zero}.json"
    if not path.is_file():
        known = ", ".join(str(p) for p in sorted(CONFIG_FOLDER.glob("*.json"))) or "none"
        raise FileNotFoundError(
            f"no DeepSpeed configuration at {path}; known: {known}. "
            "Give --engine.deepspeed a path to a JSON file, or run from a clone of the repository"
        )
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def deepspeed_config(run: RunSettings) -> dict[str, Any]:
    """The engine's JSON with every ``"auto"`` filled in from the recipe.

    Raises:
        FileNotFoundError: the JSON is not there; the message names the ones that are.
    """
    config = _engine_json(run.engine)
    # The data source makes ready batches; DeepSpeed's own idea of a batch only feeds its counters.
    world = int(os.environ.get("WORLD_SIZE", 1))
    values = {
        "train_micro_batch_size_per_gpu": 1,
        "train_batch_size": run.optimiser.accumulation * world,
        "gradient_accumulation_steps": run.optimiser.accumulation,
        "gradient_clipping": run.optimiser.clip,
    }
    config.update({k: v for k, v in values.items() if config.get(k, "auto") == "auto"})
    config["bf16"] = {"enabled": run.engine.precision == "bf16"}
    if precision_here(run.engine) == "bf16-autocast":
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    config.setdefault("steps_per_print", 2**31 - 1)
    return config


def precision_here(engine: EngineSettings, device: torch.device | str | None = None) -> Precision:
    """The engine's precision on this machine: what "auto" means here."""
    if engine.precision != "auto":
        return engine.precision
    fast = pick_dtype(device or pick_device()) == torch.bfloat16
    return "bf16-autocast" if fast else "fp32"


def _single_process_environment() -> None:
    """DeepSpeed wants a process group even when alone; give it one of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_SIZE": "1"}
    os.environ.update(alone, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)


def _skip_useless_compilation() -> None:
    """Do without DeepSpeed's shared-memory reduction where it is of no use or cannot be built.

    On a CPU the first start would compile it for half a minute, and fail where there is no
    compiler. gloo does the same work.
    """
    import deepspeed

    alone = int(os.environ.get("WORLD_SIZE", 1)) == 1
    if alone or not (shutil.which(os.environ.get("CXX", "g++")) and shutil.which("ninja")):
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def build_accelerator(run: RunSettings) -> Accelerator:
    """The accelerate object of this process; starts the process group where there is one."""
    if run.engine.threads:
        torch.set_num_threads(run.engine.threads)
    on_cpu = not torch.cuda.is_available()
    if on_cpu:
        # torch's CUDA build makes DeepSpeed guess; this must stand before its first import.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DeepSpeedPlugin, InitProcessGroupKwargs

    # A second training in this process (the tower before stage 1) has settings of its own.
    AcceleratorState._reset_state()

    plugin, handlers = None, []
    if uses_deepspeed(run):
        if not launched():
            _single_process_environment()
        _skip_useless_compilation()
        plugin = DeepSpeedPlugin(hf_ds_config=deepspeed_config(run))
        # accelerate's cpu=True drops DeepSpeed, and cpu=False needs telling that CPUs speak gloo.
        handlers = [InitProcessGroupKwargs(backend="gloo")] if on_cpu else []
    elif run.engine.precision == "bf16":
        raise ValueError(
            "precision 'bf16' (bfloat16 parameters with float32 masters) is DeepSpeed's; "
            "use --engine.precision bf16-autocast, or --engine.deepspeed on"
        )
    accelerator = Accelerator(
        cpu=on_cpu and plugin is None,
        deepspeed_plugin=plugin,
        mixed_precision="bf16" if run.engine.precision == "bf16" else "no",
        gradient_accumulation_steps=run.optimiser.accumulation,
        kwargs_handlers=handlers,
    )
    if plugin is not None:
        # Else transformers partitions a language model under ZeRO 3 while the network around it is
        # still being made, and its initialisation meets empty weights.
        from transformers.integrations import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()
    return accelerator


def autocast(accelerator: Accelerator, run: RunSettings) -> contextlib.AbstractContextManager[None]:
    """bf16 autocast around the objective; a no-op where the recipe's precision is another."""
    if precision_here(run.engine) != "bf16-autocast":
        return contextlib.nullcontext()
    return torch.autocast(accelerator.device.type, dtype=torch.bfloat16)


def any_rank(accelerator: Accelerator, flag: bool) -> bool:
    """Whether the flag is up on any rank; free of communication when alone."""
    if accelerator.num_processes == 1:
        return flag
    value = torch.tensor(float(flag), device=accelerator.device)
    return bool(accelerator.reduce(value, reduction="sum").item() > 0)


def adder(accelerator: Accelerator) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Sums a vector over the ranks; None when alone."""
    if accelerator.num_processes == 1:
        return None

    def add_up(vector: torch.Tensor) -> torch.Tensor:
        summed: torch.Tensor = accelerator.reduce(vector.to(accelerator.device), reduction="sum")
        return summed.cpu()

    return add_up
