"""How torch computes in this process: the same numbers each time, and without waste."""

from __future__ import annotations

import ctypes
import os
import platform

import torch

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30


def configure_torch(num_threads: int) -> None:
    """torch computes the same numbers each time, on this many threads."""
    torch.set_num_threads(num_threads)
    # cuBLAS needs a fixed workspace to add in a fixed order; read when CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Only warns where an operation has no deterministic form: none of a T5's on a CPU does.
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Else every new tensor is first filled with NaN, for whoever reads what was never written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_memory()


def _keep_memory() -> None:
    """Freed memory stays with the process, for the next step's tensors of about the same sizes."""
    # glibc gives large blocks back at once, and the kernel clears each page of the next one again:
    # a sixth of a step at flan-t5-small's shape.
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
