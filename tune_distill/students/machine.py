"""The hardware that this process computes on; the last digits of results depend on it."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

import torch

# Each of these variables makes oneDNN or MKL use other code than the processor allows.
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")


_CGROUP = Path("/sys/fs/cgroup")


def device_name() -> str:
    """Return the name of the GPU, or `cpu`."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def num_cpus() -> int:
    """Return the number of CPUs of this machine, or of its container if that has fewer."""
    quota, period = _CGROUP / "cpu/cpu.cfs_quota_us", _CGROUP / "cpu/cpu.cfs_period_us"
    found = os.cpu_count() or 1
    for files in ([_CGROUP / "cpu.max"], [quota, period]):
        # Without a limit, the file is missing or says "max" or -1.
        with suppress(OSError, ValueError):
            limit, length = " ".join(path.read_text() for path in files).split()
            if int(limit) > 0:
                found = min(found, max(1, int(limit) // int(length)))
    return found


def num_gpus() -> int:
    """Return the number of GPUs that this process may use."""
    return torch.cuda.device_count()


def instruction_set() -> str:
    """Return the CPU's instruction set and model, with environment limits; or a GPU's architecture.

    Examples: `AVX512 on AMD EPYC`, `sm_90`. The model is named because libraries choose their
    kernels by maker and caches too.
    """
    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        return f"sm_{major}{minor}"
    capability = torch.backends.cpu.get_cpu_capability()
    limits = [f"{name}={os.environ[name]}" for name in _LIMITS if os.environ.get(name)]
    return ", ".join([f"{capability} on {_processor()}", *limits])


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()
