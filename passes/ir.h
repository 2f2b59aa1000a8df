/// \file
/// Small helpers for reading and rewriting graph nodes, and the node attributes that sites travel
/// in.
#pragma once

#include <ATen/core/ivalue.h>

#include <functional>
#include <initializer_list>
#include <optional>

#include "passes/pass.h"

namespace ipex_quant::passes {

// Node attributes. They live from assign-sites to bind; a pass that replaces nodes hands them on
// with inherit().
c10::Symbol site_attr();  ///< "iq_site" string: "path/family/n"
c10::Symbol ids_attr();   ///< "iq_ids" ints: indices of the original ops that this node stands for
c10::Symbol
role_attr();  ///< "iq_role" string: which part of a decomposed op this is ("qk", "pv", ...)
c10::Symbol reason_attr();  ///< "iq_reason" string: why the node stayed float
c10::Symbol
anchor_attr();  ///< "iq_anchor" ints: those of iq_ids that are not a fused op's epilogue
/// "iq_run_time" int: the kernel finds the scales of its float input, kScalePerRow or
/// kScalePerTensor.
c10::Symbol run_time_attr();
constexpr std::int64_t kScalePerRow = 1;     ///< one for each row
constexpr std::int64_t kScalePerTensor = 2;  ///< one for all of it; linear layers only

/// The site text of a node, or an empty optional.
std::optional<std::string> site_of(const Node* node);
/// The role text of a node, or "".
std::string role_of(const Node* node);
/// The original op indices of a node (empty when it stands for none).
std::vector<std::int64_t> ids_of(const Node* node);
/// Adds ids to the node's list (sorted, unique).
void add_ids(Node* node, const std::vector<std::int64_t>& ids);
/// Gives `node` what the replaced nodes carried: all their ids; site, role and reason of the first
/// that has one; run_time_attr if any has it. `node`'s own values win. Takes the source range of
/// the first replaced node when it has none.
void inherit(Node* node, std::initializer_list<const Node*> replaced);
void inherit(Node* node, const std::vector<Node*>& replaced);
/// Writes why a node stays float; the first reason wins.
void set_reason(Node* node, const std::string& reason);

/// Calls `visit` on each node of the block and of its nested blocks, in program order. `visit` may
/// destroy its node or insert before it, not destroy the next one.
void for_each_node(Block* block, const std::function<void(Node*)>& visit);
/// All nodes of a graph (nested blocks included) in program order, as they are now.
std::vector<Node*> all_nodes(const std::shared_ptr<Graph>& graph);

/// True when the node is one of the qualified names ("aten::relu").
bool is_op(const Node* node, std::initializer_list<const char*> names);
/// True when the value is made by one of the qualified names.
bool made_by(const Value* value, std::initializer_list<const char*> names);

/// The constant behind a value made by prim::Constant. Nothing otherwise.
std::optional<c10::IValue> constant_of(const Value* value);
std::optional<at::Tensor> constant_tensor(const Value* value);
std::optional<double>
constant_number(const Value* value);  ///< int, float, bool or 0-dim tensor constant
std::optional<std::int64_t> constant_int(const Value* value);
std::optional<bool> constant_bool(const Value* value);
std::optional<std::vector<std::int64_t>>
constant_ints(const Value* value);  ///< also ListConstruct of constants
std::optional<std::string> constant_string(const Value* value);
bool is_none(const Value* value);  ///< constant None

/// Argument of a node by schema name, or nullptr when the schema has no such argument.
Value* argument(const Node* node, const std::string& name);

/// The only user of the value, or nullptr when it has none or several uses (a graph output counts
/// as a use).
Node* only_user(const Value* value);

/// The first node behind the one that makes the value: where to insert what reads it.
Node* after(const Value* value);
/// Inserts a constant at the current insert point.
Value* insert_constant(Graph& graph, const c10::IValue& value);
/// Inserts a call of the first overload of `kind` whose arguments have the types of `inputs`, in
/// schema order (keyword-only ones too); the rest take their defaults. Returns the first output.
Value* insert_call(Graph& graph, const char* kind, const std::vector<Value*>& inputs);

/// Redirects all uses of `old` to `value`, which takes its name over unless it has one.
void replace_value(Value* old, Value* value);
/// The same for the (single) output of `old`, which is destroyed.
void replace_node(Node* old, Value* value);

/// Removes nodes that nothing uses, constants included. True when it removed any.
bool remove_dead(const std::shared_ptr<Graph>& graph);

/// Graph text without source ranges and with addresses scrubbed; value numbers are renumbered from
/// 0.
std::string canonical_text(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
