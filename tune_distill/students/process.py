"""Settings of torch in this process: it computes the same numbers each time, and saves time."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30


def configure_torch(num_threads: int) -> None:
    """Make torch compute the same numbers each time in a worker, on this many threads."""
    _set_torch(num_threads)
    _keep_memory()


@contextmanager
def torch_configured(num_threads: int) -> Iterator[None]:
    """Make torch compute the same numbers each time in the block; restore its settings after it."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warns_only = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    had_workspace = _WORKSPACE in os.environ
    with torch.random.fork_rng(devices=range(min(1, torch.cuda.device_count()))):
        _set_torch(num_threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic, warn_only=warns_only)
            torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
            if not had_workspace:
                del os.environ[_WORKSPACE]


def _set_torch(num_threads: int) -> None:
    torch.set_num_threads(num_threads)
    # cuBLAS needs a fixed workspace to add in a fixed order. CUDA reads the variable as it starts.
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    # Only warn about operations without a deterministic form; a T5 on a CPU has no such operation.
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Otherwise torch fills each new tensor with NaN, to expose reads of unwritten memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _keep_memory() -> None:
    """Keep freed memory in the process, for the next step's tensors of about the same sizes."""
    # By default glibc returns large blocks at once, and the kernel clears each page of the next
    # block. This takes a sixth of a step at flan-t5-small's shape.
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
