/// \file
/// A product of two uint8 matrices in the steps that matmul and attention share: pack the right
/// one, find rows of the left one, multiply.
///
/// Sums are those of (a - a_zero_point) * (b - b_zero_point), exact in int32. B is packed into the
/// layout of the u8 x s8 product, whose micro-kernels do the work.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/aligned.h"
#include "kernels/epilogue_plan.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/panel.h"
#include "kernels/gemm/tile.h"
#include "kernels/isa.h"
#include "kernels/matmul/steps.h"

namespace ipex_quant::kernels {

/// Multiplications below which another thread is not worth waking.
constexpr int64_t kProductThreadWork = 1 << 18;

/// Parts that each of `batches` products of m rows is cut into: whole products per thread where
/// there are enough of them; else their rows are split, and B is packed per part.
/// \param work  multiplications of one product, at least 1
int64_t product_parts(int64_t batches, int64_t m, int64_t work, int threads);

/// Makes the buffer at least `size` long; it never shrinks.
template <class Vector>
void grow(Vector& vector, int64_t size) {
  if (static_cast<int64_t>(vector.size()) < size) vector.resize(static_cast<size_t>(size));
}

/// The right operand, packed.
struct PackedColumns {
  AlignedVector<int8_t> weight;  ///< [block][depth / 4][width][4]
  AlignedVector<int32_t> start;  ///< [padded n]
};

/// Some rows of the left operand.
struct U8Rows {
  const uint8_t* data;  ///< the first one; elements of a row are adjacent
  int64_t stride;       ///< bytes
  int64_t count;
  int64_t first;  ///< number of the first row, in dst and in the tensors of the epilogue
  bool padded;    ///< every row may be read to a whole group of 4 bytes
};

/// Rows as the micro-kernel takes them.
struct FoundRows {
  AlignedVector<uint8_t> copies;  ///< of rows that may not be read past their end
  std::vector<const uint8_t*> pointers;
  Panels panels;
  const GemmPanel* found_panels = nullptr;
  std::vector<int64_t> numbers;
  std::vector<int32_t> start;
  int64_t count = 0;
};

/// One product and the kernels it uses.
class U8Product {
 public:
  struct Sizes {
    int64_t m, n, k;
  };

  /// \param scale  scale of a times scale of b
  U8Product(const Sizes& sizes, int32_t a_zero_point, int32_t b_zero_point, float scale,
            Features features);

  /// Packs B, and the start values of its columns' sums. k_stride or n_stride is 1; bytes.
  void pack(const uint8_t* b, int64_t k_stride, int64_t n_stride, PackedColumns& columns) const;

  /// Fills the table of row pointers and the rows' share of the compensation.
  void find(const U8Rows& rows, FoundRows& found) const;

  /// The found rows times all columns.
  /// \param dst     row 0; uint8 or float by the epilogue
  /// \param stride  elements from row to row of dst
  void multiply(const FoundRows& rows, const PackedColumns& columns, const EpiloguePlan& epilogue,
                void* dst, int64_t stride) const;

  /// Bytes of a row that the kernel reads.
  int64_t depth() const { return depth_; }
  /// Rows of the micro-kernel's tile.
  int64_t tile_rows() const { return kernel_.mr; }

 private:
  int32_t shifted_zero() const { return b_zero_point_ - 128; }

  Sizes sizes_;
  int32_t a_zero_point_;
  int32_t b_zero_point_;
  const GemmEntry& kernel_;
  void (*pack_)(const PackColumnsArgs&);
  void (*row_sums_)(const RowSumsArgs&);
  int64_t depth_;     ///< k in whole groups of 4
  int64_t padded_n_;  ///< n in whole groups of 16
  float scale_[kGemmBlock];
};

}  // namespace ipex_quant::kernels
