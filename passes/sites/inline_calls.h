/// \file
/// Inlines all calls of a traced graph and notes the module path of each node.
#pragma once

#include "passes/ir.h"

namespace ipex_quant::passes {

c10::Symbol
module_attr();  ///< "iq_module" string: path of the module in whose forward the node ran
c10::Symbol script_attr();  ///< "iq_script" int: the node came out of a scripted function

/// Replaces prim::CallMethod and prim::CallFunction by the bodies of what they call, and gives each
/// node the path of its module, e.g. "layers.0.attention"; "" is the root. Calls of the functions
/// of portable files become the operators that they stand for (read_portable.h).
///
/// The path is read from the chain of GetAttr nodes that leads to the module, because the call
/// stack that torch's own inliner keeps has only the last name ("0" for layers.0) and says
/// "unknown" for a module passed as an argument. A module that is reachable under several names is
/// traced under one of them: the last in depth-first order, see torch.jit._trace
/// (register_submods). The bodies are taken as they were traced, not as torch optimises them: its
/// peephole rules depend on shapes that a saved trace has lost, and the nodes must be counted the
/// same way.
///
/// Before:  graph(%self, %x):                                     After:  graph(%self, %x):
///            %fc : Linear = prim::GetAttr[name="fc"](%self)                %fc : Linear =
///            prim::GetAttr[name="fc"](%self) %y : Tensor = prim::CallMethod[name="forward"](%fc,
///            %x)       %w : Tensor = prim::GetAttr[name="weight"](%fc)
///                                                                          %y : Tensor =
///                                                                          aten::linear[iq_module="fc"](%x,
///                                                                          ...)
/// Needs nothing. Gives kInlined. Visits nested blocks.
/// Tests: tests/passes/test_sites.py
bool inline_calls(const std::shared_ptr<Graph>& graph);

}  // namespace ipex_quant::passes
