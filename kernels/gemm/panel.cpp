// Decides which rows a kernel can read where they are, and has the others copied.
#include "kernels/gemm/panel.h"

namespace ipex_quant::kernels {

const GemmPanel* Panels::find([[maybe_unused]] const PanelRows& rows) {
#ifdef IPEX_QUANT_X86
  const int64_t chunks = (rows.taps * rows.depth + kPanelChunk - 1) / kPanelChunk;
  // An odd number of cache lines, so that the 16 rows of a tile lie in different sets.
  const int64_t stride = (chunks | 1) * kPanelChunk;
  const int64_t size = stride * kPanelRows;
  const int64_t count = (rows.count + kPanelRows - 1) / kPanelRows;
  const bool in_place = rows.step > 0 && rows.taps == 1 && rows.depth % kPanelChunk == 0;
  const int64_t whole = in_place ? rows.count / kPanelRows : 0;
  panels_.resize(static_cast<size_t>(count));
  if (static_cast<int64_t>(packed_.size()) < (count - whole) * size) {
    packed_.resize(static_cast<size_t>((count - whole) * size));
  }
  for (int64_t i = 0; i < whole; ++i) {
    panels_[static_cast<size_t>(i)] = {rows.rows[i * kPanelRows] + rows.row_offset, rows.step};
  }
  for (int64_t i = whole; i < count; ++i) {
    panels_[static_cast<size_t>(i)] = {packed_.data() + (i - whole) * size, stride};
  }
  PanelRows rest = rows;
  rest.count -= whole * kPanelRows;
  rest.rows += whole * kPanelRows;
  if (rest.count > 0) pack_rows_avx512amx(rest, packed_.data(), stride);
#endif
  return panels_.data();
}

}  // namespace ipex_quant::kernels
