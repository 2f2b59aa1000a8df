/// \file
/// Applies an epilogue to rows of float results, in vectors of the including ISA.
///
/// Include it from ISA files only (see simd.h). finish_row() is the one place that knows every
/// step; kernels may hold fast code for some forms of EpiloguePlan, which must give the same bits.
#pragma once

#include <cstring>

#include "kernels/bytes_x4.h"
#include "kernels/epilogue_plan.h"
#include "kernels/post_op_function.h"
#include "kernels/simd.h"

namespace ipex_quant::kernels {
namespace {

/// Most elements that one finish_row() call takes.
constexpr int64_t kEpilogueRow = 256;

/// y / scale between the bounds, rounded half to even, plus the zero point. A NaN gives the lower
/// bound.
inline I32 quantize_v(F32 y, F32 inv_scale, F32 low, F32 high, I32 zero_point) {
  const F32 t = min(max(mul(y, inv_scale), low), high);
  return add(to_int(t), zero_point);
}

/// Calls f(offset, count) for n elements in whole vectors, then once for the rest.
template <class F>
inline void for_vectors(int64_t n, const F& f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, static_cast<int64_t>(kLanes));
  if (i < n) f(i, n - i);
}

#if defined(__AVX512F__)

/// `count` floats, zeros behind them.
inline F32 load_some(const float* p, int64_t count) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>(0xffff >> (16 - count)), p)};
}
/// `count` bytes zero-extended, zeros behind them.
inline I32 load_u8_some(const uint8_t* p, int64_t count) {
  const auto mask = static_cast<__mmask16>(0xffff >> (16 - count));
  return {_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, p))};
}
inline void store_some(float* p, F32 x, int64_t count) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>(0xffff >> (16 - count)), x.v);
}
inline void store_u8_some(uint8_t* p, I32 x, int64_t count) {
  const auto mask = static_cast<__mmask16>(0xffff >> (16 - count));
  _mm_mask_storeu_epi8(p, mask, _mm512_cvtepi32_epi8(x.v));
}

#else

inline F32 load_some(const float* p, int64_t count) {
  if (count == kLanes) return load(p);
  float buffer[kLanes] = {};
  std::memcpy(buffer, p, static_cast<size_t>(count) * sizeof(float));
  return load(buffer);
}
inline I32 load_u8_some(const uint8_t* p, int64_t count) {
  if (count == kLanes) return load_u8(p);
  uint8_t buffer[16] = {};
  std::memcpy(buffer, p, static_cast<size_t>(count));
  return load_u8(buffer);
}
inline void store_some(float* p, F32 x, int64_t count) {
  if (count == kLanes) return store(p, x);
  float buffer[kLanes];
  store(buffer, x);
  std::memcpy(p, buffer, static_cast<size_t>(count) * sizeof(float));
}
inline void store_u8_some(uint8_t* p, I32 x, int64_t count) {
  if (count == kLanes) return store_u8(p, x);
  uint8_t buffer[16];
  store_u8(buffer, x);
  std::memcpy(p, buffer, static_cast<size_t>(count));
}

#endif

/// y[i] = f(y[i]) over whole vectors; y has room for them.
template <class F>
inline void map_row(float* y, int64_t n, const F& f) {
  for (int64_t i = 0; i < n; i += kLanes) store(y + i, f(load(y + i)));
}

/// The same for an f that takes several vectors, too.
template <class F>
inline void map_row_wide(float* y, int64_t n, const F& f) {
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) store_wide(y + i, f(load_wide<4>(y + i)));
  map_row(y + i, n - i, f);
}

/// y[i] = operand[i] is 0 ? when_zero : otherwise, where a null pointer stands for y[i].
inline void mask_row(float* y, int64_t n, const PostOpTensor& tensor, int64_t row, int64_t col,
                     const F32* when_zero, const F32* otherwise) {
  const auto* p =
      static_cast<const uint8_t*>(tensor.data) + row * tensor.row_stride + col * tensor.col_stride;
  const auto choose = [&](F32 v, I32 mask) {
    const Mask is_zero = less(to_float(mask), set1(0.5f));
    return select(is_zero, when_zero ? *when_zero : v, otherwise ? *otherwise : v);
  };
  if (tensor.col_stride == 0) {
    const I32 mask = set1i(*p);
    return map_row(y, n, [&](F32 v) { return choose(v, mask); });
  }
  for_vectors(n, [&](int64_t i, int64_t count) {
    store(y + i, choose(load(y + i), load_u8_some(p + i, count)));
  });
}

/// y[i] = f(y[i], operand[i]) where the operand is read by `tensor`, dequantized when it is u8.
template <class F>
inline void combine_row(float* y, int64_t n, const PostOp& op, const PostOpTensor& tensor,
                        bool is_u8, int64_t row, int64_t col, const F& f) {
  const F32 scale = set1(op.a);
  const I32 zero_point = set1i(op.zero_point);
  const int64_t first = row * tensor.row_stride + col * tensor.col_stride;
  if (is_u8) {
    const uint8_t* p = static_cast<const uint8_t*>(tensor.data) + first;
    if (tensor.col_stride == 0) {
      const F32 other = mul(to_float(sub(set1i(*p), zero_point)), scale);
      return map_row(y, n, [&](F32 v) { return f(v, other); });
    }
    for_vectors(n, [&](int64_t i, int64_t count) {
      const I32 q = load_u8_some(p + i, count);
      store(y + i, f(load(y + i), mul(to_float(sub(q, zero_point)), scale)));
    });
  } else {
    const float* p = static_cast<const float*>(tensor.data) + first;
    if (tensor.col_stride == 0) {
      const F32 other = set1(*p);
      return map_row(y, n, [&](F32 v) { return f(v, other); });
    }
    for_vectors(n, [&](int64_t i, int64_t count) {
      store(y + i, f(load(y + i), load_some(p + i, count)));
    });
  }
}

/// Runs the steps of the chain on y, in place: `rows` rows of `n` results, `stride` >= n floats
/// apart in whole vectors. A step runs on all rows before the next one starts, so that the
/// latencies of many vectors overlap.
inline void apply_chain(const EpiloguePlan& plan, float* y, int64_t rows, int64_t stride, int64_t n,
                        const int64_t* dst_rows, int64_t col) {
  const auto combine = [&](const PostOp& op, const PostOpTensor& tensor, bool is_u8,
                           const auto& f) {
    for (int64_t r = 0; r < rows; ++r) {
      combine_row(y + r * stride, n, op, tensor, is_u8, dst_rows[r], col, f);
    }
  };
  int tensor = 0;
  for (int step = 0; step < plan.chain.count; ++step) {
    const PostOp& op = plan.chain.ops[step];
    switch (op.kind) {
    case PostOpKind::kAddU8:
    case PostOpKind::kAddF32:
      combine(op, plan.tensors[tensor++], op.kind == PostOpKind::kAddU8,
              [](F32 v, F32 other) { return add(v, other); });
      break;
    case PostOpKind::kMulU8:
    case PostOpKind::kMulF32:
      combine(op, plan.tensors[tensor++], op.kind == PostOpKind::kMulU8,
              [](F32 v, F32 other) { return mul(v, other); });
      break;
    case PostOpKind::kPrelu:
      combine(op, plan.tensors[tensor++], false,
              [](F32 v, F32 other) { return leaky_relu_v(v, other); });
      break;
    case PostOpKind::kMaskedFill:
    case PostOpKind::kWhere: {
      const bool fills = op.kind == PostOpKind::kMaskedFill;
      const F32 a = set1(op.a);
      const PostOpTensor& mask = plan.tensors[tensor++];
      for (int64_t r = 0; r < rows; ++r) {
        mask_row(y + r * stride, n, mask, dst_rows[r], col, fills ? nullptr : &a,
                 fills ? &a : nullptr);
      }
      break;
    }
    default:
      with_function(op, [&](const auto& f) { map_row_wide(y, rows * stride, f); });
    }
  }
}

#if defined(__AVX512F__)

/// table[x] in the low byte of each lane, for lanes of 0..255.
inline I32 look_up(I32 x, const uint8_t* table) {
  // The table as 64 words of four entries: bits 2..6 choose a word of a half, bit 7 the half.
  const __m512i word = _mm512_srli_epi32(x.v, 2);
  const __m512i low =
      _mm512_permutex2var_epi32(_mm512_loadu_si512(table), word, _mm512_loadu_si512(table + 64));
  const __m512i high = _mm512_permutex2var_epi32(_mm512_loadu_si512(table + 128), word,
                                                 _mm512_loadu_si512(table + 192));
  const __mmask16 upper = _mm512_test_epi32_mask(x.v, _mm512_set1_epi32(128));
  const __m512i bits = _mm512_slli_epi32(_mm512_and_si512(x.v, _mm512_set1_epi32(3)), 3);
  return {_mm512_srlv_epi32(_mm512_mask_blend_epi32(upper, low, high), bits)};
}
inline void store_looked_up(uint8_t* p, I32 x, const uint8_t* table, int64_t count) {
  store_u8_some(p, look_up(x, table), count);
}

#else

inline void store_looked_up(uint8_t* p, I32 x, const uint8_t* table, int64_t count) {
  store_u8_some(p, x, count);
  for (int64_t i = 0; i < count; ++i) p[i] = table[p[i]];
}

#endif

/// Stores the results of a row: quantized when the chain does that, else as they are.
inline void store_row(const EpiloguePlan& plan, const float* y, int64_t n, void* out) {
  if (plan.chain.quantize) {
    const ToBytes to(plan);
    for (; !plan.chain.look_up && n >= kBytesX4; n -= kBytesX4, y += kBytesX4) {
      I32 t[4];
      unroll<4>([&](auto j) IQ_INLINE { t[j] = to.template round<false>(load(y + j * kLanes)); });
      store_x4<false>(static_cast<uint8_t*>(out), t, to);
      out = static_cast<uint8_t*>(out) + kBytesX4;
    }
    const F32 inv_scale = set1(plan.chain.inv_scale);
    const F32 low = set1(plan.low);
    const F32 high = set1(plan.high);
    const I32 zero_point = set1i(plan.chain.zero_point);
    for_vectors(n, [&](int64_t i, int64_t count) {
      const I32 q = quantize_v(load(y + i), inv_scale, low, high, zero_point);
      uint8_t* p = static_cast<uint8_t*>(out) + i;
      if (plan.chain.look_up) return store_looked_up(p, q, plan.chain.table, count);
      store_u8_some(p, q, count);
    });
  } else {
    for_vectors(n, [&](int64_t i, int64_t count) {
      store_some(static_cast<float*>(out) + i, load(y + i), count);
    });
  }
}

/// Runs the epilogue on `n` <= kEpilogueRow results of output row `row`, starting at column `col`.
///
/// \param y    results as float; overwritten; room for n rounded up to 16
/// \param out  element (row, col) of the output: uint8 when the chain quantizes, else float
inline void finish_row(const EpiloguePlan& plan, float* y, int64_t n, int64_t row, int64_t col,
                       void* out) {
  apply_chain(plan, y, 1, (n + kLanes - 1) / kLanes * kLanes, n, &row, col);
  store_row(plan, y, n, out);
}

}  // namespace
}  // namespace ipex_quant::kernels
