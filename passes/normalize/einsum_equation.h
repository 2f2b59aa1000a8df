/// \file
/// Reads the equation of an einsum and says which product it is.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace ipex_quant::passes {

/// An ellipsis, which stands in front of the letters and counts as one of them.
constexpr char kEllipsis = '.';

/// "bid,bjd->bij" taken apart; an implicit result is written out.
struct EinsumEquation {
  std::vector<std::string> operands;
  std::string out;
};

/// Nothing when a letter stands twice in one operand or in the result, when an ellipsis stands
/// behind letters or not in the result, or where torch would refuse the equation.
std::optional<EinsumEquation> parse_einsum(std::string text);

/// The letters of a batched matrix product: [batch, rows, summed] x [batch, summed, columns], as
/// many as there are of each.
struct BatchedProduct {
  std::string batch, rows, columns, summed;

  /// One row, one column and one summed letter.
  bool is_plain() const { return rows.size() == 1 && columns.size() == 1 && summed.size() == 1; }
};

/// The equation of two operands as a batched matrix product; nothing when it is none.
std::optional<BatchedProduct> batched_product(const EinsumEquation& equation);

/// The letters of a linear layer: [rows, summed] x [columns, summed] -> [rows, columns], as many as
/// there are of each. Rows and columns in the order of the result, summed letters in that of x.
struct LinearProduct {
  std::string rows, columns, summed;
};

/// The equation of two operands, of which number `x` is no weight, as a linear layer; nothing when
/// it is none.
std::optional<LinearProduct> linear_product(const EinsumEquation& equation, std::size_t x);

/// Whether `letter` is one of `letters`.
bool has_letter(const std::string& letters, char letter);

}  // namespace ipex_quant::passes
