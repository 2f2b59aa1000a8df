/// \file
/// Makes LSTM and GRU cells, which a trace has as ten and more ops each, one op again.
#pragma once

#include "passes/pass.h"

namespace ipex_quant::passes {

/// Rewrites the ops of nn.LSTMCell and nn.GRUCell, as torch's own cells compute them, to aten::lstm
/// and aten::gru of one step, whose int8 kernels do the gates in one go. The state stays float32
/// from step to step; in single ops it would be rounded at each.
///
/// The new op has the site of the linear that reads the cell's input; the kernels quantize the
/// state themselves. Done when calibration made both linears int8. Another cell, or one whose inner
/// values are read elsewhere, stays.
///
/// Before:  %a : Tensor = aten::linear(%h, %w_hh, %b_hh)       %p = linear(%x, %w_ih, %b_ih)
///          %b : Tensor = aten::linear(%x, %w_ih, %b_ih)       %q = linear(%h, %w_hh, %b_hh)
///          %g : Tensor = aten::add(%a, %b, %one)              %p0, %p1, %p2 = unsafe_chunk(%p)
///          %i, %f, %c, %o = unsafe_chunk(%g)                  %q0, %q1, %q2 = unsafe_chunk(%q)
///          %c2 = sigmoid(%f) * %c1 + sigmoid(%i) * tanh(%c)   %r = sigmoid(%q0 + %p0)
///          %h2 = sigmoid(%o) * tanh(%c2)                      %z = sigmoid(%q1 + %p1)
///                                                             %n = tanh(%p2 + %q2 * %r)
///                                                             %h2 = (%h - %n) * %z + %n
/// After:   %y, %hn, %cn = aten::lstm(unsqueeze(%x), [unsqueeze(%h), unsqueeze(%c1)], ...)
///          %h2 = aten::squeeze(%y)  %c2 = aten::squeeze(%cn)
/// Needs kFunctional and kCanonical. Gives nothing new. Visits nested blocks. Uses context.sites.
/// Tests: tests/passes/test_fuse_cells.py
bool fuse_cells(const std::shared_ptr<Graph>& graph, PassContext& context);

}  // namespace ipex_quant::passes
