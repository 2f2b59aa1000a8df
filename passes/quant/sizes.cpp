// Implements the arithmetic on sizes that are texts.
#include "passes/quant/sizes.h"

#include <algorithm>

namespace ipex_quant::passes {

namespace {

using Dims = std::vector<std::string>;

/// Sizes that take more to write down count as unknown: each op could double them.
constexpr std::size_t kLongestText = 200;

/// What is left of a product of sizes, without the factors that `taken` has, too.
Dims without(Dims factors, const Dims& taken, Dims& unmatched) {
  for (const std::string& dim : taken) {
    const auto found = std::find(factors.begin(), factors.end(), dim);
    if (found == factors.end()) {
      unmatched.push_back(dim);
    } else {
      factors.erase(found);
    }
  }
  return factors;
}

std::optional<std::int64_t> product_of(const Dims& dims) {
  std::int64_t product = 1;
  for (const std::string& dim : dims) {
    const auto size = number_of(dim);
    if (!size) return std::nullopt;
    product *= *size;
  }
  return product;
}

std::string broadcast_dim(const std::string& a, const std::string& b) {
  if (a == b || b == "1") return a;
  if (a == "1") return b;
  if (number_of(a)) return a;  // b must be 1 or the same
  if (number_of(b)) return b;
  return "";
}

/// Two tensors of unknown rank with equal leading sizes.
std::optional<Shape> broadcast_unranked(const Shape& a, const Shape& b) {
  if (a.base != b.base) return std::nullopt;
  const Shape& longer = a.dims.size() >= b.dims.size() ? a : b;
  const Shape& shorter = &longer == &a ? b : a;
  const std::size_t extra = longer.dims.size() - shorter.dims.size();
  for (std::size_t i = 0; i < longer.dims.size(); ++i) {
    const bool equal = i >= extra && longer.dims[i] == shorter.dims[i - extra];
    if (!equal && (!number_of(longer.dims[i]) || longer.dims[i] == "1")) return std::nullopt;
  }
  return longer;
}

}  // namespace

std::optional<std::int64_t> number_of(const std::string& dim) {
  if (dim.empty() || dim.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  return std::stoll(dim);
}

std::string window(const std::string& dim, std::int64_t add, std::int64_t stride) {
  if (const auto size = number_of(dim)) return std::to_string((*size + add) / stride + 1);
  const auto plus = [](const std::string& text, std::int64_t n) {
    if (n == 0) return text;
    return "(" + text + (n < 0 ? "" : "+") + std::to_string(n) + ")";
  };
  if (stride == 1) return plus(dim, add + 1);
  return plus(plus(dim, add) + "/" + std::to_string(stride), 1);
}

std::string product(const std::vector<std::string>& dims) {
  std::string text = dims.at(0);
  for (std::size_t i = 1; i < dims.size(); ++i) {
    const auto a = number_of(text);
    const auto b = number_of(dims[i]);
    text = a && b ? std::to_string(*a * *b) : text + "*" + dims[i];
  }
  return text;
}

std::optional<Shape> broadcast(const Shape& a, const Shape& b) {
  if (a == b) return a;
  if (!a.ranked && !b.ranked) return broadcast_unranked(a, b);
  const Shape& wide = !a.ranked || (b.ranked && a.dims.size() >= b.dims.size()) ? a : b;
  const Shape& narrow = &wide == &a ? b : a;
  Shape result = wide;
  const auto count = static_cast<std::int64_t>(narrow.dims.size());
  if (count > static_cast<std::int64_t>(result.dims.size())) {
    result.dims.clear();
    for (std::int64_t i = -count; i < 0; ++i) result.dims.push_back(wide.dim(i));
  }
  for (std::int64_t i = 1; i <= count; ++i) {
    std::string& dim = result.dims[result.dims.size() - static_cast<std::size_t>(i)];
    const std::string& other = narrow.dims[static_cast<std::size_t>(count - i)];
    const std::string both = broadcast_dim(dim, other);
    dim = both.empty() ? "broadcast(" + dim + "," + other + ")" : both;
    if (both.empty() && (!wide.ranked || dim.size() > kLongestText)) return std::nullopt;
  }
  return result;
}

std::optional<std::string> left_over(const Shape& from, std::vector<std::string> dims) {
  dims.erase(std::find(dims.begin(), dims.end(), "-1"));
  Dims divisors;
  if (!from.ranked) return std::nullopt;
  const Dims factors = without(from.dims, dims, divisors);
  if (divisors.empty() && factors.size() == 1) return factors[0];
  const auto total = product_of(factors);
  const auto part = product_of(divisors);
  if (!total || !part || *part == 0 || *total % *part != 0) return std::nullopt;
  return std::to_string(*total / *part);
}

}  // namespace ipex_quant::passes
