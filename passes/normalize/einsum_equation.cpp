/// \file
/// Implements the questions about an einsum's equation.
#include "passes/normalize/einsum_equation.h"

#include <algorithm>
#include <cctype>

namespace ipex_quant::passes {

namespace {

/// Each letter once, none but letters and an ellipsis in front.
bool are_letters(const std::string& letters) {
  return std::all_of(letters.begin(), letters.end(), [&letters](const char& letter) {
    const bool in_front = letter == kEllipsis && &letter == letters.data();
    const bool known = in_front || std::isalpha(static_cast<unsigned char>(letter));
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
  left = text.substr(0, arrow);
  const auto stands = [&left](char letter) { return has_letter(left, letter); };
  const bool valid = are_letters(found.out) &&
                     std::all_of(found.operands.begin(), found.operands.end(), are_letters) &&
                     std::all_of(found.out.begin(), found.out.end(), stands) &&
                     has_letter(found.out, kEllipsis) == has_letter(left, kEllipsis);
  return valid ? std::optional(found) : std::nullopt;
}

std::optional<BatchedProduct> batched_product(const EinsumEquation& equation) {
  BatchedProduct product;
  const std::string &a = equation.operands[0], &b = equation.operands[1], &out = equation.out;
  for (const char letter : a) {
    const bool in_b = has_letter(b, letter);
    const bool in_out = has_letter(out, letter);
    if (!in_b && !in_out) return std::nullopt;
    (in_b && in_out ? product.batch : in_b ? product.summed : product.rows) += letter;
  }
  for (const char letter : b) {
    if (has_letter(a, letter)) continue;
    if (!has_letter(out, letter)) return std::nullopt;
    product.columns += letter;
  }
  if (product.rows.empty() || product.columns.empty() || product.summed.empty())
    return std::nullopt;
  // How many an ellipsis stands for is not known, so it is no part of what becomes one dimension.
  const bool joins = has_letter(product.columns, kEllipsis) ||
                     (has_letter(product.rows, kEllipsis) && !product.batch.empty());
  return joins ? std::nullopt : std::optional(product);
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
  const bool all = !product.rows.empty() && !product.columns.empty() && !product.summed.empty();
  return all ? std::optional(product) : std::nullopt;
}

}  // namespace ipex_quant::passes
