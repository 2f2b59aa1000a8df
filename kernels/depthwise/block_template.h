/// \file
/// The depthwise micro-kernel, written once for the x86 ISAs; each file includes it with its own
/// Dot.
///
/// A chunk is 4 vectors of bytes' worth of channels. Interleaving four lines gives 4 vectors;
/// vector j holds, in its 128-bit lane l, the channels 16 l + 4 j + 0..3, each as 4 bytes of the
/// four lines. Weights and per-channel floats are brought into that order once per block; packing
/// the results to bytes restores the natural order.
#pragma once

#include <cstring>

#include "kernels/depthwise/block.h"
#include "kernels/epilogue_apply.h"
#include "kernels/to_bytes.h"
#include "kernels/unroll.h"

namespace ipex_quant::kernels {
namespace {

constexpr int64_t kChunk = 4 * kLanes;
constexpr int64_t kVectorBytes = 4 * kLanes;
constexpr int64_t kColumnBytes = 4 * kVectorBytes;

/// A byte in each place of a 32-bit word.
inline int32_t four_bytes(uint8_t byte) { return static_cast<int32_t>(byte * 0x01010101U); }

#if defined(__AVX512F__)

constexpr bool kMasked = true;  ///< a part of a vector is stored without a call

inline I32 load_bytes(const uint8_t* p, int64_t count) {
  if (count == kChunk) return {_mm512_loadu_si512(p)};
  return {_mm512_maskz_loadu_epi8(~uint64_t{0} >> (64 - count), p)};
}
inline I32 unpack_low8(I32 a, I32 b) { return {_mm512_unpacklo_epi8(a.v, b.v)}; }
inline I32 unpack_high8(I32 a, I32 b) { return {_mm512_unpackhi_epi8(a.v, b.v)}; }
inline I32 unpack_low16(I32 a, I32 b) { return {_mm512_unpacklo_epi16(a.v, b.v)}; }
inline I32 unpack_high16(I32 a, I32 b) { return {_mm512_unpackhi_epi16(a.v, b.v)}; }

/// Four rounded, interleaved vectors as bytes in natural order.
inline IQ_INLINE void store_chunk(uint8_t* out, const I32 (&t)[4], const ToBytes& to,
                                  int64_t count) {
  const __m512i z = _mm512_set1_epi16(static_cast<int16_t>(to.zero_point));
  const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(t[0].v, t[1].v), z);
  const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(t[2].v, t[3].v), z);
  __m512i bytes = _mm512_packus_epi16(low, high);
  bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(static_cast<char>(to.low)));
  bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8(static_cast<char>(to.high)));
  if (count == kChunk) {
    _mm512_storeu_si512(out, bytes);
  } else {
    _mm512_mask_storeu_epi8(out, ~uint64_t{0} >> (64 - count), bytes);
  }
}

#else

constexpr bool kMasked = false;

inline I32 load_bytes(const uint8_t* p, int64_t count) {
  if (count == kChunk) return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  uint8_t buffer[kChunk] = {};
  std::memcpy(buffer, p, static_cast<size_t>(count));
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(buffer))};
}
inline I32 unpack_low8(I32 a, I32 b) { return {_mm256_unpacklo_epi8(a.v, b.v)}; }
inline I32 unpack_high8(I32 a, I32 b) { return {_mm256_unpackhi_epi8(a.v, b.v)}; }
inline I32 unpack_low16(I32 a, I32 b) { return {_mm256_unpacklo_epi16(a.v, b.v)}; }
inline I32 unpack_high16(I32 a, I32 b) { return {_mm256_unpackhi_epi16(a.v, b.v)}; }

inline IQ_INLINE void store_chunk(uint8_t* out, const I32 (&t)[4], const ToBytes& to, int64_t) {
  const __m256i z = _mm256_set1_epi16(static_cast<int16_t>(to.zero_point));
  const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(t[0].v, t[1].v), z);
  const __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(t[2].v, t[3].v), z);
  __m256i bytes = _mm256_packus_epi16(low, high);
  bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(static_cast<char>(to.low)));
  bytes = _mm256_min_epu8(bytes, _mm256_set1_epi8(static_cast<char>(to.high)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bytes);
}

#endif

/// Brings kChunk words (4 bytes per channel) from natural into interleaved order.
inline void permute_chunk(const void* src, void* dst) {
  for (int64_t j = 0; j < 4; ++j) {
    for (int64_t lane = 0; lane < kChunk / 16; ++lane) {
      std::memcpy(static_cast<char*>(dst) + j * kVectorBytes + lane * 16,
                  static_cast<const char*>(src) + (16 * lane + 4 * j) * 4, 16);
    }
  }
}

/// Any epilogue of `pixels` pixels, whose results `words` are in interleaved order. It is one call
/// for all: values that live across a call cannot stay in registers.
__attribute__((noinline)) void finish_pixels(const DepthwiseBlock& b, const float* words,
                                             int64_t pixel, int pixels) {
  const EpiloguePlan& plan = *b.epilogue;
  for (const int64_t end = pixel + pixels; pixel < end; ++pixel, words += kChunk) {
    alignas(64) float y[kChunk];
    for (int64_t j = 0; j < 4; ++j) {
      for (int64_t lane = 0; lane < kChunk / 16; ++lane) {
        std::memcpy(y + 16 * lane + 4 * j, words + j * kLanes + lane * 4, 16);
      }
    }
    const int64_t at = pixel * b.dst_stride + b.col;
    void* out = plan.chain.quantize ? static_cast<void*>(static_cast<uint8_t*>(b.dst) + at)
                                    : static_cast<void*>(static_cast<float*>(b.dst) + at);
    finish_row(plan, y, b.channels, pixel, b.col, out);
  }
}

/// The block's constants in interleaved order, and the columns that are interleaved at the moment.
struct Workspace {
  uint8_t* weight;  ///< [row group][kernel column] vectors
  uint8_t* start;
  uint8_t* scale;
  uint8_t* bias;
  uint8_t* columns;  ///< [column][row group]
};

inline Workspace prepare(const DepthwiseBlock& b) {
  Workspace w;
  w.weight = b.workspace;
  w.start = w.weight + b.row_groups * b.columns * kColumnBytes;
  w.scale = w.start + kColumnBytes;
  w.bias = w.scale + kColumnBytes;
  w.columns = w.bias + kColumnBytes;
  for (int64_t i = 0; i < b.row_groups * b.columns; ++i) {
    permute_chunk(b.weight + i * b.weight_step, w.weight + i * kColumnBytes);
  }
  permute_chunk(b.start, w.start);
  permute_chunk(b.scale, w.scale);
  permute_chunk(b.bias, w.bias);
  return w;
}

inline void store_bytes(uint8_t* p, I32 x) { store(reinterpret_cast<int32_t*>(p), x); }

/// Four lines of bytes become four vectors of words with one byte of each line.
inline IQ_INLINE void interleave(I32 (&x)[4]) {
  const I32 low01 = unpack_low8(x[0], x[1]);
  const I32 high01 = unpack_high8(x[0], x[1]);
  const I32 low23 = unpack_low8(x[2], x[3]);
  const I32 high23 = unpack_high8(x[2], x[3]);
  x[0] = unpack_low16(low01, low23);
  x[1] = unpack_high16(low01, low23);
  x[2] = unpack_low16(high01, high23);
  x[3] = unpack_high16(high01, high23);
}

/// Interleaves `count` columns of the lines, from column `first` (which may lie beside the line).
inline void fill_columns(const DepthwiseBlock& b, const uint8_t* const* lines, const int64_t* steps,
                         int64_t first, int64_t count, uint8_t* out) {
  const int64_t left = first < 0 ? (-first < count ? -first : count) : 0;
  const int64_t end = b.width - first;
  const int64_t right = end < left ? left : end < count ? end : count;
  const I32 border = set1i(four_bytes(b.zero_point));
  const int64_t step = b.row_groups * kColumnBytes;
  for (int64_t g = 0; g < b.row_groups; ++g) {
    uint8_t* to = out + g * kColumnBytes;
    for (int64_t i = 0; i < left; ++i, to += step) {
      unroll<4>([&](auto j) IQ_INLINE { store_bytes(to + j * kVectorBytes, border); });
    }
    const int64_t* s = steps + 4 * g;
    const uint8_t* p0 = lines[4 * g] + (first + left) * s[0];
    const uint8_t* p1 = lines[4 * g + 1] + (first + left) * s[1];
    const uint8_t* p2 = lines[4 * g + 2] + (first + left) * s[2];
    const uint8_t* p3 = lines[4 * g + 3] + (first + left) * s[3];
    for (int64_t i = left; i < right; ++i, to += step) {
      I32 x[4] = {load_bytes(p0, b.channels), load_bytes(p1, b.channels),
                  load_bytes(p2, b.channels), load_bytes(p3, b.channels)};
      interleave(x);
      unroll<4>([&](auto j) IQ_INLINE { store_bytes(to + j * kVectorBytes, x[j]); });
      p0 += s[0];
      p1 += s[1];
      p2 += s[2];
      p3 += s[3];
    }
    for (int64_t i = right; i < count; ++i, to += step) {
      unroll<4>([&](auto j) IQ_INLINE { store_bytes(to + j * kVectorBytes, border); });
    }
  }
}

/// sum * scale + bias.
inline IQ_INLINE F32 scaled(I32 sum, const float* scale, const float* bias) {
  return fma(to_float(sum), load(scale), load(bias));
}

/// PX output pixels; the first reads from `columns` on.
template <class Dot, int PX>
inline void multiply(const DepthwiseBlock& b, const Workspace& w, const uint8_t* columns,
                     int64_t dst_row) {
  I32 acc[PX][4];
  unroll<4>([&](auto j) IQ_INLINE {
    const I32 start = load(reinterpret_cast<const int32_t*>(w.start + j * kVectorBytes));
    unroll<PX>([&](auto p) IQ_INLINE { acc[p][j] = start; });
  });
  const int64_t column_step = b.row_groups * kColumnBytes;
  const int64_t pixel_step = b.stride * column_step;
  const uint8_t* weight = w.weight;
  for (int64_t g = 0; g < b.row_groups; ++g) {
    const uint8_t* from = columns + g * kColumnBytes;
    for (int64_t x = 0; x < b.columns; ++x) {
      typename Dot::B k[4];
      unroll<4>([&](auto j) IQ_INLINE {
        k[j] = Dot::load_b(reinterpret_cast<const int8_t*>(weight + j * kVectorBytes));
      });
      weight += kColumnBytes;
      unroll<PX>([&](auto p) IQ_INLINE {
        unroll<4>([&](auto j) IQ_INLINE {
          const I32 bytes =
              load(reinterpret_cast<const int32_t*>(from + p * pixel_step + j * kVectorBytes));
          Dot::dot(acc[p][j], Dot::make_a(bytes), k[j]);
        });
      });
      from += b.dilation * column_step;
    }
  }

  const EpiloguePlan& plan = *b.epilogue;
  const auto* scale = reinterpret_cast<const float*>(w.scale);
  const auto* bias = reinterpret_cast<const float*>(w.bias);
  const bool direct = kMasked || b.channels == kChunk;
  if (direct && plan.form == EpilogueForm::kQuantize) {
    const ToBytes to(plan);
    uint8_t* out = static_cast<uint8_t*>(b.dst) + dst_row * b.dst_stride + b.col;
    unroll<PX>([&](auto p) IQ_INLINE {
      I32 t[4];
      unroll<4>([&](auto j) IQ_INLINE {
        t[j] = to.round(scaled(acc[p][j], scale + j * kLanes, bias + j * kLanes));
      });
      store_chunk(out + p * b.dst_stride, t, to, b.channels);
    });
  } else {
    alignas(64) float words[PX][kChunk];
    unroll<PX>([&](auto p) IQ_INLINE {
      unroll<4>([&](auto j) IQ_INLINE {
        store(&words[p][j * kLanes], scaled(acc[p][j], scale + j * kLanes, bias + j * kLanes));
      });
    });
    finish_pixels(b, words[0], dst_row, PX);
  }
}

template <class Dot, int PX>
__attribute__((noinline)) void multiply_some(const DepthwiseBlock& b, const Workspace& w,
                                             const uint8_t* columns, int64_t dst_row, int pixels) {
  if (pixels == PX) return multiply<Dot, PX>(b, w, columns, dst_row);
  if constexpr (PX > 1) multiply_some<Dot, PX - 1>(b, w, columns, dst_row, pixels);
}

/// One output row of a kernel of three columns and at most four rows, stride 1 or 2, bytes out: the
/// interleaved columns stay in registers and move on with the pixel.
template <class Dot, int Stride, bool Whole>
__attribute__((noinline)) void multiply_row3(const DepthwiseBlock& b, const Workspace& w,
                                             const uint8_t* const* lines, const int64_t* steps,
                                             int64_t dst_row) {
  const auto* scale = reinterpret_cast<const float*>(w.scale);
  const auto* bias = reinterpret_cast<const float*>(w.bias);
  const auto* start = reinterpret_cast<const int32_t*>(w.start);
  const auto* weight = reinterpret_cast<const int8_t*>(w.weight);
  const int64_t channels = Whole ? kChunk : b.channels;
  const ToBytes to(*b.epilogue);
  const I32 border = set1i(four_bytes(b.zero_point));
  int64_t at = -b.pad;
  const int64_t width = b.width;
  const uint8_t* p[4] = {lines[0] + at * steps[0], lines[1] + at * steps[1],
                         lines[2] + at * steps[2], lines[3] + at * steps[3]};
  const int64_t step[4] = {steps[0], steps[1], steps[2], steps[3]};
  const auto column = [&](I32(&x)[4]) IQ_INLINE {
    if (at >= 0 && at < width) {
      unroll<4>([&](auto j) IQ_INLINE { x[j] = load_bytes(p[j], channels); });
      interleave(x);
    } else {
      unroll<4>([&](auto j) IQ_INLINE { x[j] = border; });
    }
    ++at;
    unroll<4>([&](auto j) IQ_INLINE { p[j] += step[j]; });
  };
  uint8_t* out = static_cast<uint8_t*>(b.dst) + dst_row * b.dst_stride + b.col;
  I32 first[4], second[4], third[4];
  column(first);
  if (Stride == 1) column(second);
  for (int64_t i = 0; i < b.out_width; ++i, out += b.dst_stride) {
    if (Stride == 2) column(second);
    column(third);
    I32 t[4];
    unroll<4>([&](auto j) IQ_INLINE {
      const int8_t* k = weight + j * kVectorBytes;
      I32 acc = load(start + j * kLanes);
      Dot::dot(acc, Dot::make_a(first[j]), k);
      Dot::dot(acc, Dot::make_a(second[j]), k + kColumnBytes);
      Dot::dot(acc, Dot::make_a(third[j]), k + 2 * kColumnBytes);
      t[j] = to.round(scaled(acc, scale + j * kLanes, bias + j * kLanes));
    });
    store_chunk(out, t, to, channels);
    unroll<4>([&](auto j) IQ_INLINE {
      first[j] = Stride == 1 ? second[j] : third[j];
      second[j] = third[j];
    });
  }
}

/// The function for rows of a block.
template <class Dot, bool Whole>
inline auto row3_function(int64_t stride) {
  return stride == 1 ? multiply_row3<Dot, 1, Whole> : multiply_row3<Dot, 2, Whole>;
}

/// PX: most output pixels whose sums fit into registers.
template <class Dot, int PX>
inline void depthwise_block(const DepthwiseBlock& b) {
  const Workspace w = prepare(b);
  const bool direct = b.epilogue->form == EpilogueForm::kQuantize && b.row_groups == 1 &&
                      b.columns == 3 && b.dilation == 1 && b.stride <= 2 &&
                      (kMasked || b.channels == kChunk);
  if (direct) {
    const auto run = b.channels == kChunk ? row3_function<Dot, true>(b.stride)
                                          : row3_function<Dot, !kMasked>(b.stride);
    for (int64_t row = 0; row < b.out_rows; ++row) {
      run(b, w, b.lines + row * 4, b.line_step + row * 4, b.dst_row + row * b.out_width);
    }
    return;
  }
  const int64_t span = (b.columns - 1) * b.dilation + 1;
  const int64_t kept = depthwise_columns(kChunk, b.row_groups, span);
  const int64_t segment = (kept - span) / b.stride + 1;  // output pixels
  for (int64_t row = 0; row < b.out_rows; ++row) {
    const uint8_t* const* lines = b.lines + row * 4 * b.row_groups;
    const int64_t* steps = b.line_step + row * 4 * b.row_groups;
    for (int64_t x = 0; x < b.out_width; x += segment) {
      const int64_t count = b.out_width - x < segment ? b.out_width - x : segment;
      fill_columns(b, lines, steps, x * b.stride - b.pad, (count - 1) * b.stride + span, w.columns);
      const int64_t tiles = (count + PX - 1) / PX;
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t at = count * i / tiles;
        const int64_t end = count * (i + 1) / tiles;
        multiply_some<Dot, PX>(b, w, w.columns + at * b.stride * b.row_groups * kColumnBytes,
                               b.dst_row + row * b.out_width + x + at, static_cast<int>(end - at));
      }
    }
  }
}

}  // namespace
}  // namespace ipex_quant::kernels
