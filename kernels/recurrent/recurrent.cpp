// Walks layers, directions and time over the kernels of the active ISA.
#include "kernels/recurrent/recurrent.h"

#include <algorithm>
#include <cstring>

#include "kernels/recurrent/kernels.h"

namespace ipex_quant::kernels {
namespace {

constexpr int64_t kAlign = 64;
// Input projections kept at a time: more only evicts the hidden weights from L2.
constexpr int64_t kChunkBytes = int64_t{256} << 10;
// Fewer rows per pass over the input weights would make their reading the bound.
constexpr int64_t kChunkRows = 48;
// Hidden weights from which on the steps of one sequence are worth a thread barrier each.
constexpr int64_t kSplitStepBytes = int64_t{768} << 10;

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// Hands out aligned pieces of the workspace; with a null base it only measures.
struct Arena {
  uint8_t* base;
  int64_t used = 0;

  template <class T>
  T* take(int64_t count) {
    T* p = base ? reinterpret_cast<T*>(base + used) : nullptr;
    used = round_up(used + count * static_cast<int64_t>(sizeof(T)), kAlign);
    return p;
  }
};

/// Quantized rows [planes or directions][slots][rows] that feed a layer.
struct RowSet {
  uint8_t* q;
  float* scale;
  int32_t* zero_point;
  int64_t stride;  ///< bytes of a row
  int64_t plane;   ///< rows of a plane
};

RowSet take_rows(Arena& arena, int64_t planes, int64_t rows, int64_t k) {
  RowSet set;
  set.stride = round_up(k, kUnitBlock);
  set.plane = rows;
  set.q = arena.take<uint8_t>(planes * rows * set.stride);
  set.scale = arena.take<float>(planes * rows);
  set.zero_point = arena.take<int32_t>(planes * rows);
  return set;
}

/// Scratch of one task: a direction of a group.
struct TaskScratch {
  float* gates;  ///< [chunk rows][columns]
  float* h;      ///< [rows][units padded]
  float* c;
};

/// Memory and geometry of one group of sequences.
struct Group {
  int64_t first;  ///< first batch row
  int64_t rows;
  int64_t chunk;  ///< time steps per input projection
  RowSet x;       ///< [planes][time][rows]
  RowSet h[2];    ///< [directions][time + 2][rows]: slot t + 1 follows step t; h0 at either end
  TaskScratch task[2];
};

int64_t padded_units(const RecurrentModel& model) { return round_up(model.units, kUnitBlock); }

int64_t planes_of(const RecurrentModel& model) {
  return model.input_mode == InputMode::kRows16 ? 2 : 1;
}

Group lay_out(const RecurrentModel& model, int64_t time, int64_t first, int64_t rows,
              Arena& arena) {
  Group group;
  group.first = first;
  group.rows = rows;
  const int64_t columns = padded_units(model) * gates_of(model.cell);
  const int64_t by_bytes = kChunkBytes / (columns * static_cast<int64_t>(sizeof(float)));
  const int64_t chunk_rows = std::max(by_bytes, kChunkRows);
  // Chunks of almost equal length: a last one of few steps would read all weights for them.
  const int64_t most = std::max<int64_t>(1, chunk_rows / rows);
  const int64_t chunks = std::max<int64_t>(1, (time + most / 2) / most);
  group.chunk = (time + chunks - 1) / chunks;
  group.x = take_rows(arena, planes_of(model), time * rows, model.input_size);
  const int64_t buffers = model.layers > 1 ? 2 : 1;
  for (int64_t i = 0; i < buffers; ++i) {
    group.h[i] = take_rows(arena, model.directions, (time + 2) * rows, model.units);
  }
  for (int64_t d = 0; d < model.directions; ++d) {
    group.task[d].gates = arena.take<float>(group.chunk * rows * columns);
    group.task[d].h = arena.take<float>(rows * padded_units(model));
    group.task[d].c = arena.take<float>(rows * padded_units(model));
  }
  return group;
}

int64_t group_begin(int64_t batch, int64_t groups, int64_t index) { return batch * index / groups; }

GateWeights view(const ScaledGates& gates) {
  const GateMatrix& matrix = *gates.matrix;
  return {matrix.data.data(), matrix.sums.data(), gates.scales.data(), matrix.k4()};
}

/// One run with everything that its tasks share.
struct Run {
  const RecurrentModel& model;
  const RecurrentCall& call;
  const RecurrentKernels& kernels;

  void prepare_input(const Group& group) const;
  void run_direction(const Group& group, int64_t layer, int64_t direction,
                     const Parallel& parallel) const;

 private:
  void load_state(const Group& group, int64_t index, const TaskScratch& task) const;
  void store_state(const Group& group, int64_t index, const TaskScratch& task) const;
  void project(const Group& group, int64_t layer, const RecurrentWeights& weights, int64_t t0,
               int64_t steps, float* gates, const Parallel& parallel) const;
  void emit(const Group& group, const TaskScratch& task, const RowSet& out, int64_t slot,
            int64_t direction, bool last_layer, int64_t t) const;
};

// Copies or quantizes the group's rows of x into its row set.
void Run::prepare_input(const Group& group) const {
  const RowSet& rows = group.x;
  if (model.input_mode == InputMode::kStaticU8) {
    const auto* x = static_cast<const uint8_t*>(call.x);
    for (int64_t t = 0; t < call.time; ++t) {
      for (int64_t b = 0; b < group.rows; ++b) {
        std::memcpy(rows.q + (t * group.rows + b) * rows.stride,
                    x + t * call.x_time_stride + (group.first + b) * call.x_batch_stride,
                    model.input_size);
      }
    }
    std::fill_n(rows.scale, rows.plane, model.x_scale);
    std::fill_n(rows.zero_point, rows.plane, model.x_zero_point);
    return;
  }
  const auto* x = static_cast<const float*>(call.x);
  for (int64_t t = 0; t < call.time; ++t) {
    QuantizeRowsArgs args;
    args.x = x + t * call.x_time_stride + group.first * call.x_batch_stride;
    args.x_stride = call.x_batch_stride;
    args.m = group.rows;
    args.k = model.input_size;
    args.planes = static_cast<int>(planes_of(model));
    args.q = rows.q + t * group.rows * rows.stride;
    args.q_stride = rows.stride;
    args.q_plane = rows.plane * rows.stride;
    args.scale = rows.scale + t * group.rows;
    args.zero_point = rows.zero_point + t * group.rows;
    args.param_plane = rows.plane;
    kernels.quantize_rows(args);
  }
}

// Fills h and c of a task; padded units stay 0 through every step.
void Run::load_state(const Group& group, int64_t index, const TaskScratch& task) const {
  const int64_t padded = padded_units(model);
  const bool lstm = model.cell == CellKind::kLstm;
  for (int64_t b = 0; b < group.rows; ++b) {
    const int64_t from = (index * call.batch + group.first + b) * model.units;
    std::fill_n(task.h + b * padded, padded, 0.0f);
    std::fill_n(task.c + b * padded, padded, 0.0f);
    if (call.h0) std::copy_n(call.h0 + from, model.units, task.h + b * padded);
    if (lstm && call.c0) std::copy_n(call.c0 + from, model.units, task.c + b * padded);
  }
}

void Run::store_state(const Group& group, int64_t index, const TaskScratch& task) const {
  const int64_t padded = padded_units(model);
  for (int64_t b = 0; b < group.rows; ++b) {
    const int64_t to = (index * call.batch + group.first + b) * model.units;
    std::copy_n(task.h + b * padded, model.units, call.hn + to);
    if (model.cell == CellKind::kLstm) {
      std::copy_n(task.c + b * padded, model.units, call.cn + to);
    }
  }
}

// gates[0 .. steps * rows) = input projection of steps [t0, t0 + steps).
void Run::project(const Group& group, int64_t layer, const RecurrentWeights& weights, int64_t t0,
                  int64_t steps, float* gates, const Parallel& parallel) const {
  // Layer 0: the planes of x share one matrix. Above: a matrix for each direction of the rows.
  const bool first = layer == 0;
  const RowSet& rows = first ? group.x : group.h[(layer - 1) % 2];
  const int64_t sources = first ? planes_of(model) : model.directions;
  const int64_t row0 = (first ? t0 : t0 + 1) * group.rows;
  ProjectArgs args;
  args.row_stride = rows.stride;
  args.m = steps * group.rows;
  args.gates = gates;
  args.gates_stride = weights.hidden.matrix->columns();
  parallel(weights.hidden.matrix->blocks(), 1, [&](int64_t begin, int64_t end) {
    ProjectArgs part = args;
    part.block_begin = begin;
    part.block_end = end;
    for (int64_t s = 0; s < sources; ++s) {
      const int64_t at = s * rows.plane + row0;
      part.rows = rows.q + at * rows.stride;
      part.row_scale = rows.scale + at;
      part.row_zero_point = rows.zero_point + at;
      part.weights = view(weights.input[first ? 0 : s]);
      part.bias = s == 0 ? weights.input_bias.data() : nullptr;
      (model.cell == CellKind::kLstm ? kernels.project_lstm : kernels.project_gru)(part);
    }
  });
}

// Quantizes h into a slot of `out`; `t` >= 0 also writes y of that step in the last layer.
void Run::emit(const Group& group, const TaskScratch& task, const RowSet& out, int64_t slot,
               int64_t direction, bool last_layer, int64_t t) const {
  const int64_t at = direction * out.plane + slot * group.rows;
  EmitArgs args{};
  args.h = task.h;
  args.h_stride = padded_units(model);
  args.m = group.rows;
  args.units = model.units;
  args.hq = out.q + at * out.stride;
  args.hq_stride = out.stride;
  args.h_scale = out.scale + at;
  if (last_layer && t >= 0) {
    const int64_t offset =
        t * call.y_time_stride + group.first * call.y_batch_stride + direction * model.units;
    if (call.quantize_y) {
      args.yq = static_cast<uint8_t*>(call.y) + offset;
    } else {
      args.y = static_cast<float*>(call.y) + offset;
    }
    args.y_stride = call.y_batch_stride;
    args.y_inv_scale = call.y_inv_scale;
    args.y_zero_point = call.y_zero_point;
  }
  kernels.emit(args);
}

void Run::run_direction(const Group& group, int64_t layer, int64_t direction,
                        const Parallel& parallel) const {
  const int64_t index = layer * model.directions + direction;
  const RecurrentWeights& weights = model.weights[index];
  const TaskScratch& task = group.task[direction];
  const RowSet& out = group.h[layer % 2];
  const bool last_layer = layer + 1 == model.layers;
  const bool reverse = direction == 1;
  const int64_t time = call.time;
  const int64_t columns = weights.hidden.matrix->columns();
  const int64_t blocks = weights.hidden.matrix->blocks();
  const bool split = parallel.threads > 1 && columns * weights.hidden.matrix->k >= kSplitStepBytes;
  const Parallel step_parallel = split ? parallel : serial();

  std::fill_n(out.zero_point + direction * out.plane, out.plane, 128);
  load_state(group, index, task);
  emit(group, task, out, reverse ? time + 1 : 0, direction, last_layer, -1);

  StepArgs args;
  args.hq_stride = out.stride;
  args.m = group.rows;
  args.weights = view(weights.hidden);
  args.hidden_bias = weights.hidden_bias.data();
  args.x_stride = columns;
  args.c = task.c;
  args.h = task.h;
  args.state_stride = padded_units(model);
  for (int64_t done = 0; done < time; done += group.chunk) {
    const int64_t steps = std::min(group.chunk, time - done);
    const int64_t t0 = reverse ? time - done - steps : done;
    project(group, layer, weights, t0, steps, task.gates, parallel);
    for (int64_t i = 0; i < steps; ++i) {
      const int64_t local = reverse ? steps - 1 - i : i;
      const int64_t t = t0 + local;
      const int64_t at = direction * out.plane + (reverse ? t + 2 : t) * group.rows;
      args.hq = out.q + at * out.stride;
      args.h_scale = out.scale + at;
      args.x_gates = task.gates + local * group.rows * columns;
      // To and fro: what the last step read last is still in L2 (6 to 18 % less time where the
      // hidden weights are about as large as L2).
      args.backward = i % 2 != 0;
      step_parallel(blocks, 1, [&](int64_t begin, int64_t end) {
        StepArgs part = args;
        part.block_begin = begin;
        part.block_end = end;
        (model.cell == CellKind::kLstm ? kernels.step_lstm : kernels.step_gru)(part);
      });
      emit(group, task, out, t + 1, direction, last_layer, t);
    }
  }
  store_state(group, index, task);
}

}  // namespace

RecurrentPlan plan_recurrent(const RecurrentModel& model, int64_t time, int64_t batch,
                             int threads) {
  // Directions come first: a thread then reads the weights of one direction only.
  const int64_t wanted = (threads + model.directions - 1) / model.directions;
  RecurrentPlan plan;
  plan.groups = std::max<int64_t>(1, std::min<int64_t>(wanted, batch));
  Arena arena{nullptr};
  for (int64_t g = 0; g < plan.groups; ++g) {
    const int64_t begin = group_begin(batch, plan.groups, g);
    lay_out(model, time, begin, group_begin(batch, plan.groups, g + 1) - begin, arena);
  }
  plan.workspace_bytes = arena.used + plan.groups * static_cast<int64_t>(sizeof(Group)) + kAlign;
  return plan;
}

void run_recurrent(const RecurrentModel& model, const RecurrentCall& call,
                   const RecurrentPlan& plan, uint8_t* workspace, const Parallel& parallel,
                   Features features) {
  const Run run{model, call, select_recurrent_kernels(features)};
  Arena arena{workspace};
  Group* groups = arena.take<Group>(plan.groups);
  for (int64_t g = 0; g < plan.groups; ++g) {
    const int64_t begin = group_begin(call.batch, plan.groups, g);
    const int64_t rows = group_begin(call.batch, plan.groups, g + 1) - begin;
    groups[g] = lay_out(model, call.time, begin, rows, arena);
  }
  parallel(plan.groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) run.prepare_input(groups[g]);
  });
  const int64_t tasks = plan.groups * model.directions;
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    if (tasks == 1 || parallel.threads == 1) {
      for (int64_t task = 0; task < tasks; ++task) {
        run.run_direction(groups[task / model.directions], layer, task % model.directions,
                          parallel);
      }
      continue;
    }
    parallel(tasks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        run.run_direction(groups[task / model.directions], layer, task % model.directions,
                          serial());
      }
    });
  }
}

}  // namespace ipex_quant::kernels
