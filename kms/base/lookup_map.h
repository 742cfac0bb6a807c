#ifndef KEYHOP_KMS_BASE_LOOKUP_MAP_H_
#define KEYHOP_KMS_BASE_LOOKUP_MAP_H_

#include <cstddef>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "kms/base/check.h"

namespace keyhop {

// A hash table that cannot be read through: its order differs from run to run, and nothing may
// depend on it. Pointers to values are good until the next change. Not thread-safe.
template <typename Key, typename Value>
class LookupMap {
 public:
  // Null: not there.
  Value* Find(const Key& key) {
    const auto it = table_.find(key);
    return it == table_.end() ? nullptr : &it->second;
  }
  const Value* Find(const Key& key) const {
    const auto it = table_.find(key);
    return it == table_.end() ? nullptr : &it->second;
  }
  // Returns whether the key is new.
  bool Put(const Key& key, Value value) {
    return table_.insert_or_assign(key, std::move(value)).second;
  }
  void Erase(const Key& key) { table_.erase(key); }
  size_t size() const { return table_.size(); }

 private:
  absl::flat_hash_map<Key, Value> table_;
};

// A map that is read in the order of its keys and asked by hash: a lookup among thousands of
// entries that nobody touched of late costs a few cache lines, not a path through a tree. Entries
// stay where they are, for good. Not thread-safe.
template <typename Key, typename Value>
class IndexedMap {
 public:
  using Ordered = std::map<Key, Value>;
  using iterator = typename Ordered::iterator;
  using const_iterator = typename Ordered::const_iterator;

  iterator begin() { return ordered_.begin(); }
  iterator end() { return ordered_.end(); }
  const_iterator begin() const { return ordered_.begin(); }
  const_iterator end() const { return ordered_.end(); }
  size_t size() const { return ordered_.size(); }
  bool empty() const { return ordered_.empty(); }
  const Ordered& ordered() const { return ordered_; }

  iterator find(const Key& key) {
    const iterator* it = index_.Find(key);
    return it == nullptr ? ordered_.end() : *it;
  }
  const_iterator find(const Key& key) const {
    const iterator* it = index_.Find(key);
    return it == nullptr ? ordered_.end() : const_iterator(*it);
  }
  bool contains(const Key& key) const { return index_.Find(key) != nullptr; }
  // `key` is there.
  Value& at(const Key& key) {
    iterator* it = index_.Find(key);
    KEYHOP_CHECK(it != nullptr, "a key of this map");
    return (*it)->second;
  }
  const Value& at(const Key& key) const {
    const iterator* it = index_.Find(key);
    KEYHOP_CHECK(it != nullptr, "a key of this map");
    return (*it)->second;
  }
  // Makes an empty value where the key is not there.
  Value& operator[](const Key& key) {
    const auto [it, is_new] = ordered_.try_emplace(key);
    if (is_new) index_.Put(key, it);
    return it->second;
  }

 private:
  Ordered ordered_;
  LookupMap<Key, iterator> index_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_BASE_LOOKUP_MAP_H_
