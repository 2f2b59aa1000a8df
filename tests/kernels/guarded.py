"""Tensors that end where readable memory ends: reading one byte too far kills the test run."""

from __future__ import annotations

import ctypes
import mmap

import torch

_libc = ctypes.CDLL(None, use_errno=True)


def guarded(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of a uint8 tensor, same strides, whose last byte is followed by a page that traps."""
    size = tensor.untyped_storage().nbytes() if tensor.storage_offset() == 0 else 0
    assert tensor.dtype == torch.uint8
    assert size, "guarded() wants a tensor that starts its storage"
    pages = -(-size // mmap.PAGESIZE)
    area = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    flat = torch.frombuffer(area, dtype=torch.uint8)
    end = flat.data_ptr() + pages * mmap.PAGESIZE
    # PROT_NONE is 0; the mapping is page aligned, and so is the guard behind it.
    if _libc.mprotect(ctypes.c_void_p(end), ctypes.c_size_t(mmap.PAGESIZE), 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect failed")
    copy = flat[pages * mmap.PAGESIZE - size :].as_strided(
        tensor.size(), tensor.stride(), pages * mmap.PAGESIZE - size
    )
    copy.copy_(tensor)
    return copy
