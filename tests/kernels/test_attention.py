"""attention: the bits of matmul, softmax and matmul, one operator after the other."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drawn import cases, trapped
from ipex_quant import _C
from kernel_reference import available_isas
from kernel_reference import random_u8 as u8

ops = torch.ops.ipex_quant

QParams = tuple[float, int]
Q, K, P, V = (0.02, 131), (0.015, 117), (1 / 255, 0), (0.01, 100)
SCORES = "mul(0.125)"


def fused(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scores: str = SCORES,
    epilogue: str = "quantize(0.002,128)",
    score_tensors: Sequence[torch.Tensor] = (),
    others: Sequence[torch.Tensor] = (),
    qparams: tuple[QParams, QParams, QParams, QParams] = (Q, K, P, V),
) -> torch.Tensor:
    packed = ops.attention_prepack(*(x for pair in qparams for x in pair), scores, epilogue)
    return ops.attention(q, k, v, packed, list(score_tensors), list(others))


def unfused(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scores: str = SCORES,
    epilogue: str = "quantize(0.002,128)",
    score_tensors: Sequence[torch.Tensor] = (),
    others: Sequence[torch.Tensor] = (),
    qparams: tuple[QParams, QParams, QParams, QParams] = (Q, K, P, V),
) -> torch.Tensor:
    of_q, of_k, of_p, of_v = qparams
    s = ops.matmul(q, k, ops.matmul_prepack(*of_q, *of_k, scores), list(score_tensors))
    p = ops.softmax(s, *of_p)
    return ops.matmul(p, v, ops.matmul_prepack(*of_p, *of_v, epilogue), list(others))


def same(
    isa: str, run: Callable[[], torch.Tensor], expected: Callable[[], torch.Tensor]
) -> torch.Tensor:
    """`run` under `isa` gives the bits of `expected` on the reference kernels."""
    got = run()
    _C.set_isa_cap("reference")
    wanted = expected()
    _C.set_isa_cap(isa)
    assert got.shape == wanted.shape
    assert got.contiguous().numpy().tobytes() == wanted.numpy().tobytes()
    return got


def heads(batch: int, tokens: int, count: int, size: int, seed: int = 0) -> torch.Tensor:
    """[batch, count, tokens, size], a view of [batch, tokens, count * size]."""
    return u8(batch, tokens, count, size, seed=seed).transpose(1, 2)


# queries, keys, size of a head of q and k, of v
SIZES = [
    (1, 1, 1, 1),
    (2, 3, 5, 7),
    (5, 4, 16, 16),
    (1, 70, 64, 64),
    (7, 33, 31, 65),
    (13, 17, 24, 24),
    (25, 64, 32, 32),
    (65, 130, 20, 80),
    (128, 128, 64, 64),
    (300, 40, 8, 12),
]


@pytest.mark.parametrize("sizes", SIZES)
def test_sizes(isa: str, sizes: tuple[int, int, int, int]) -> None:
    m, n, k, d = sizes
    q, keys, v = u8(2, m, k, seed=1), u8(2, n, k, seed=2).transpose(1, 2), u8(2, n, d, seed=3)
    for epilogue in ("", "relu|quantize(0.003,7)"):
        same(
            isa,
            lambda e=epilogue: fused(q, keys, v, epilogue=e),
            lambda e=epilogue: unfused(q, keys, v, epilogue=e),
        )


def test_result_lies_as_q_does(isa: str) -> None:
    """Heads that are interleaved in memory stay so: the permute behind attention copies nothing."""
    q, k, v = (heads(2, tokens, 3, 24, seed=tokens) for tokens in (37, 50, 50))
    k = k.transpose(-2, -1)
    got = same(isa, lambda: fused(q, k, v), lambda: unfused(q, k, v))
    assert got.permute(0, 2, 1, 3).is_contiguous()
    merged = same(isa, lambda: fused(q[0], k[0], v[0]), lambda: unfused(q[0], k[0], v[0]))
    assert merged.transpose(0, 1).is_contiguous()
    dense = q.contiguous()
    assert fused(dense, k, v).is_contiguous()
    assert fused(dense[:, :1].expand(2, 3, 37, 24), k, v).is_contiguous()


MASKS = {
    "added": ("mul(0.125)|add_f32", lambda n: torch.where(torch.rand(n) < 0.3, -1e4, 0.5)),
    "added -inf": ("add_f32", lambda n: torch.where(torch.rand(n) < 0.3, -torch.inf, 0.0)),
    "masked_fill": ("mul(0.125)|masked_fill(-3.40282347e+38)", lambda n: torch.rand(n) < 0.3),
    "masked_fill -inf": ("masked_fill(-inf)", lambda n: torch.rand(n) < 0.3),
    "where": ("mul(0.3)|where(-10000)", lambda n: torch.rand(n) < 0.7),
    "where bytes": ("mul(0.3)|where(-1)", lambda n: torch.randint(0, 3, n, dtype=torch.uint8)),
}


@pytest.mark.parametrize("shape", [(2, 1, 1, 45), (21, 45), (2, 3, 21, 45), (3, 1, 1), (1, 21, 1)])
@pytest.mark.parametrize("name", list(MASKS))
def test_masks(isa: str, name: str, shape: tuple[int, ...]) -> None:
    scores, make = MASKS[name]
    q, k, v = (
        heads(2, 21, 3, 20, 1),
        heads(2, 45, 3, 20, 2).transpose(-2, -1),
        heads(2, 45, 3, 16, 3),
    )
    mask = make(shape)
    same(
        isa,
        lambda: fused(q, k, v, scores, score_tensors=[mask]),
        lambda: unfused(q, k, v, scores, score_tensors=[mask]),
    )


@pytest.mark.parametrize("name", ["added -inf", "masked_fill", "masked_fill -inf", "where"])
def test_masked_keys_do_not_count(isa: str, name: str) -> None:
    """The result is that of the keys that are left, whatever the masked ones hold."""
    scores, _ = MASKS[name]
    q, k, v = u8(3, 9, 20, seed=1), u8(3, 20, 50, seed=2), u8(3, 50, 16, seed=3)
    left = torch.arange(50) < 30
    mask = left if name == "where" else ~left
    if name.startswith("added"):
        mask = torch.where(left, 0.0, -torch.inf)
    got = fused(q, k, v, scores, "", [mask])
    k[..., 30:], v[:, 30:] = 255, 255
    assert torch.equal(fused(q, k, v, scores, "", [mask]), got)
    chain = "mul(0.125)" if name == "masked_fill" else "mul(0.3)" if name == "where" else "mul(1)"
    assert torch.equal(fused(q, k[..., :30].contiguous(), v[:, :30], chain, ""), got)


def test_rows_without_keys_are_zero(isa: str) -> None:
    q, k, v = u8(2, 5, 8), u8(2, 8, 12), u8(2, 12, 8)
    mask = torch.zeros(5, 12, dtype=torch.bool)
    mask[3] = True
    got = fused(q, k, v, "masked_fill(-inf)", "", [mask])
    assert not got[:, 3].any()
    assert got[:, :3].all(-1).any(-1).all()


def test_steps_on_the_result(isa: str) -> None:
    q, k, v = u8(2, 3, 9, 20, seed=1), u8(2, 3, 20, 30, seed=2), u8(2, 3, 30, 70, seed=3)
    row, full = torch.randn(9, 1), u8(2, 3, 70, 9, seed=4).transpose(-1, -2)
    bias, mask = torch.randn(3, 9, 30), torch.rand(2, 1, 9, 30) < 0.2
    scores, epilogue = (
        "add_f32|mul(0.5)|masked_fill(-100)",
        "mul_f32|add_u8(0.5,30)|quantize(0.3,40)",
    )
    same(
        isa,
        lambda: fused(q, k, v, scores, epilogue, [bias, mask], [row, full]),
        lambda: unfused(q, k, v, scores, epilogue, [bias, mask], [row, full]),
    )


@pytest.mark.parametrize("qparams", [(Q, K, P, V), ((0.1, 0), (0.1, 255), (0.003, 9), (0.1, 128))])
def test_extremes(isa: str, qparams: tuple[QParams, QParams, QParams, QParams]) -> None:
    """Every product at its largest, where saturating instructions would fail."""
    for left, right in ((255, 255), (255, 0), (0, 255), (0, 0)):
        q = torch.full((7, 60), left, dtype=torch.uint8)
        k = torch.full((60, 70), right, dtype=torch.uint8)
        v = torch.full((70, 20), left, dtype=torch.uint8)
        same(
            isa,
            lambda q=q, k=k, v=v: fused(q, k, v, epilogue="", qparams=qparams),
            lambda q=q, k=k, v=v: unfused(q, k, v, epilogue="", qparams=qparams),
        )


@pytest.mark.parametrize(
    ("q", "k", "v"),
    [
        ((3, 4, 5, 8), (3, 4, 8, 6), (3, 4, 6, 7)),
        ((3, 4, 5, 8), (8, 6), (6, 7)),
        ((5, 8), (3, 4, 8, 6), (4, 6, 7)),
        ((3, 1, 5, 8), (4, 8, 6), (3, 1, 6, 7)),
        ((0, 5, 8), (8, 6), (6, 7)),
        ((2, 0, 8), (8, 6), (6, 7)),
        ((2, 5, 8), (8, 0), (0, 7)),
        ((2, 5, 0), (0, 6), (6, 7)),
        ((2, 5, 8), (8, 6), (6, 0)),
    ],
)
def test_broadcasting(isa: str, q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
    operands = u8(*q, seed=1), u8(*k, seed=2), u8(*v, seed=3)
    same(isa, lambda: fused(*operands), lambda: unfused(*operands))


def test_strides(isa: str) -> None:
    base = u8(4, 40, 60)
    for q, k, v in (
        (
            base[:, ::2, ::3],
            base[:, :20, 5:],
            base[:, :, ::2].transpose(1, 2)[:, :30].expand(4, 30, 40)[:, :, :9],
        ),
        (base.transpose(1, 2), base[:, :, ::2], base[:, :30, :4]),
        (base[:, :1].expand(4, 7, 60)[..., :3], base[:, :3], base.transpose(1, 2)),
    ):
        k = k[..., : v.shape[-2]]
        v = v[:, : k.shape[-1]]
        same(isa, lambda q=q, k=k, v=v: fused(q, k, v), lambda q=q, k=k, v=v: unfused(q, k, v))


def test_threads(isa: str, same_for_all_threads: Callable) -> None:
    for batch, tokens in ((1, 301), (5, 47)):
        q, k, v = (heads(batch, tokens, 2, 64, seed) for seed in (1, 2, 3))
        mask = torch.where(torch.rand(batch, 1, 1, tokens) < 0.2, -1e4, 0.0)
        args = (q, k.transpose(-2, -1), v, "mul(0.125)|add_f32", "quantize(0.002,128)", [mask])
        got = same_for_all_threads(lambda args=args: fused(*args))
        assert torch.equal(got, unfused(*args))


@pytest.mark.slow
@cases(400)
@given(data=st.data())
def test_any_case(data: st.DataObject) -> None:
    """Drawn shapes, qparams, masks and layouts on every ISA of this machine."""
    size = st.integers(1, 70)
    batch, m, n, k, d = data.draw(st.integers(1, 3)), *(data.draw(size) for _ in range(4))
    seed = data.draw(st.integers(0, 1 << 16))
    interleaved = data.draw(st.booleans())

    def operand(rows: int, columns: int, more: int) -> torch.Tensor:
        x = heads(1, rows, batch, columns, seed + more)[0]
        return x if interleaved else trapped(seed, x.clone(memory_format=torch.contiguous_format))

    q, keys, v = operand(m, k, 0), operand(n, k, 1).transpose(1, 2), operand(n, d, 2)
    pair = st.tuples(st.floats(1e-3, 0.1), st.integers(0, 255))
    qparams = data.draw(st.tuples(pair, pair, pair, pair))
    scores = data.draw(st.sampled_from(["", "mul(0.125)", "mul(0.3)|add_f32", "where(-inf)"]))
    shape = data.draw(st.sampled_from([(n,), (m, n), (batch, 1, n), (batch, m, 1), (1,)]))
    torch.manual_seed(seed)
    tensors = []
    if "add_f32" in scores:
        tensors = [torch.randn(shape) * 5]
    elif "where" in scores:
        tensors = [torch.rand(shape) < 0.6]
    epilogue = data.draw(st.sampled_from(["", "quantize(0.02,128)", "relu|quantize(0.5,0)"]))
    args = (q, keys, v, scores, epilogue, tensors, (), qparams)
    for isa in available_isas():
        _C.set_isa_cap(isa)
        same(isa, lambda: fused(*args), lambda: unfused(*args))
    _C.set_isa_cap("")


def test_save_and_load() -> None:
    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            chain = "mul(0.5)|where(-inf)"
            self.packed = ops.attention_prepack(*Q, *K, *P, *V, chain, "quantize(0.1,3)")

        def forward(self, q, k, v, mask):  # type: ignore[no-untyped-def]
            return torch.ops.ipex_quant.attention(q, k, v, self.packed, [mask], [])

    args = u8(5, 30, seed=1), u8(30, 7, seed=2), u8(7, 9, seed=3), torch.rand(5, 7) < 0.5
    traced = torch.jit.trace(Module(), args)
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    buffer.seek(0)
    assert torch.equal(torch.jit.load(buffer)(*args), traced(*args))


BAD_CALLS = {
    "q must be a Byte tensor": lambda: fused(torch.zeros(2, 2), u8(2, 2), u8(2, 2)),
    "k must be a Byte tensor": lambda: fused(u8(2, 2), torch.zeros(2, 2), u8(2, 2)),
    "v must have 2 dimensions or more": lambda: fused(u8(2, 2), u8(2, 2), u8(2)),
    "3 is not 4": lambda: fused(u8(2, 3), u8(4, 2), u8(2, 2)),
    "2 keys and 5 values": lambda: fused(u8(2, 3), u8(3, 2), u8(5, 2)),
    "must match the size": lambda: fused(u8(2, 3, 4), u8(3, 4, 2), u8(2, 2)),
    "the size of a head 33026 is": lambda: fused(u8(1, 33026), u8(33026, 1), u8(1, 1)),
    "the number of keys 33026 is": lambda: fused(u8(1, 1), u8(1, 33026), u8(33026, 1)),
    "must not quantize": lambda: fused(u8(2, 2), u8(2, 2), u8(2, 2), "quantize(1,0)"),
    "zero point must be in 0..255": lambda: fused(
        u8(2, 2), u8(2, 2), u8(2, 2), qparams=(Q, K, (1.0, 256), V)
    ),
    "reads 1 tensors, but others has 0": lambda: fused(u8(2, 2), u8(2, 2), u8(2, 2), "add_f32"),
    "must be a Bool tensor": lambda: fused(
        u8(2, 2), u8(2, 2), u8(2, 2), "where(0)", score_tensors=[torch.zeros(2)]
    ),
    "does not broadcast": lambda: fused(
        u8(2, 2), u8(2, 2), u8(2, 2), "add_f32", score_tensors=[torch.zeros(3)]
    ),
    "argument 'nan' is not a number": lambda: fused(u8(2, 2), u8(2, 2), u8(2, 2), "where(nan)"),
}


@pytest.mark.parametrize("message", list(BAD_CALLS))
def test_errors(message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        BAD_CALLS[message]()
