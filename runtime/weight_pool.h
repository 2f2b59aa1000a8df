/// \file
/// Packed weights shared by content: many nodes of a graph may read one weight.
#pragma once

#include <ATen/core/Tensor.h>

#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kernels/memory_pool.h"

namespace ipex_quant::runtime {

/// A weight in its plain form, which is what is saved, and packed for the kernels.
template <class Packed>
struct SharedWeight {
  at::Tensor plain;  ///< contiguous
  std::string key;   ///< what else the packed form depends on: shapes, strides, groups
  Packed packed;
};

/// Guards all pools of weights. A fork waits for the thread that has it, which packs one weight at
/// most, so that the child finds it free and the pools in one piece.
std::mutex& weight_pool_mutex();

/// Finds or makes the packed form of weights. It owns nothing: a weight lives as long as its users.
template <class Packed>
class WeightPool {
 public:
  using Handle = std::shared_ptr<const SharedWeight<Packed>>;

  /// \param plain  contiguous; an equal tensor that is already in the pool takes its place, so that
  ///               a file in which both are saved holds the bytes once
  /// \param pack   makes the packed form from `plain`
  template <class Pack>
  Handle get(const at::Tensor& plain, const std::string& key, const Pack& pack) {
    const std::string_view bytes = bytes_of(plain);
    const size_t hash = std::hash<std::string_view>()(bytes) ^ std::hash<std::string>()(key);
    kernels::MemoryPool::tensors();  // the first call finds it ready
    // Of weights whose other users went away meanwhile. They go behind the lock, which a tensor
    // that ends may not hold: it could wait for Python, and Python for a fork that waits for the
    // lock.
    std::vector<Handle> others;
    const std::lock_guard<std::mutex> lock(weight_pool_mutex());
    const auto [first, last] = entries_.equal_range(hash);
    for (auto it = first; it != last;) {
      Handle found = it->second.lock();
      if (!found) {
        it = entries_.erase(it);
        continue;
      }
      if (found->key == key && found->plain.sizes() == plain.sizes() &&
          bytes_of(found->plain) == bytes) {
        return found;
      }
      others.push_back(std::move(found));
      ++it;
    }
    Handle made =
        std::make_shared<const SharedWeight<Packed>>(SharedWeight<Packed>{plain, key, pack(plain)});
    if (entries_.size() >= room_) drop_dead();
    entries_.emplace(hash, made);
    return made;
  }

  /// Weights in the pool, perhaps also some that nobody uses any more.
  size_t size() {
    const std::lock_guard<std::mutex> lock(weight_pool_mutex());
    return entries_.size();
  }

 private:
  static std::string_view bytes_of(const at::Tensor& t) {
    return {static_cast<const char*>(t.const_data_ptr()), t.nbytes()};
  }

  /// A process that loads models one after the other keeps no trace of those that are gone. Called
  /// when as many were added as were alive the last time, so that it costs next to nothing.
  void drop_dead() {
    for (auto it = entries_.begin(); it != entries_.end();) {
      it = it->second.expired() ? entries_.erase(it) : std::next(it);
    }
    room_ = 2 * entries_.size() + 8;
  }

  size_t room_ = 8;
  std::unordered_multimap<size_t, std::weak_ptr<const SharedWeight<Packed>>> entries_;
};

}  // namespace ipex_quant::runtime
