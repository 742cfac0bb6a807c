#include "trusted_node/telemetry/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <cstdint>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace keyhop {
namespace {

using Labels = std::map<std::string, std::string>;

class Page {
 public:
  void Gauge(const std::string& name, const std::string& help, const Labels& labels, double value) {
    prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add(labels).Set(value);
  }
  void Counter(const std::string& name, const std::string& help, const Labels& labels,
               uint64_t value) {
    prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add(labels).Increment(
        static_cast<double>(value));
  }
  std::string Text() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, registry_.Collect());
    return out.str();
  }

 private:
  prometheus::Registry registry_{prometheus::Registry::InsertBehavior::Merge};
};

// The core's counters by the metric that they belong to.
struct Named {
  std::string counter;
  const char* metric;
  Labels labels;
  const char* help;
};

std::vector<Named> MakeNamedCounters() {
  static constexpr char kDraws[] = "Get key requests by result.";
  static constexpr char kFetches[] = "Get key with key IDs requests by result.";
  static constexpr char kFrames[] = "Relay frames by role of this node.";
  static constexpr char kBytes[] = "Segment body bytes by role of this node.";
  static constexpr char kPadBlocks[] = "Blocks offered by QKD modules, by result.";
  static constexpr char kRefusals[] = "Requests of SAEs that the core refused, by reason.";
  std::vector<Named> named = {
      {"draws_ok", "keyhop_draws_total", {{"result", "ok"}}, kDraws},
      {"draws_refused", "keyhop_draws_total", {{"result", "refused"}}, kDraws},
      {"draws_waited",
       "keyhop_draws_waited_total",
       {},
       "Get key requests that had to wait for their pair to be filled."},
      {"fetches_ok", "keyhop_fetches_total", {{"result", "ok"}}, kFetches},
      {"fetches_refused", "keyhop_fetches_total", {{"result", "refused"}}, kFetches},
      {"keys_drawn", "keyhop_keys_drawn_total", {}, "Keys handed to masters."},
      {"keys_fetched", "keyhop_keys_fetched_total", {}, "Keys handed to slaves."},
      {"relay_frames_originated", "keyhop_relay_frames_total", {{"role", "source"}}, kFrames},
      {"relay_frames_forwarded", "keyhop_relay_frames_total", {{"role", "intermediate"}}, kFrames},
      {"relay_frames_received", "keyhop_relay_frames_total", {{"role", "receiver"}}, kFrames},
      {"relay_bytes_originated", "keyhop_relay_bytes_total", {{"role", "source"}}, kBytes},
      {"relay_bytes_forwarded", "keyhop_relay_bytes_total", {{"role", "intermediate"}}, kBytes},
      {"relay_bytes_received", "keyhop_relay_bytes_total", {{"role", "receiver"}}, kBytes},
      {"pad_blocks_taken", "keyhop_pad_blocks_total", {{"result", "taken"}}, kPadBlocks},
      {"pad_blocks_refused", "keyhop_pad_blocks_total", {{"result", "refused"}}, kPadBlocks},
      {"segments_delivered",
       "keyhop_segments_delivered_total",
       {},
       "Segments that reached this node as their destination."},
      {"stream_burnt_bytes",
       "keyhop_stream_burnt_bytes_total",
       {},
       "Stream bytes that were never delivered: lost segments, ended sessions, old leases."},
      {"stream_acknowledged_bytes",
       "keyhop_stream_acknowledged_bytes_total",
       {},
       "Stream bytes that destinations acknowledged to this node."},
      {"epochs_opened", "keyhop_epochs_opened_total", {}, "Epochs opened by this node."},
      {"control_sent",
       "keyhop_control_messages_total",
       {{"role", "sent"}},
       "Routed control messages by role of this node."},
      {"control_forwarded",
       "keyhop_control_messages_total",
       {{"role", "forwarded"}},
       "Routed control messages by role of this node."},
  };
  for (const char* request : {"draw", "fetch", "status"}) {
    for (const Refusal::Kind kind : Refusal::kKinds) {
      const std::string reason = Refusal::NameOf(kind);
      named.push_back({"refusal_" + std::string(request) + "_" + reason,
                       "keyhop_refusals_total",
                       {{"request", request}, {"reason", reason}},
                       kRefusals});
    }
  }
  return named;
}

const std::vector<Named>& NamedCounters() {
  static const auto* named = new std::vector<Named>(MakeNamedCounters());
  return *named;
}

}  // namespace

std::string MetricsText(const NodeSnapshot& snapshot, const BuildInfo& build, size_t pairs_max) {
  Page page;
  page.Gauge("keyhop_build_info", "Always 1; the labels say what runs.",
             {{"version", build.version}, {"compiler", build.compiler}}, 1);
  for (const auto& [id, link] : snapshot.links) {
    const auto& [peer, levels] = link;
    const Labels labels = {{"link", id.value}, {"peer", peer.value}};
    const auto direction = [&](const char* name) {
      Labels with = labels;
      with["direction"] = name;
      return with;
    };
    page.Gauge("keyhop_link_module_up", "1 if the QKD modules say the link makes key.", labels,
               levels.module_up);
    page.Gauge("keyhop_link_admin_up", "0 while an operator keeps the link out of use.", labels,
               !snapshot.links_down.contains(id));
    page.Gauge("keyhop_link_session_open", "1 if both ends agreed on a session.", labels,
               levels.session_open);
    page.Gauge("keyhop_link_qber_ratio", "Quantum bit error rate.", labels,
               static_cast<double>(levels.qber_ppm) / 1e6);
    page.Gauge("keyhop_link_secret_key_bits_per_second", "Secret key rate of the modules.", labels,
               static_cast<double>(levels.rate_bps));
    page.Gauge("keyhop_pad_stock_bytes", "Pads not leased yet, for both directions.", labels,
               static_cast<double>(levels.stock_bytes));
    page.Gauge("keyhop_pad_leased_bytes", "Pads leased and unused.", direction("send"),
               static_cast<double>(levels.send_open_bytes));
    page.Gauge("keyhop_pad_leased_bytes", "Pads leased and unused.", direction("receive"),
               static_cast<double>(levels.receive_open_bytes));
    page.Counter("keyhop_pad_used_bytes_total", "Pad bytes spent on frames sent.", labels,
                 levels.used_bytes);
    page.Counter("keyhop_pad_burnt_bytes_total", "Pad bytes that protected nothing.", labels,
                 levels.burnt_bytes);
    page.Counter("keyhop_failed_tags_total", "Frames that failed their tag.", labels,
                 levels.failed_tags);
  }
  for (const auto& [peer, connected] : snapshot.peers) {
    page.Gauge("keyhop_peer_connected", "1 if the Kx transport to the neighbour is up.",
               {{"peer", peer.value}}, connected);
  }
  double open = 0;
  double stock = 0;
  size_t shown = 0;
  const auto pool = [&](const std::string& destination, const std::string& paths, double open_bytes,
                        double stock_bytes) {
    page.Gauge("keyhop_pool_bytes", "Key bytes of a pair stream that this node draws from.",
               {{"destination", destination}, {"paths", paths}, {"state", "leased"}}, open_bytes);
    page.Gauge("keyhop_pool_bytes", "Key bytes of a pair stream that this node draws from.",
               {{"destination", destination}, {"paths", paths}, {"state", "stock"}}, stock_bytes);
  };
  for (const PoolLevels& levels : snapshot.pools) {
    const double open_bytes = static_cast<double>(levels.open_bytes);
    const double stock_bytes = static_cast<double>(levels.stock_bytes);
    if (shown++ < pairs_max) {
      pool(levels.stream.destination.value, std::to_string(levels.stream.paths), open_bytes,
           stock_bytes);
    } else {
      open += open_bytes;
      stock += stock_bytes;
    }
  }
  if (shown > pairs_max) pool("other", "any", open, stock);
  page.Gauge("keyhop_lease_memory_bytes", "Open leases of pads and streams in memory.", {},
             static_cast<double>(snapshot.leased_bytes));
  page.Gauge("keyhop_streams_served", "Pair streams whose source was heard since the start.", {},
             static_cast<double>(snapshot.served_streams));

  const auto value = [&](const std::string& name) -> uint64_t {
    const auto it = snapshot.counters.find(name);
    return it == snapshot.counters.end() ? 0 : it->second;
  };
  std::map<std::string, uint64_t> rest = snapshot.counters;
  for (const Named& named : NamedCounters()) {
    page.Counter(named.metric, named.help, named.labels, value(named.counter));
    rest.erase(named.counter);
  }
  constexpr absl::string_view kAnswers = "rest_answers_";
  for (auto it = rest.lower_bound(std::string(kAnswers));
       it != rest.end() && absl::StartsWith(it->first, kAnswers); it = rest.erase(it)) {
    page.Counter("keyhop_rest_answers_total", "Answers of the REST listener by HTTP status code.",
                 {{"code", it->first.substr(kAnswers.size())}}, it->second);
  }
  // Whatever else the core counts is a refusal or an error, by its reason.
  for (const auto& [reason, count] : rest) {
    page.Counter("keyhop_errors_total", "Refused, dropped or failed, by reason.",
                 {{"reason", reason}}, count);
  }
  return page.Text();
}

}  // namespace keyhop
