/// \file
/// Applies the fusions of the user.
#pragma once

#include <vector>

#include "passes/fusion/fusion.h"
#include "passes/pass.h"

namespace ipex_quant::passes {

/// Applies the fusions on float tensors: rewrites, and the outlining of functions (outline.h).
///
/// Larger patterns come first, then the order given. A fusion sees each place of the graph once and
/// never what it has put there itself. Constants and ops of a rewrite that are of the kind of a
/// matched op keep the site of that op.
///
/// Before:  %a = aten::mul(%x, %x)         After:  %y = mylib::norm(%x)
///          %y = aten::softsign(%a)
/// Needs kCanonical and kSites, `context.fusions` (may be null). Gives nothing new. Visits nested
/// blocks. Tests: tests/passes/test_apply_fusions.py
bool apply_fusions(const std::shared_ptr<Graph>& graph, PassContext& context);

/// Applies the fusions on int8 tensors, in the same way.
bool apply_int8_fusions(const std::shared_ptr<Graph>& graph, const PassContext& context);

}  // namespace ipex_quant::passes
