// Makes fusions from their texts and graphs, and checks them.
#include "passes/fusion/fusion.h"

#include <torch/csrc/jit/ir/irparser.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "passes/ir.h"
#include "passes/pipeline.h"

namespace ipex_quant::passes {

namespace {

std::string quoted(const std::shared_ptr<Graph>& pattern) {
  return "\nits pattern is\n" + canonical_text(pattern);
}

std::size_t count_ops(const std::shared_ptr<Graph>& graph) {
  const auto nodes = graph->nodes();
  return static_cast<std::size_t>(std::count_if(nodes.begin(), nodes.end(), [](const Node* node) {
    return node->kind() != c10::prim::Constant;
  }));
}

void check_pattern(const Fusion& fusion) {
  const std::string named = "fusion '" + fusion.name + "': ";
  TORCH_CHECK(!fusion.name.empty(), "a fusion has no name", quoted(fusion.pattern));
  TORCH_CHECK(count_ops(fusion.pattern) > 0, named,
              "its pattern has no op, so that it would match ", "everything",
              quoted(fusion.pattern));
  TORCH_CHECK(!fusion.pattern->outputs().empty(), named, "its pattern has no output",
              quoted(fusion.pattern));
  for (const Value* output : fusion.pattern->outputs()) {
    const Node* maker = output->node();
    TORCH_CHECK(maker->kind() != c10::prim::Param && maker->kind() != c10::prim::Constant, named,
                "output %", output->debugName(), " of its pattern is made by no op of it",
                quoted(fusion.pattern));
  }
  std::set<const Value*> read;
  for (const Node* node : fusion.pattern->nodes()) {
    TORCH_CHECK(node->blocks().empty(), named, "its pattern has control flow (",
                node->kind().toQualString(), "), which no traced model has",
                quoted(fusion.pattern));
    read.insert(node->inputs().begin(), node->inputs().end());
  }
  for (const Value* input : fusion.pattern->inputs()) {
    TORCH_CHECK(read.count(input) != 0, named, "input %", input->debugName(),
                " is read by no op of its pattern, so that nothing could be found for it",
                quoted(fusion.pattern));
  }
}

/// Text without types makes every value a Tensor; the schemas of the ops that read it know better.
void infer_input_types(const std::shared_ptr<Graph>& graph) {
  for (Node* node : graph->nodes()) {
    for (std::size_t i = 0; i < node->inputs().size(); ++i) {
      Value* input = node->input(i);
      const bool plain = *input->type() == *c10::TensorType::get();
      if (input->node()->kind() != c10::prim::Param || !plain) continue;
      c10::TypePtr other;
      bool takes_tensor = false;
      for (const auto& candidate : torch::jit::getAllOperatorsFor(node->kind())) {
        const auto& arguments = candidate->schema().arguments();
        if (arguments.size() != node->inputs().size()) continue;
        const c10::TypePtr& type = arguments[i].type();
        takes_tensor = takes_tensor || c10::TensorType::get()->isSubtypeOf(*type);
        if (!other) other = type;
      }
      if (other && !takes_tensor) input->setType(other);
    }
  }
}

bool is_ours_to_check(const Node* node) {
  const std::string space = node->kind().ns().toUnqualString();
  return space != "prim" && space != "onnx";
}

std::string schemas_of(c10::Symbol kind) {
  std::ostringstream text;
  for (const auto& candidate : torch::jit::getAllOperatorsFor(kind)) {
    text << "\n  " << candidate->schema();
  }
  return text.str();
}

/// torch's alias analysis ends the process at an operator that it does not know.
void check_registered(const Fusion& fusion, const std::shared_ptr<Graph>& graph,
                      const std::string& side) {
  for (const Node* node : graph->nodes()) {
    if (!is_ours_to_check(node)) continue;
    TORCH_CHECK(!torch::jit::getAllOperatorsFor(node->kind()).empty(), "fusion '", fusion.name,
                "': operator '", node->kind().toQualString(), "' of its ", side,
                " is not registered; import or load the library that registers it first",
                quoted(fusion.pattern));
  }
}

void check_schemas(const Fusion& fusion, const std::shared_ptr<Graph>& graph,
                   const std::string& side) {
  for (const Node* node : graph->nodes()) {
    if (!is_ours_to_check(node) || node->maybeOperator() != nullptr) continue;
    std::ostringstream types;
    for (const Value* input : node->inputs()) {
      types << (types.tellp() > 0 ? ", " : "") << input->type()->repr_str();
    }
    TORCH_CHECK(false, "fusion '", fusion.name, "': no form of operator '",
                node->kind().toQualString(), "' of its ", side, " takes (", types.str(),
                "); expected one of:", schemas_of(node->kind()), quoted(fusion.pattern));
  }
}

void check_equal_sides(const Fusion& fusion) {
  const auto& [pattern, rewrite] = std::tie(fusion.pattern, fusion.rewrite);
  TORCH_CHECK(pattern->inputs().size() == rewrite->inputs().size(), "fusion '", fusion.name,
              "': match has ", pattern->inputs().size(), " inputs but rewrite has ",
              rewrite->inputs().size(), "; both sides must list the same inputs in the same order",
              quoted(pattern));
  TORCH_CHECK(pattern->outputs().size() == rewrite->outputs().size(), "fusion '", fusion.name,
              "': match has ", pattern->outputs().size(), " outputs but rewrite has ",
              rewrite->outputs().size(),
              "; both sides must list the same outputs in the same order", quoted(pattern));
}

/// The value is this number; the tracer writes most numbers as tensors without dimensions.
bool holds_number(const Value* value, const c10::IValue& number) {
  const auto constant = constant_of(value);
  if (!constant) return false;
  const bool integral =
      constant->isInt() || (constant->isTensor() && !constant->toTensor().is_floating_point());
  const auto found = constant_number(value);
  if (!found || integral != number.isInt()) return false;
  return *found == (number.isInt() ? static_cast<double>(number.toInt()) : number.toDouble());
}

/// Has the kernels read the steps.
void check_steps(const Fusion& fusion) {
  const auto prepack =
      torch::jit::getAllOperatorsFor(c10::Symbol::fromQualString("ipex_quant::binary_prepack"));
  torch::jit::Stack stack = {"add", 1.0, 0, 1.0, 0, fusion.steps};
  try {
    prepack.at(0)->getOperation()(stack);
  } catch (const c10::Error& error) {
    TORCH_CHECK(false, "fusion '", fusion.name, "': ", error.what_without_backtrace(),
                quoted(fusion.pattern));
  }
}

std::size_t tensor_steps(const std::string& steps) {
  std::size_t count = 0;
  for (const char* step : {"add_f32", "mul_f32"}) {
    for (std::size_t at = 0; (at = steps.find(step, at)) != std::string::npos; ++at) ++count;
  }
  return count;
}

void strip_attributes(const std::shared_ptr<Graph>& graph) {
  for (Node* node : all_nodes(graph)) {
    for (const c10::Symbol name : node->attributeNames()) {
      if (std::string(name.toUnqualString()).rfind("iq_", 0) == 0) node->removeAttribute(name);
    }
  }
}

/// A tuple as several outputs.
void spread_outputs(Graph& graph) {
  if (graph.outputs().size() != 1) return;
  Node* tuple = graph.outputs()[0]->node();
  if (tuple->kind() != c10::prim::TupleConstruct) return;
  graph.eraseOutput(0);
  for (Value* value : tuple->inputs()) graph.registerOutput(value);
}

}  // namespace

std::size_t Fusion::size() const { return count_ops(pattern); }

std::shared_ptr<Graph> parse_fusion_ir(const std::string& name, const std::string& side,
                                       const std::string& text) {
  auto graph = std::make_shared<Graph>();
  try {
    torch::jit::parseIR(text, graph.get());
  } catch (const std::exception& error) {
    TORCH_CHECK(false, "fusion '", name, "': its ", side, " does not parse: ", error.what(),
                "\nits text is\n", text);
  }
  return graph;
}

std::shared_ptr<Graph>
function_graph(const std::string& name, const torch::jit::Module& normalized,
               const std::vector<std::string>& inputs,
               const std::vector<std::pair<std::size_t, c10::IValue>>& numbers, bool all_occur) {
  auto graph = normalized.get_method("forward").graph()->copy();
  strip_attributes(graph);
  TORCH_CHECK(!graph->inputs()[0]->hasUses(), "fusion '", name,
              "': its function reads attributes of a module that cannot be made constants");
  graph->eraseInput(0);
  spread_outputs(*graph);
  for (const auto& [position, number] : numbers) {
    Value* input = graph->insertInput(position);
    input->setType(number.type());
    for (Node* node : all_nodes(graph)) {
      if (node->kind() == c10::prim::Constant && holds_number(node->output(), number)) {
        node->output()->replaceAllUsesWith(input);
      }
    }
    TORCH_CHECK(!all_occur || input->hasUses(), "fusion '", name, "': the example number ", number,
                " for argument ", position,
                " does not occur in its traced function; give a number that the function hands on "
                "as it is, and that it does not use otherwise\nthe traced function is\n",
                canonical_text(graph));
  }
  for (std::size_t i = 0; i < std::min(inputs.size(), graph->inputs().size()); ++i) {
    graph->inputs()[i]->setDebugName(inputs[i]);
  }
  remove_dead(graph);
  return graph;
}

void normalize_pattern(const std::shared_ptr<Graph>& graph) {
  static const std::set<std::string> kNeedModule = {"inline-calls", "expand-transformer",
                                                    "assign-sites", "freeze"};
  PassContext context;
  for (const Pass& pass : normalize_passes()) {
    if (kNeedModule.count(pass.name) == 0) run_pass(pass.name, graph, context);
  }
}

Fusion rewrite_fusion(const std::string& name, std::shared_ptr<Graph> pattern,
                      std::shared_ptr<Graph> rewrite, On on, std::vector<Guard> guards) {
  Fusion fusion{name, Becomes::kRewrite, on, std::move(pattern), std::move(rewrite),
                "",   std::move(guards)};
  check_equal_sides(fusion);
  check_registered(fusion, fusion.pattern, "pattern");
  check_registered(fusion, fusion.rewrite, "rewrite");
  infer_input_types(fusion.pattern);
  infer_input_types(fusion.rewrite);
  for (std::size_t i = 0; i < fusion.pattern->inputs().size(); ++i) {
    Value* input = fusion.rewrite->inputs()[i];
    const c10::TypePtr& type = fusion.pattern->inputs()[i]->type();
    if (*input->type() == *c10::TensorType::get()) input->setType(type);
  }
  check_schemas(fusion, fusion.pattern, "pattern");
  check_schemas(fusion, fusion.rewrite, "rewrite");
  if (on == On::kFloat) {
    normalize_pattern(fusion.pattern);
    normalize_pattern(fusion.rewrite);
  }
  check_pattern(fusion);
  TORCH_CHECK(find_matches(fusion.rewrite, fusion.pattern).empty(), "fusion '", name,
              "': its rewrite holds its pattern, so that it could be applied for ever; let the "
              "rewrite call another operator",
              quoted(fusion.pattern));
  return fusion;
}

Fusion post_op_fusion(const std::string& name, std::shared_ptr<Graph> pattern,
                      const std::string& steps, std::vector<Guard> guards) {
  Fusion fusion{name,  Becomes::kPostOp, On::kFloat, std::move(pattern), nullptr,
                steps, std::move(guards)};
  check_registered(fusion, fusion.pattern, "pattern");
  infer_input_types(fusion.pattern);
  check_schemas(fusion, fusion.pattern, "pattern");
  normalize_pattern(fusion.pattern);
  check_pattern(fusion);
  check_steps(fusion);
  for (const char* bytes : {"add_u8", "mul_u8"}) {
    TORCH_CHECK(steps.find(bytes) == std::string::npos, "fusion '", name, "': steps '", steps,
                "' hold ", bytes, "; write ", std::string(bytes).substr(0, 4),
                "f32, which reads the tensor in int8 where it is int8", quoted(fusion.pattern));
  }
  TORCH_CHECK(!steps.empty() && steps.find("quantize") == std::string::npos, "fusion '", name,
              "': steps '", steps, "' must be one or more post-ops without quantize",
              quoted(fusion.pattern));
  const std::size_t inputs = 1 + tensor_steps(steps);
  TORCH_CHECK(fusion.pattern->inputs().size() == inputs && inputs <= 2, "fusion '", name,
              "': its pattern has ", fusion.pattern->inputs().size(), " inputs and its steps '",
              steps, "' read ", inputs - 1,
              " tensors; expected the result of the kernel and at most one tensor, in this order",
              quoted(fusion.pattern));
  TORCH_CHECK(fusion.pattern->outputs().size() == 1, "fusion '", name, "': its pattern has ",
              fusion.pattern->outputs().size(), " outputs, expected 1", quoted(fusion.pattern));
  return fusion;
}

Fusion elementwise_fusion(const std::string& name, std::shared_ptr<Graph> pattern,
                          std::vector<Guard> guards) {
  Fusion fusion{name, Becomes::kElementwise, On::kFloat, std::move(pattern), nullptr,
                "",   std::move(guards)};
  check_registered(fusion, fusion.pattern, "pattern");
  infer_input_types(fusion.pattern);
  check_schemas(fusion, fusion.pattern, "pattern");
  normalize_pattern(fusion.pattern);
  check_pattern(fusion);
  const std::size_t inputs = fusion.pattern->inputs().size();
  const std::size_t outputs = fusion.pattern->outputs().size();
  TORCH_CHECK(inputs == 1 && outputs == 1, "fusion '", name, "': its function has ", inputs,
              " inputs and ", outputs, " outputs, expected one tensor in and one out",
              quoted(fusion.pattern));
  return fusion;
}

void check_names(const std::vector<Fusion>& fusions) {
  std::set<std::string> names;
  for (const Fusion& fusion : fusions) {
    TORCH_CHECK(names.insert(fusion.name).second, "fusion '", fusion.name,
                "' is given twice; names must be unique", quoted(fusion.pattern));
  }
}

}  // namespace ipex_quant::passes
