#ifndef KEYHOP_TESTS_KMS_CORE_KEYSTREAM_KEYSTREAM_WORLD_H_
#define KEYHOP_TESTS_KMS_CORE_KEYSTREAM_KEYSTREAM_WORLD_H_
// Two KMEs' key streams in virtual time. SAEs a1, a2 live at A, b1, b2 at B. Draws, fetches and the
// disk are fakes that keep to what the real ones promise: a key is taken once by each SAE named.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kms/core/keystream/keystreams.h"

namespace keyhop {

// A pace that no test meets, but where it says so.
inline const KeystreamQos kQos{.chunk_bytes = 32,
                               .max_bps = 100'000'000,
                               .jitter_bps = 100'000'000,
                               .timeout_ms = 1000,
                               .ttl_s = 60};

class KeystreamWorld {
 public:
  explicit KeystreamWorld(KeystreamConfig config = {}) : config_(config) {
    for (const char* name : {"A", "B"}) {
      nodes_.emplace(name, std::make_unique<Node>(*this, NodeId(name)));
      Start(name);
    }
  }

  void Start(const std::string& name) {
    Node& node = *nodes_.at(name);
    std::vector<KeystreamRecord> streams;
    std::vector<KeystreamChunkRecord> chunks;
    for (const auto& [id, record] : node.streams) streams.push_back(record);
    for (const auto& [at, record] : node.chunks) chunks.push_back(record);
    node.start = {node.start.counter + 1, next_id_++};
    node.core = std::make_unique<Keystreams>(config_, streams, chunks);
    node.core->Start(now_, node);
    Settle();
  }
  void Crash(const std::string& name) {
    Node& node = *nodes_.at(name);
    node.core.reset();
    node.draws.clear();
    Start(name);
  }
  // As the disk was then.
  void Restore(const std::string& name, const std::string& image_of_then) {
    Node& node = *nodes_.at(name);
    node.core.reset();
    node.draws.clear();
    std::tie(node.streams, node.chunks) = images_.at(image_of_then);
    node.start.counter = 0;  // It forgot its starts too.
    Start(name);
  }
  void Image(const std::string& name, const std::string& label) {
    images_[label] = {nodes_.at(name)->streams, nodes_.at(name)->chunks};
  }

  uint64_t Call(KeystreamRequest request) {
    const SaeId caller = std::visit([](const auto& r) { return r.caller; }, request);
    Node& node = *nodes_.at(caller.value.substr(0, 1) == "a" ? "A" : "B");
    const uint64_t token = next_token_++;
    node.core->OnCall(now_, token, std::move(request), node);
    Settle();
    return token;
  }
  uint64_t Open(const std::string& caller, const std::string& source,
                const std::string& destination, KeystreamQos qos = {},
                std::optional<KeyId> id = {}) {
    return Call(KeystreamOpen{SaeId(caller), SaeId(source), SaeId(destination), qos, id, false});
  }
  uint64_t Get(const std::string& caller, const KeyId& id, uint32_t index, uint32_t metadata = 0) {
    return Call(KeystreamGet{SaeId(caller), id, index, metadata});
  }
  uint64_t Close(const std::string& caller, const KeyId& id) {
    return Call(KeystreamClose{SaeId(caller), id});
  }
  // Opens a1 to b1 at both ends.
  KeyId Established(KeystreamQos qos = {}, const std::string& a = "a1",
                    const std::string& b = "b1") {
    const KeyId id = Answer(Open(a, a, b, qos)).id;
    EXPECT_EQ(Status(Open(b, a, b, qos, id)), KeystreamStatus::kSuccessful);
    return id;
  }

  bool answered(uint64_t token) const { return answers_.contains(token); }
  const KeystreamAnswer& Answer(uint64_t token) const {
    const auto it = answers_.find(token);
    static const KeystreamAnswer none;
    if (it == answers_.end() || !std::holds_alternative<KeystreamAnswer>(it->second)) {
      ADD_FAILURE() << "call " << token << " has no answer, or was refused";
      return none;
    }
    return std::get<KeystreamAnswer>(it->second);
  }
  KeystreamStatus Status(uint64_t token) const { return Answer(token).status; }
  std::optional<Refusal::Kind> RefusalOf(uint64_t token) const {
    const auto it = answers_.find(token);
    if (it == answers_.end()) return std::nullopt;
    const auto* refusal = std::get_if<Refusal>(&it->second);
    return refusal == nullptr ? std::nullopt : std::optional(refusal->kind);
  }
  std::string KeyOf(uint64_t token) const {
    const auto bytes = Answer(token).key.Expose(SecretAccess::ForTest());
    return {bytes.begin(), bytes.end()};
  }

  void Run(Duration span) {
    const Instant end = now_ + span;
    while (true) {
      std::optional<Instant> next;
      for (const auto& [name, node] : nodes_) {
        const auto at = node->core->NextDeadline();
        if (at && (!next || *at < *next)) next = at;
      }
      if (!next || *next > end) break;
      now_ = std::max(now_, *next);
      for (const auto& [name, node] : nodes_) {
        const auto at = node->core->NextDeadline();
        if (at && *at <= now_) node->core->OnTick(now_, *node);
      }
      Settle();
    }
    now_ = end;
  }

  Keystreams& core(const std::string& name) { return *nodes_.at(name)->core; }
  size_t records(const std::string& name) const {
    return nodes_.at(name)->streams.size() + nodes_.at(name)->chunks.size();
  }
  // Keys that were drawn and that somebody has not taken yet.
  size_t keys_left() const {
    size_t left = 0;
    for (const auto& [id, key] : keys_) left += key.left.size();
    return left;
  }
  void DropAll(const std::string& name) {
    Node& node = *nodes_.at(name);
    node.core->DropAll(now_, node);
    Settle();
  }
  // There is as much key for `bytes` more, where it is not plenty.
  void AddKey(uint64_t bytes) {
    key_bytes += bytes;
    for (const auto& [name, node] : nodes_) node->core->OnKey(now_, *node);
    Settle();
  }
  Instant now() const { return now_; }

  uint64_t key_bytes = UINT64_MAX / 2;
  uint64_t rate_bps = 100'000'000;
  std::map<std::string, uint64_t> rate_of;  // As one KME knows it.
  bool link_up = true;
  bool reachable = true;  // Whether the KMEs know a way to each other.
  std::set<std::string> suspended;
  // Whether a note gets through; all do if there is none.
  std::function<bool(const std::string& from, const KeystreamNote& note)> passes;
  std::vector<std::string> drawn_for;  // The first SAE of each draw, in order.

 private:
  struct Key {
    std::string bytes;
    SaeId master;
    std::set<SaeId> left;
  };
  struct Node final : KeystreamContext {
    Node(KeystreamWorld& w, NodeId n) : world(w), name(std::move(n)) {}
    const NodeId& Self() const override { return name; }
    std::optional<NodeId> HomeOf(const SaeId& sae) const override {
      if (sae.value == "a1" || sae.value == "a2") return NodeId("A");
      if (sae.value == "b1" || sae.value == "b2") return NodeId("B");
      return std::nullopt;
    }
    bool MayAct(const SaeId& sae) const override {
      return HomeOf(sae) == name && !world.suspended.contains(sae.value);
    }
    bool Reachable(const NodeId&) const override { return world.reachable; }
    uint64_t FreeRateTo(const NodeId&, const std::map<NodeId, uint64_t>& reserved) const override {
      uint64_t sum = 0;
      for (const auto& [home, bps] : reserved) sum += bps;
      const auto own = world.rate_of.find(name.value);
      const uint64_t rate = own == world.rate_of.end() ? world.rate_bps : own->second;
      return rate - std::min(rate, sum);
    }
    uint32_t HopsTo(const NodeId&) const override { return 2; }
    KeyId NewId() override { return world.NewId(0x55); }
    bool BeginDraw(uint64_t ticket, const SaeId& master, const SaeId& slave, uint32_t number,
                   uint32_t bytes) override {
      if (world.key_bytes < uint64_t{number} * bytes) return false;
      world.key_bytes -= uint64_t{number} * bytes;
      world.drawn_for.push_back(master.value);
      std::vector<KeyId> ids;
      for (uint32_t i = 0; i < number; ++i) {
        const KeyId id = world.NewId(0x77);
        std::string key(bytes, '\0');
        for (size_t k = 0; k < key.size(); ++k) key[k] = static_cast<char>(id[k % 16] ^ k);
        world.keys_[id] = {key, master, {master, slave}};
        ids.push_back(id);
      }
      draws.emplace_back(ticket, std::move(ids));
      return true;
    }
    Outcome<SecretBytes> Take(const SaeId& caller, const SaeId& master, const KeyId& key_id,
                              WriteSeq& after) override {
      const auto it = world.keys_.find(key_id);
      if (it == world.keys_.end() || it->second.master != master ||
          it->second.left.erase(caller) == 0) {
        return Refusal{Refusal::Kind::kNotFound, kKeysNotFound, {}, std::nullopt};
      }
      after = 1;
      const std::string& bytes = it->second.bytes;
      return SecretBytes::CopyOf(
          std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
    }
    WriteSeq Write(KeystreamRecord record) override {
      if (record.erased) {
        streams.erase(record.id);
      } else {
        streams[record.id] = std::move(record);
      }
      return 1;
    }
    WriteSeq Write(KeystreamChunkRecord record) override {
      if (record.erased) {
        chunks.erase({record.id, record.index});
      } else {
        chunks[{record.id, record.index}] = record;
      }
      return 1;
    }
    void Say(const NodeId& peer, KeystreamNote note, WriteSeq) override {
      if (!world.link_up) return;
      if (world.passes && !world.passes(name.value, note)) return;
      note.session.first = start;
      world.notes_.push_back({name, peer, std::move(note)});
    }
    void Answer(uint64_t token, Outcome<KeystreamAnswer> outcome, WriteSeq) override {
      EXPECT_TRUE(world.answers_.emplace(token, std::move(outcome)).second) << "answered twice";
    }

    KeystreamWorld& world;
    NodeId name;
    Incarnation start = {};
    std::unique_ptr<Keystreams> core;
    std::map<KeyId, KeystreamRecord> streams;
    std::map<std::pair<KeyId, uint64_t>, KeystreamChunkRecord> chunks;
    std::deque<std::pair<uint64_t, std::vector<KeyId>>> draws;
  };
  struct Said {
    NodeId from;
    NodeId to;
    KeystreamNote note;
  };

  KeyId NewId(uint8_t kind) {
    KeyId id = {};
    id[0] = kind;
    for (size_t i = 0; i < 8; ++i) id[8 + i] = static_cast<uint8_t>(next_id_ >> (56 - 8 * i));
    ++next_id_;
    return id;
  }
  void Settle() {
    for (int i = 0; i < 10'000; ++i) {
      bool any = false;
      for (const auto& [name, node] : nodes_) {
        if (!node->core || node->draws.empty()) continue;
        any = true;
        const auto [ticket, ids] = node->draws.front();
        node->draws.pop_front();
        node->core->OnDrawn(now_, ticket, ids, 1, *node);
      }
      if (!notes_.empty()) {
        any = true;
        const Said said = std::move(notes_.front());
        notes_.pop_front();
        Node& node = *nodes_.at(said.to.value);
        node.core->OnNote(now_, said.from, said.note, node);
      }
      // What is due at once.
      for (const auto& [name, node] : nodes_) {
        if (!node->core) continue;
        const auto at = node->core->NextDeadline();
        if (at && *at <= now_) {
          any = true;
          node->core->OnTick(now_, *node);
        }
      }
      if (!any) return;
    }
    FAIL() << "two KMEs that never stop talking";
  }

  const KeystreamConfig config_;
  std::map<std::string, std::unique_ptr<Node>> nodes_;
  std::map<std::string, std::pair<decltype(Node::streams), decltype(Node::chunks)>> images_;
  std::deque<Said> notes_;
  std::map<KeyId, Key> keys_;
  std::map<uint64_t, Outcome<KeystreamAnswer>> answers_;
  Instant now_{1'000'000'000};
  uint64_t next_token_ = 1;
  uint64_t next_id_ = 1;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_CORE_KEYSTREAM_KEYSTREAM_WORLD_H_
