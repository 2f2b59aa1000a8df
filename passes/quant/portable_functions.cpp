/// \file
/// Implements the functions of portable files.
#include "passes/quant/portable_functions.h"

#include <torch/csrc/jit/api/compilation_unit.h>
#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/schema_matching.h>
#include <torch/csrc/jit/frontend/sugared_value.h>

namespace ipex_quant::passes {

namespace {

const char* const kModule = "__torch__.ipex_quant_portable";

// The formulas are those of docs/numerics.md. A scalar divided by a tensor would be rounded twice,
// so divisors are tensors. 7.888609052210118e-31 is 2^-100.
const char* const kSource = R"(
# dims: those that share a scale; none stands for all
def round_over(x: Tensor, dims: List[int], levels: float) -> Tensor:
    low = torch.clamp_max(torch.amin(x, dims, True), 0)
    high = torch.clamp_min(torch.amax(x, dims, True), 0)
    span = torch.clamp_min(high - low, 7.888609052210118e-31)
    inverse = torch.div(torch.full_like(span, levels), span)
    zero_point = torch.round(torch.clamp(torch.neg(low) * inverse, 0, levels))
    codes = torch.round(torch.clamp(x * inverse, torch.neg(zero_point), levels - zero_point))
    return codes * (span * (1. / levels))

def round_rows(x: Tensor, levels: float) -> Tensor:
    return round_over(x, [-1], levels)

def round_tensor(x: Tensor, levels: float) -> Tensor:
    return round_over(x, [], levels)

def round_state(h: Tensor) -> Tensor:
    largest = torch.clamp_min(torch.amax(torch.abs(h), [-1], True), 7.888609052210118e-31)
    inverse = torch.div(torch.full_like(largest, 127), largest)
    codes = torch.round(torch.clamp(h * inverse, -127, 127))
    return codes * (largest * (1. / 127.))

# h, c: [rows, units]; gates: the input's part with its bias [rows, gates * units]; params: w_ih,
# w_hh and, perhaps, b_ih, b_hh. A GRU has no c and gives back what it got.
def step(is_lstm: bool, gates: Tensor, h: Tensor, c: Tensor,
         params: List[Tensor]) -> Tuple[Tensor, Tensor]:
    hidden = torch.matmul(round_state(h), params[1].t())
    if is_lstm:
        i, f, g, o = torch.chunk(gates + hidden, 4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c
    if len(params) == 4:
        hidden = hidden + params[3]
    xr, xz, xn = torch.chunk(gates, 3, 1)
    hr, hz, hn = torch.chunk(hidden, 3, 1)
    fresh = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
    return fresh + torch.sigmoid(xz + hz) * (h - fresh), c

# x: rounded, [sum of sizes, features], with sizes[t] rows of each time step. A sequence that ended
# keeps its state; with reverse, one that has not begun.
def direction(is_lstm: bool, x: Tensor, sizes: List[int], h: Tensor, c: Tensor,
              params: List[Tensor], reverse: bool) -> Tuple[Tensor, Tensor, Tensor]:
    gates = torch.matmul(x, params[0].t())
    if len(params) == 4:
        gates = gates + (params[2] + params[3] if is_lstm else params[2])
    parts = torch.split_with_sizes(gates, sizes)
    ys: List[Tensor] = []
    for i in range(len(sizes)):
        t = len(sizes) - 1 - i if reverse else i
        n = sizes[t]
        y, now_c = step(is_lstm, parts[t], h[:n], c[:n], params)
        h = torch.cat([y, h[n:]])
        c = torch.cat([now_c, c[n:]])
        ys.append(y)
    if reverse:
        ys.reverse()
    return torch.cat(ys), h, c

def layers(is_lstm: bool, x: Tensor, sizes: List[int], h0: Tensor, c0: Tensor,
           params: List[Tensor], has_biases: bool, num_layers: int, bidirectional: bool,
           rounds_input: bool) -> Tuple[Tensor, Tensor, Tensor]:
    directions = 2 if bidirectional else 1
    per_cell = 4 if has_biases else 2
    if rounds_input:
        x = round_rows(x, 65535. if 2 * x.size(1) <= params[1].size(1) else 255.)
    hn: List[Tensor] = []
    cn: List[Tensor] = []
    for layer in range(num_layers):
        ys: List[Tensor] = []
        for d in range(directions):
            k = layer * directions + d
            own = params[k * per_cell:(k + 1) * per_cell]
            y, h, c = direction(is_lstm, x, sizes, h0[k], c0[k], own, d == 1)
            ys.append(y)
            hn.append(h)
            cn.append(c)
        x = torch.cat(ys, 1)
        if layer + 1 < num_layers:
            x = torch.cat([round_state(y) for y in ys], 1)
    return x, torch.stack(hn), torch.stack(cn)

def dense(is_lstm: bool, x: Tensor, h0: Tensor, c0: Tensor, params: List[Tensor], has_biases: bool,
          num_layers: int, bidirectional: bool, batch_first: bool,
          rounds_input: bool) -> Tuple[Tensor, Tensor, Tensor]:
    if batch_first:
        x = torch.transpose(x, 0, 1)
    time, batch, features = x.size(0), x.size(1), x.size(2)
    sizes = [batch for t in range(time)]
    y, h, c = layers(is_lstm, torch.reshape(x, [time * batch, features]), sizes, h0, c0, params,
                     has_biases, num_layers, bidirectional, rounds_input)
    y = torch.reshape(y, [time, batch, y.size(1)])
    return torch.transpose(y, 0, 1) if batch_first else y, h, c

def lstm(x: Tensor, hx: List[Tensor], params: List[Tensor], has_biases: bool, num_layers: int,
         dropout: float, train: bool, bidirectional: bool, batch_first: bool,
         rounds_input: bool) -> Tuple[Tensor, Tensor, Tensor]:
    return dense(True, x, hx[0], hx[1], params, has_biases, num_layers, bidirectional, batch_first,
                 rounds_input)

def gru(x: Tensor, hx: Tensor, params: List[Tensor], has_biases: bool, num_layers: int,
        dropout: float, train: bool, bidirectional: bool, batch_first: bool,
        rounds_input: bool) -> Tuple[Tensor, Tensor]:
    y, h, c = dense(False, x, hx, hx, params, has_biases, num_layers, bidirectional, batch_first,
                    rounds_input)
    return y, h

def lstm_packed(data: Tensor, batch_sizes: Tensor, hx: List[Tensor], params: List[Tensor],
                has_biases: bool, num_layers: int, dropout: float, train: bool,
                bidirectional: bool, rounds_input: bool) -> Tuple[Tensor, Tensor, Tensor]:
    sizes: List[int] = batch_sizes.tolist()
    return layers(True, data, sizes, hx[0], hx[1], params, has_biases, num_layers, bidirectional,
                  rounds_input)

def gru_packed(data: Tensor, batch_sizes: Tensor, hx: Tensor, params: List[Tensor],
               has_biases: bool, num_layers: int, dropout: float, train: bool,
               bidirectional: bool, rounds_input: bool) -> Tuple[Tensor, Tensor]:
    sizes: List[int] = batch_sizes.tolist()
    y, h, c = layers(False, data, sizes, hx, hx, params, has_biases, num_layers, bidirectional,
                     rounds_input)
    return y, h
)";

/// The functions, compiled once; graphs point to them for as long as the process lives.
const torch::jit::CompilationUnit& functions() {
  static const auto kUnit = [] {
    auto unit = std::make_shared<torch::jit::CompilationUnit>();
    unit->define(c10::QualifiedName(kModule), kSource, torch::jit::nativeResolver(), nullptr);
    return unit;
  }();
  return *kUnit;
}

}  // namespace

Value* call_portable(Graph& graph, const char* function, const std::vector<Value*>& inputs) {
  const c10::QualifiedName name(c10::QualifiedName(kModule), function);
  torch::jit::Function* callee = functions().find_function(name);
  TORCH_CHECK(callee != nullptr, "no portable function '", function, "'");
  const c10::FunctionSchema& schema = callee->getSchema();
  TORCH_CHECK(inputs.size() == schema.arguments().size(), "portable function '", function,
              "' takes ", schema.arguments().size(), " arguments, got ", inputs.size());
  return graph.insertFunctionCall(
      callee, {inputs, {schema.returns().at(0).type()}, std::nullopt, schema.name()});
}

std::string portable_function(const Node* node) {
  if (node->kind() != c10::prim::CallFunction) return "";
  const auto type = node->input(0)->type()->cast<c10::FunctionType>();
  if (type == nullptr) return "";
  // torch may have changed the name of the module that a file brought along, not of the function.
  const c10::QualifiedName& name = type->function()->qualname();
  const bool ours = name.prefix().find("ipex_quant_portable") != std::string::npos;
  const c10::QualifiedName known(c10::QualifiedName(kModule), name.name());
  return ours && functions().find_function(known) != nullptr ? name.name() : "";
}

}  // namespace ipex_quant::passes
