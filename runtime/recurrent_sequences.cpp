// lstm, gru and rnn on packed sequences: each group of equally long ones runs as a batch.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <functional>

#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/packed_recurrent.h"
#include "runtime/packed_rnn.h"

namespace ipex_quant::runtime {
namespace {

/// Result of one group, and of all.
struct States {
  at::Tensor y;
  std::vector<at::Tensor> last;
};

/// Initial states with their names.
using Initial = std::vector<std::pair<const char*, at::Tensor>>;
/// Runs x [T, rows, in] with the initial states of its rows.
using RunGroup = std::function<States(const at::Tensor& x, const std::vector<at::Tensor>& initial)>;

/// Number of sequences at each step, checked: as torch.nn.utils.rnn.PackedSequence has it.
std::vector<int64_t> check_batch_sizes(const at::Tensor& batch_sizes, int64_t rows,
                                       const char* op) {
  TORCH_CHECK(batch_sizes.dim() == 1 && batch_sizes.scalar_type() == at::kLong &&
                  batch_sizes.device().is_cpu() && batch_sizes.numel() > 0,
              op, ": batch_sizes must be an int64 CPU tensor of one dimension, got ",
              at::toString(batch_sizes.scalar_type()), " of shape ", batch_sizes.sizes());
  const at::Tensor flat = batch_sizes.contiguous();
  const int64_t* sizes = flat.const_data_ptr<int64_t>();
  int64_t total = 0;
  for (int64_t t = 0; t < flat.numel(); ++t) {
    TORCH_CHECK(sizes[t] > 0 && (t == 0 || sizes[t] <= sizes[t - 1]), op,
                ": batch_sizes must be positive and must not grow, got ", sizes[t], " at ", t);
    total += sizes[t];
  }
  TORCH_CHECK(total == rows, op, ": batch_sizes sum up to ", total, " but data has ", rows,
              " rows");
  return {sizes, sizes + flat.numel()};
}

/// The rows of a packed batch are sorted by length, the longest first: step t holds the rows
/// [offset[t], offset[t] + sizes[t]). A row does not depend on its batch (numerics of the kernels),
/// so that any grouping gives the same bits.
States run_groups(const at::Tensor& data, const at::Tensor& batch_sizes, const Initial& initial,
                  const char* op, const RunGroup& run) {
  TORCH_CHECK(data.device().is_cpu() && data.dim() == 2, op,
              ": data must have 2 dimensions and be on the CPU, got shape ", data.sizes(), " on ",
              data.device());
  const std::vector<int64_t> sizes = check_batch_sizes(batch_sizes, data.size(0), op);
  const auto time = static_cast<int64_t>(sizes.size());
  for (const auto& [name, state] : initial) {
    TORCH_CHECK(state.dim() == 3 && state.size(1) == sizes[0], op, ": ", name,
                " must have 3 dimensions and ", sizes[0], " rows in the second, got shape ",
                state.sizes());
  }
  States all;
  std::vector<std::vector<at::Tensor>> last;
  for (int64_t length = time; length > 0; --length) {
    const auto at = static_cast<size_t>(length);
    const int64_t first = length == time ? 0 : sizes[at];
    const int64_t rows = sizes[at - 1] - first;
    if (rows == 0) continue;
    std::vector<int64_t> index;
    int64_t offset = 0;
    for (int64_t t = 0; t < length; ++t) {
      for (int64_t row = 0; row < rows; ++row) index.push_back(offset + first + row);
      offset += sizes[static_cast<size_t>(t)];
    }
    const at::Tensor where = at::tensor(index, at::kLong);
    const at::Tensor x = data.index_select(0, where).view({length, rows, data.size(1)});
    std::vector<at::Tensor> own;
    for (const auto& [name, state] : initial) own.push_back(state.narrow(1, first, rows));
    const States part = run(x, own);
    if (!all.y.defined()) all.y = empty({data.size(0), part.y.size(2)}, part.y.scalar_type());
    all.y.index_copy_(0, where, part.y.view({length * rows, part.y.size(2)}));
    last.resize(part.last.size());
    for (size_t i = 0; i < part.last.size(); ++i) last[i].push_back(part.last[i]);
  }
  for (const auto& parts : last) all.last.push_back(at::cat(parts, 1));
  return all;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor>
lstm_sequences(const at::Tensor& data, const at::Tensor& batch_sizes, const at::Tensor& h0,
               const at::Tensor& c0, const c10::intrusive_ptr<PackedLstm>& packed) {
  const States all = run_groups(data, batch_sizes, {{"h0", h0}, {"c0", c0}}, "lstm_sequences",
                                [&](const at::Tensor& x, const std::vector<at::Tensor>& initial) {
                                  const auto r =
                                      packed->packed.run_time_major(x, initial[0], initial[1]);
                                  return States{r.y, {r.hn, r.cn}};
                                });
  return {all.y, all.last[0], all.last[1]};
}

std::tuple<at::Tensor, at::Tensor> gru_sequences(const at::Tensor& data,
                                                 const at::Tensor& batch_sizes,
                                                 const at::Tensor& h0,
                                                 const c10::intrusive_ptr<PackedGru>& packed) {
  const States all = run_groups(data, batch_sizes, {{"h0", h0}}, "gru_sequences",
                                [&](const at::Tensor& x, const std::vector<at::Tensor>& initial) {
                                  const auto r =
                                      packed->packed.run_time_major(x, initial[0], at::Tensor());
                                  return States{r.y, {r.hn}};
                                });
  return {all.y, all.last[0]};
}

std::tuple<at::Tensor, at::Tensor> rnn_sequences(const at::Tensor& data,
                                                 const at::Tensor& batch_sizes,
                                                 const at::Tensor& h0,
                                                 const c10::intrusive_ptr<PackedRnn>& packed) {
  const States all = run_groups(data, batch_sizes, {{"h0", h0}}, "rnn_sequences",
                                [&](const at::Tensor& x, const std::vector<at::Tensor>& initial) {
                                  const auto [y, hn] = packed->run_time_major(x, initial[0]);
                                  return States{y, {hn}};
                                });
  return {all.y, all.last[0]};
}

}  // namespace

TORCH_LIBRARY_IMPL(ipex_quant, CPU, m) {
  m.impl("gru_sequences", &gru_sequences);
  m.impl("lstm_sequences", &lstm_sequences);
  m.impl("rnn_sequences", &rnn_sequences);
}

}  // namespace ipex_quant::runtime
