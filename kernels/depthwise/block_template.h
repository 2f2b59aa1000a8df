/// \file
/// The depthwise micro-kernel, written once for the x86 ISAs; each file includes it with its own
/// Dot.
///
/// The lines are interleaved once; then each unit of 16 channels of each output row is one walk
/// along its columns, with the weights in registers.
#pragma once

#include "kernels/depthwise/columns.h"
#include "kernels/depthwise/sliding.h"
#include "kernels/epilogue_apply.h"
#include "kernels/to_bytes.h"

namespace ipex_quant::kernels {
namespace {

/// Vectors of a unit, and pixels that are computed together.
constexpr int kVectors = static_cast<int>(kDepthwiseUnit) / kLanes;
constexpr int kPixels = kVectors == 1 ? 4 : 2;

/// One unit of one output row.
struct UnitRow {
  const uint8_t* columns;  ///< interleaved, of this unit
  const int8_t* weight;    ///< [row group][kernel column][16][4]
  const int32_t* start;
  const float* scale;
  const float* bias;
  const EpiloguePlan* epilogue;
  void* out;           ///< first pixel: u8, or f32 when the epilogue comes later
  int64_t out_stride;  ///< elements from pixel to pixel
  int64_t pixels;
  int64_t channels;  ///< 1..16
  int64_t row_groups, kernel_columns, stride, dilation;
};

#if defined(__AVX512F__)

inline IQ_INLINE void store_some16(uint8_t* out, __m128i bytes, int64_t count) {
  if (count == 16) return _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
  _mm_mask_storeu_epi8(out, static_cast<__mmask16>(0xffff >> (16 - count)), bytes);
}

/// Stores `pixels` pixels of rounded results as bytes.
inline IQ_INLINE void store_pixels(const UnitRow& row, uint8_t* out, const I32 (&t)[4][1],
                                   const ToBytes& to, int64_t pixels) {
  const __m512i z = _mm512_set1_epi16(static_cast<int16_t>(to.zero_point));
  const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(t[0][0].v, t[1][0].v), z);
  const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(t[2][0].v, t[3][0].v), z);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
  bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(static_cast<char>(to.low)));
  bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8(static_cast<char>(to.high)));
  const int64_t n = row.channels;
  store_some16(out, _mm512_castsi512_si128(bytes), n);
  if (pixels > 1) store_some16(out + row.out_stride, _mm512_extracti32x4_epi32(bytes, 1), n);
  if (pixels > 2) store_some16(out + 2 * row.out_stride, _mm512_extracti32x4_epi32(bytes, 2), n);
  if (pixels > 3) store_some16(out + 3 * row.out_stride, _mm512_extracti32x4_epi32(bytes, 3), n);
}

#else

inline IQ_INLINE void store_pixels(const UnitRow& row, uint8_t* out, const I32 (&t)[2][2],
                                   const ToBytes& to, int64_t pixels) {
  const __m256i z = _mm256_set1_epi16(static_cast<int16_t>(to.zero_point));
  // packs works within 128-bit halves: channels 0-3 and 8-11 of both pixels, then 4-7 and 12-15.
  const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(t[0][0].v, t[0][1].v), z);
  const __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(t[1][0].v, t[1][1].v), z);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
  bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(static_cast<char>(to.low)));
  bytes = _mm256_min_epu8(bytes, _mm256_set1_epi8(static_cast<char>(to.high)));
  if (row.channels == 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(bytes));
    if (pixels > 1) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + row.out_stride),
                       _mm256_extracti128_si256(bytes, 1));
    }
    return;
  }
  uint8_t buffer[32];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(buffer), bytes);
  for (int64_t p = 0; p < pixels; ++p) {
    std::memcpy(out + p * row.out_stride, buffer + p * 16, static_cast<size_t>(row.channels));
  }
}

#endif

/// What a row of results becomes.
enum class Output { kFloats, kBytes, kBoundedBytes /* ToBytes::bounded() */ };

/// sum * scale + bias, as bytes or as floats.
template <Output Kind>
inline IQ_INLINE void finish(const UnitRow& row, const I32 (&acc)[kPixels][kVectors],
                             const ToBytes& to, int64_t first, int64_t pixels) {
  const auto scaled = [&](auto p, auto v) IQ_INLINE {
    return fma(to_float(acc[p][v]), load(row.scale + v * kLanes), load(row.bias + v * kLanes));
  };
  if constexpr (Kind != Output::kFloats) {
    I32 t[kPixels][kVectors];
    unroll<kPixels>([&](auto p) IQ_INLINE {
      unroll<kVectors>([&](auto v) IQ_INLINE {
        t[p][v] = to.template round<Kind == Output::kBoundedBytes>(scaled(p, v));
      });
    });
    store_pixels(row, static_cast<uint8_t*>(row.out) + first * row.out_stride, t, to, pixels);
  } else {
    float* out = static_cast<float*>(row.out) + first * row.out_stride;
    unroll<kPixels>([&](auto p) IQ_INLINE {
      if (p >= pixels) return;
      unroll<kVectors>(
          [&](auto v) IQ_INLINE { store(out + p * row.out_stride + v * kLanes, scaled(p, v)); });
    });
  }
}

inline IQ_INLINE void begin(const UnitRow& row, I32 (&acc)[kPixels][kVectors]) {
  unroll<kVectors>([&](auto v) IQ_INLINE {
    const I32 start = load(row.start + v * kLanes);
    unroll<kPixels>([&](auto p) IQ_INLINE { acc[p][v] = start; });
  });
}

inline IQ_INLINE I32 load_words(const uint8_t* p) {
  return load(reinterpret_cast<const int32_t*>(p));
}

/// A kernel of KX columns and at most 4 * G rows, without dilation along the width: the tile is
/// unrolled, each interleaved column is read once for all pixels that it belongs to.
template <class Dot, int KX, int G, int Stride, Output Kind>
__attribute__((noinline)) void multiply_row(const UnitRow& row) {
  typename Dot::B weight[G][KX][kVectors];
  unroll<G>([&](auto g) IQ_INLINE {
    unroll<KX>([&](auto x) IQ_INLINE {
      unroll<kVectors>([&](auto v) IQ_INLINE {
        weight[g][x][v] = Dot::load_b(row.weight + (g * KX + x) * kUnitBytes + v * kLanes * 4);
      });
    });
  });
  const ToBytes to(*row.epilogue);
  const uint8_t* from = row.columns;
  for (int64_t i = 0; i < row.pixels; i += kPixels, from += kPixels * Stride * G * kUnitBytes) {
    I32 acc[kPixels][kVectors];
    begin(row, acc);
    I32 more[kPixels][kVectors];  // a second chain of sums: one is bound by its latency
    if constexpr (G > 1) {
      unroll<kPixels>([&](auto p) IQ_INLINE {
        unroll<kVectors>([&](auto v) IQ_INLINE { more[p][v] = set1i(0); });
      });
    }
    unroll<(kPixels - 1) * Stride + KX>([&](auto c) IQ_INLINE {
      unroll<G>([&](auto g) IQ_INLINE {
        unroll<kVectors>([&](auto v) IQ_INLINE {
          const auto a = Dot::make_a(load_words(from + (c * G + g) * kUnitBytes + v * kLanes * 4));
          unroll<kPixels>([&](auto p) IQ_INLINE {
            constexpr int x = decltype(c){} - decltype(p){} * Stride;
            if constexpr (x >= 0 && x < KX) {
              Dot::dot(g == 0 ? acc[p][v] : more[p][v], a, weight[g][x][v]);
            }
          });
        });
      });
    });
    if constexpr (G > 1) {
      unroll<kPixels>([&](auto p) IQ_INLINE {
        unroll<kVectors>([&](auto v) IQ_INLINE { acc[p][v] = add(acc[p][v], more[p][v]); });
      });
    }
    const int64_t left = row.pixels - i;
    finish<Kind>(row, acc, to, i, left < kPixels ? left : kPixels);
  }
}

/// Any kernel.
template <class Dot, Output Kind>
__attribute__((noinline)) void multiply_any(const UnitRow& row) {
  const ToBytes to(*row.epilogue);
  const int64_t column_step = row.row_groups * kUnitBytes;
  const int64_t pixel_step = row.stride * column_step;
  const uint8_t* from = row.columns;
  for (int64_t i = 0; i < row.pixels; i += kPixels, from += kPixels * pixel_step) {
    I32 acc[kPixels][kVectors];
    begin(row, acc);
    const int8_t* weight = row.weight;
    for (int64_t g = 0; g < row.row_groups; ++g) {
      const uint8_t* column = from + g * kUnitBytes;
      for (int64_t x = 0; x < row.kernel_columns; ++x) {
        unroll<kVectors>([&](auto v) IQ_INLINE {
          const typename Dot::B k = Dot::load_b(weight + v * kLanes * 4);
          unroll<kPixels>([&](auto p) IQ_INLINE {
            Dot::dot(acc[p][v], Dot::make_a(load_words(column + p * pixel_step + v * kLanes * 4)),
                     k);
          });
        });
        weight += kUnitBytes;
        column += row.dilation * column_step;
      }
    }
    const int64_t left = row.pixels - i;
    finish<Kind>(row, acc, to, i, left < kPixels ? left : kPixels);
  }
}

using RowFunction = void (*)(const UnitRow& row);

template <class Dot, Output Kind>
inline RowFunction row_function(const DepthwiseBlock& b) {
  if (b.dilation == 1 && b.columns == 3 && b.row_groups == 1) {
    if (b.stride == 1) return multiply_row<Dot, 3, 1, 1, Kind>;
    if (b.stride == 2) return multiply_row<Dot, 3, 1, 2, Kind>;
  }
  if (b.dilation == 1 && b.columns == 5 && b.row_groups == 2) {
    if (b.stride == 1) return multiply_row<Dot, 5, 2, 1, Kind>;
    if (b.stride == 2) return multiply_row<Dot, 5, 2, 2, Kind>;
  }
  return multiply_any<Dot, Kind>;
}

/// Any epilogue of results that stand as [pixel][stride]; overwrites them.
inline void finish_pixels(const DepthwiseBlock& b, float* words, int64_t stride, int64_t pixel,
                          int64_t pixels) {
  const EpiloguePlan& plan = *b.epilogue;
  constexpr int64_t kMost = 16;  // some vectors for each step of the chain, which stay in L1
  for (int64_t first = 0; first < pixels; first += kMost, words += kMost * stride) {
    const int64_t count = pixels - first < kMost ? pixels - first : kMost;
    int64_t rows[kMost];
    for (int64_t i = 0; i < count; ++i) rows[i] = pixel + first + i;
    apply_chain(plan, words, count, stride, b.channels, rows, b.col);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t at = rows[i] * b.dst_stride + b.col;
      void* out = plan.chain.quantize ? static_cast<void*>(static_cast<uint8_t*>(b.dst) + at)
                                      : static_cast<void*>(static_cast<float*>(b.dst) + at);
      store_row(plan, words + i * stride, b.channels, out);
    }
  }
}

/// The channels from `channel` of the block on.
template <class Dot>
inline void multiply_units(const DepthwiseBlock& b, int64_t channel) {
  const bool bytes = b.epilogue->form == EpilogueForm::kQuantize;
  const ToBytes to(*b.epilogue);
  const int64_t padded = (b.channels + kDepthwiseUnit - 1) / kDepthwiseUnit * kDepthwiseUnit;
  const RowFunction run = !bytes ? row_function<Dot, Output::kFloats>(b)
                          : to.bounded(b.scale, b.bias, padded)
                              ? row_function<Dot, Output::kBoundedBytes>(b)
                              : row_function<Dot, Output::kBytes>(b);
  const int64_t span = (b.columns - 1) * b.dilation + 1;
  const DepthwiseSegment segment = depthwise_segment(b.row_groups, span, b.stride, b.out_width);
  const int64_t unit_step = segment.columns * b.row_groups * kUnitBytes;
  const int64_t weight_step = b.row_groups * b.columns * kUnitBytes;
  auto* words =
      reinterpret_cast<float*>(b.workspace + kDepthwiseChunk / kDepthwiseUnit * unit_step);
  UnitRow row;
  row.epilogue = b.epilogue;
  row.row_groups = b.row_groups;
  row.kernel_columns = b.columns;
  row.stride = b.stride;
  row.dilation = b.dilation;
  row.out_stride = bytes ? b.dst_stride : padded;
  for (int64_t x = 0; x < b.out_width; x += segment.pixels) {
    const int64_t left = b.out_width - x;
    row.pixels = left < segment.pixels ? left : segment.pixels;
    fill_columns(b, channel, x * b.stride - b.pad, (row.pixels - 1) * b.stride + span, unit_step,
                 b.workspace);
    for (int64_t r = 0; r < b.rows; ++r) {
      const int64_t pixel = b.dst_row + r * b.out_width + x;
      for (int64_t c = channel; c < b.channels; c += kDepthwiseUnit) {
        const int64_t unit = c / kDepthwiseUnit;
        row.columns = b.workspace + (c - channel) / kDepthwiseUnit * unit_step;
        row.weight = b.weight + (unit * b.share + r) * weight_step;
        row.start = b.start + c;
        row.scale = b.scale + c;
        row.bias = b.bias + c;
        row.channels = b.channels - c < kDepthwiseUnit ? b.channels - c : kDepthwiseUnit;
        row.out = bytes ? static_cast<void*>(static_cast<uint8_t*>(b.dst) + pixel * b.dst_stride +
                                             b.col + c)
                        : static_cast<void*>(words + c);
        run(row);
      }
      if (!bytes) finish_pixels(b, words, padded, pixel, row.pixels);
    }
  }
}

template <class Dot>
inline void depthwise_block(const DepthwiseBlock& b) {
  const int64_t done = can_slide(b) ? slide_block<Dot>(b) : 0;
  if (done < b.channels) multiply_units<Dot>(b, done);
}

}  // namespace
}  // namespace ipex_quant::kernels
