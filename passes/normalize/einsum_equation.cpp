/// \file
/// Implements the questions about an einsum's equation.
#include "passes/normalize/einsum_equation.h"

#include <algorithm>
#include <cctype>

namespace ipex_quant::passes {

namespace {

constexpr char kEllipsis = '.';

/// Each letter once, none but letters and one ellipsis.
bool are_letters(const std::string& letters) {
  return std::all_of(letters.begin(), letters.end(), [&letters](char letter) {
    const bool known = letter == kEllipsis || std::isalpha(static_cast<unsigned char>(letter));
    return known && std::count(letters.begin(), letters.end(), letter) == 1;
  });
}

/// What torch returns without an arrow: the ellipsis, then what stands once, in order.
std::string implicit_result(const std::string& operands) {
  std::string all = operands;
  all.erase(std::remove(all.begin(), all.end(), ','), all.end());
  std::string out;
  for (const char letter : all) {
    const bool once = std::count(all.begin(), all.end(), letter) == 1;
    const bool is_new = !has_letter(out, letter);
    if (is_new && (once || letter == kEllipsis)) out += letter;
  }
  std::sort(out.begin(), out.end());  // '.' comes before all letters
  return out;
}

}  // namespace

bool has_letter(const std::string& letters, char letter) {
  return letters.find(letter) != std::string::npos;
}

std::optional<EinsumEquation> parse_einsum(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  for (std::size_t at = text.find("..."); at != std::string::npos; at = text.find("...")) {
    text.replace(at, 3, 1, kEllipsis);
  }
  const std::size_t arrow = text.find("->");
  std::string left = text.substr(0, arrow);
  EinsumEquation found;
  found.out = arrow == std::string::npos ? implicit_result(left) : text.substr(arrow + 2);
  left += ',';
  for (std::size_t comma = left.find(','); comma != std::string::npos; comma = left.find(',')) {
    found.operands.push_back(left.substr(0, comma));
    left.erase(0, comma + 1);
  }
  const bool valid = are_letters(found.out) &&
                     std::all_of(found.operands.begin(), found.operands.end(), are_letters) &&
                     std::all_of(found.out.begin(), found.out.end(), [&text, arrow](char letter) {
                       return has_letter(text.substr(0, arrow), letter);
                     });
  return valid ? std::optional(found) : std::nullopt;
}

std::optional<BatchedProduct> batched_product(const EinsumEquation& equation) {
  BatchedProduct product;
  const std::string &a = equation.operands[0], &b = equation.operands[1], &out = equation.out;
  if (has_letter(a + b, kEllipsis)) return std::nullopt;
  for (const char letter : a) {
    const bool in_b = has_letter(b, letter);
    const bool in_out = has_letter(out, letter);
    if (!in_b && !in_out) return std::nullopt;
    (in_b && in_out ? product.batch : in_b ? product.summed : product.row) += letter;
  }
  for (const char letter : b) {
    if (has_letter(a, letter)) continue;
    if (!has_letter(out, letter)) return std::nullopt;
    product.column += letter;
  }
  const bool one_each =
      product.row.size() == 1 && product.column.size() == 1 && product.summed.size() == 1;
  return one_each ? std::optional(product) : std::nullopt;
}

std::optional<LinearProduct> linear_product(const EinsumEquation& equation, std::size_t x) {
  LinearProduct product;
  const std::string &read = equation.operands[x], &weight = equation.operands[1 - x];
  if (has_letter(weight, kEllipsis)) return std::nullopt;
  for (const char letter : read) {
    if (has_letter(weight, letter) == has_letter(equation.out, letter)) return std::nullopt;
    if (has_letter(weight, letter)) product.summed += letter;
  }
  for (const char letter : weight) {
    if (!has_letter(read, letter) && !has_letter(equation.out, letter)) return std::nullopt;
  }
  for (const char letter : equation.out) {
    (has_letter(weight, letter) ? product.columns : product.rows) += letter;
  }
  // The place of an ellipsis among other dimensions cannot be moved: its length is not known.
  const bool moves =
      read != product.rows + product.summed || equation.out != product.rows + product.columns;
  if (moves && has_letter(read, kEllipsis)) return std::nullopt;
  const bool all = !product.rows.empty() && !product.columns.empty() && !product.summed.empty();
  return all ? std::optional(product) : std::nullopt;
}

}  // namespace ipex_quant::passes
