// Asks every kernel table what it would choose under every set of CPU features, possible or not,
// and compares with the rows. The kernels are stubs, so that any machine will do.
#include <cstdio>
#include <string>
#include <vector>

#include "kernels/depthwise/block.h"
#include "kernels/gemm/tile.h"
#include "kernels/recurrent/kernels.h"
#include "kernels/select.h"

namespace ipex_quant::kernels {

#define IQ_DEPTHWISE(function, needs)                                                              \
  void function(const DepthwiseBlock&) {}
#define IQ_GEMM(function, needs, mr, nr, kr, row_blocks)                                           \
  void function(const GemmTile&) {}
#define IQ_KERNEL(op, function, needs)                                                             \
  void function(const op##Args&) {}
#define IQ_RECURRENT(suffix, needs)                                                                \
  RecurrentKernels recurrent_kernels_##suffix();                                                   \
  RecurrentKernels recurrent_kernels_##suffix() { return {}; }
#include "kernels/depthwise/table.inc"
#include "kernels/dynamic/table.inc"
#include "kernels/eltwise/table.inc"
#include "kernels/embedding/table.inc"
#include "kernels/gemm/table.inc"
#include "kernels/matmul/table.inc"
#include "kernels/norm/table.inc"
#include "kernels/pool/table.inc"
#include "kernels/recurrent/table.inc"
#undef IQ_DEPTHWISE
#undef IQ_GEMM
#undef IQ_KERNEL
#undef IQ_RECURRENT

namespace {

constexpr Features kEvery = kAvx2 | kAvxVnni | kAvx512 | kAvx512Vnni | kAvx512Vbmi | kAmxInt8;

/// A row of a table, and what its op chooses.
struct Row {
  std::string op;
  std::string name;
  Features needs;
  std::string (*chosen)(Features features);  ///< name of the row for these features
};

/// Name of the row of `Args` that a function belongs to.
template <class Args>
std::string name_of(void (*function)(const Args&)) {
#define IQ_KERNEL(op, row, needs)                                                                  \
  if constexpr (std::is_same_v<Args, op##Args>) {                                                  \
    if (function == row) return #row;                                                              \
  }
#include "kernels/dynamic/table.inc"
#include "kernels/eltwise/table.inc"
#include "kernels/embedding/table.inc"
#include "kernels/matmul/table.inc"
#include "kernels/norm/table.inc"
#include "kernels/pool/table.inc"
#undef IQ_KERNEL
  return "none";
}

std::vector<Row> all_rows() {
#define IQ_DEPTHWISE(function, needs)                                                              \
  {"Depthwise", #function, needs, [](Features f) { return std::string(select_depthwise(f).name); }},
#define IQ_GEMM(function, needs, mr, nr, kr, row_blocks)                                           \
  {"Gemm", #function, needs, [](Features f) { return std::string(select_gemm(f, kFewRows).name); }},
#define IQ_KERNEL(op, function, needs)                                                             \
  {#op, #function, needs, [](Features f) { return name_of(select_kernel<op##Args>(f)); }},
#define IQ_RECURRENT(suffix, needs)                                                                \
  {"Recurrent", "recurrent_" #suffix, needs,                                                       \
   [](Features f) { return std::string("recurrent_") + select_recurrent_kernels(f).name; }},
  return {
#include "kernels/depthwise/table.inc"
#include "kernels/dynamic/table.inc"
#include "kernels/eltwise/table.inc"
#include "kernels/embedding/table.inc"
#include "kernels/gemm/table.inc"
#include "kernels/matmul/table.inc"
#include "kernels/norm/table.inc"
#include "kernels/pool/table.inc"
#include "kernels/recurrent/table.inc"
  };
#undef IQ_DEPTHWISE
#undef IQ_GEMM
#undef IQ_KERNEL
#undef IQ_RECURRENT
}

/// The features that the flags of a file let the compiler use, by the suffix of its functions.
Features used_by(const std::string& name) {
  const std::string suffix = name.substr(name.rfind('_') + 1);
  if (suffix == "reference") return kNoFeature;
  if (suffix == "avx2") return kAvx2;
  if (suffix == "avx2vnni") return kAvx2 | kAvxVnni;
  if (suffix == "avx512") return kAvx512;
  if (suffix == "avx512vnni") return kAvx512 | kAvx512Vnni;
  if (suffix == "avx512vbmi") return kAvx512 | kAvx512Vbmi;
  if (suffix == "avx512amx") return kAvx512 | kAvx512Vnni | kAmxInt8;
  return ~Features{0};
}

int g_wrong = 0;

void require(bool holds, const Row& row, Features features, const char* what) {
  if (holds) return;
  std::printf("%s under features 0x%x: %s\n", row.name.c_str(), features, what);
  ++g_wrong;
}

/// The rule that all tables follow: the first row of an op with nothing missing.
const Row& first_covered(const std::vector<Row>& rows, const std::string& op, Features features) {
  for (const Row& row : rows) {
    if (row.op == op && (row.needs & ~features) == 0) return row;
  }
  std::printf("%s has no row for every CPU\n", op.c_str());
  ++g_wrong;
  return rows.front();
}

void check(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    require((used_by(row.name) & ~row.needs) == 0, row, row.needs, "its code may use more");
    require(row.chosen(row.needs) == row.name, row, row.needs, "is not chosen for what it needs");
    require(used_by(row.chosen(kNoFeature)) == kNoFeature, row, 0, "the choice is no reference");
    for (Features features = 0; features <= kEvery; ++features) {
      const Row& wanted = first_covered(rows, row.op, features);
      require(row.chosen(features) == wanted.name, wanted, features, "another row is chosen");
    }
  }
}

/// Products of few rows never go to AMX, and to the row of all others where there is no AMX.
void check_few_rows(const std::vector<Row>& rows) {
  for (Features features = 0; features <= kEvery; ++features) {
    for (int64_t count = 0; count < 3 * kFewRows; ++count) {
      const bool few = count < kFewRows;
      const Row& wanted = first_covered(rows, "Gemm", few ? features & ~kAmxInt8 : features);
      require(select_gemm(features, count).name == wanted.name, wanted, features,
              few ? "another row for few rows" : "another row for many rows");
    }
  }
}

}  // namespace
}  // namespace ipex_quant::kernels

int main() {
  using namespace ipex_quant::kernels;
  const std::vector<Row> rows = all_rows();
  check(rows);
  check_few_rows(rows);
  std::printf("%zu rows, %u sets of features, wrong %d\n", rows.size(), kEvery + 1, g_wrong);
  return g_wrong == 0 ? 0 : 1;
}
