"""Tensors that end where readable memory ends: reading one byte too far kills the test run."""

from __future__ import annotations

import ctypes
import mmap

import torch

_libc = ctypes.CDLL(None, use_errno=True)


def guarded(tensor: torch.Tensor, front: bool = False) -> torch.Tensor:
    """A copy of a tensor, same strides, with a page that traps behind it.

    Args:
        tensor: any dtype; it starts its storage and is not empty.
        front: the page lies in front of the tensor instead, which then starts a page.
    """
    size = tensor.untyped_storage().nbytes() if tensor.storage_offset() == 0 else 0
    assert size, "guarded() wants a tensor that starts its storage"
    pages = -(-size // mmap.PAGESIZE)
    area = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    flat = torch.frombuffer(area, dtype=torch.uint8)
    trap = flat.data_ptr() + (0 if front else pages * mmap.PAGESIZE)
    # PROT_NONE is 0; the mapping is page aligned, and so is the guard.
    if _libc.mprotect(ctypes.c_void_p(trap), ctypes.c_size_t(mmap.PAGESIZE), 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect failed")
    first = mmap.PAGESIZE if front else pages * mmap.PAGESIZE - size
    values = flat[first : first + size].view(tensor.dtype)
    copy = values.as_strided(tensor.size(), tensor.stride(), values.storage_offset())
    copy.copy_(tensor)
    return copy
