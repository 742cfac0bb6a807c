#include "sim/scenario/report.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "kms/ak/answer_writer.h"
#include "sim/scenario/max_min.h"

namespace keyhop::sim {
namespace {

// Names have no quotes and no line ends, but may have commas.
std::string Field(const std::string& text) {
  if (text.find(',') == std::string::npos && text.find('"') == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string JsonText(const std::string& text) {
  std::string out;
  AppendJsonString(out, text);
  return out;
}

// What a pair takes of the links for each bit of key that it is given: by the paths that its
// segments took; if there were none, by that of the fewest hops.
Flow FlowOf(const Scenario& scenario, size_t pair, const PairOutcome& outcome,
            const std::map<std::pair<size_t, size_t>, size_t>& link_of) {
  Flow flow;
  flow.demand = static_cast<double>(scenario.demand[pair].rate_bps);
  uint64_t body_bytes = 0;
  for (const auto& [path, use] : outcome.paths) body_bytes += use.body_bytes;
  // Each share of a segment is as long as the segment.
  const double keys = static_cast<double>(body_bytes) / scenario.text.demand().paths_min();
  std::map<size_t, double> parts;
  for (const auto& [path, use] : outcome.paths) {
    const auto pads = static_cast<double>(use.body_bytes + use.frames * kRelayPadBytes);
    for (size_t i = 0; i + 1 < path.size(); ++i) {
      parts[link_of.at(std::minmax(path[i], path[i + 1]))] += pads / keys;
    }
  }
  if (outcome.paths.empty()) {
    const PairDemand& demand = scenario.demand[pair];
    const std::vector<size_t> path = FewestHops(scenario.network, demand.master, demand.slave);
    for (size_t i = 0; i + 1 < path.size(); ++i) {
      parts[link_of.at(std::minmax(path[i], path[i + 1]))] += 1;
    }
  }
  for (const auto& [link, part] : parts) flow.uses.push_back({link, part});
  return flow;
}

std::vector<double> FairRates(const Scenario& scenario, const ScenarioOutcome& outcome) {
  const double seconds = SecondsOf(scenario.text.duration());
  std::map<std::pair<size_t, size_t>, size_t> link_of;
  std::vector<double> capacity;
  for (size_t l = 0; l < scenario.network.fibres.size(); ++l) {
    const Fibre& fibre = scenario.network.fibres[l];
    const LinkOutcome& link = outcome.links[l];
    link_of[{fibre.a, fibre.b}] = l;
    const auto stock = static_cast<double>(link.made_before_bits - link.used_before_bits);
    capacity.push_back(static_cast<double>(fibre.rate_bps) * (seconds - link.stopped_s) / seconds +
                       stock / seconds);
  }
  std::vector<Flow> flows;
  for (size_t i = 0; i < scenario.demand.size(); ++i) {
    flows.push_back(FlowOf(scenario, i, outcome.pairs[i], link_of));
  }
  return MaxMinRates(flows, std::move(capacity));
}

double MeanHops(const PairOutcome& pair) {
  double hops = 0;
  double bytes = 0;
  for (const auto& [path, use] : pair.paths) {
    hops += static_cast<double>((path.size() - 1) * use.body_bytes);
    bytes += static_cast<double>(use.body_bytes);
  }
  return bytes > 0 ? hops / bytes : 0;
}

std::string PairsCsv(const Scenario& scenario, const ScenarioOutcome& outcome,
                     const Figures& figures) {
  std::string out =
      "master,slave,demand_bps,delivered_bps,fair_bps,share,requests,blocked,drawn_bits,"
      "delivered_bits,latency_ms_p50,latency_ms_p99,hops_mean,paths_used\n";
  for (size_t i = 0; i < scenario.demand.size(); ++i) {
    const PairOutcome& pair = outcome.pairs[i];
    absl::StrAppendFormat(&out, "%s,%s,%d,%.3f,%.3f,%.4f,%d,%d,%d,%d,%d,%d,%.3f,%d\n",
                          Field(scenario.network.sites[scenario.demand[i].master].id),
                          Field(scenario.network.sites[scenario.demand[i].slave].id),
                          scenario.demand[i].rate_bps, figures.delivered_bps[i],
                          figures.fair_bps[i], figures.share[i], pair.requests, pair.blocked,
                          pair.drawn_bits, pair.delivered_bits, Quantile(pair.latency_ms, 0.5),
                          Quantile(pair.latency_ms, 0.99), MeanHops(pair), pair.paths.size());
  }
  return out;
}

std::string LinksCsv(const Scenario& scenario, const ScenarioOutcome& outcome) {
  std::string out =
      "a,b,length_km,loss_db,rate_bps,made_bits,used_a_to_b_bits,used_b_to_a_bits,stopped_s\n";
  for (size_t l = 0; l < scenario.network.fibres.size(); ++l) {
    const Fibre& fibre = scenario.network.fibres[l];
    const LinkOutcome& link = outcome.links[l];
    absl::StrAppendFormat(
        &out, "%s,%s,%.3f,%.3f,%d,%d,%d,%d,%.3f\n", Field(scenario.network.sites[fibre.a].id),
        Field(scenario.network.sites[fibre.b].id), std::max(0.0, fibre.length_km), fibre.loss_db,
        fibre.rate_bps, link.made_bits, link.used_bits[0], link.used_bits[1], link.stopped_s);
  }
  return out;
}

std::string NodesCsv(const Scenario& scenario, const ScenarioOutcome& outcome) {
  std::string out = "node,in_span,links,originated_bytes,relayed_bytes\n";
  std::vector<int> degree(scenario.network.sites.size(), 0);
  for (const Fibre& fibre : scenario.network.fibres) {
    ++degree[fibre.a];
    ++degree[fibre.b];
  }
  for (size_t i = 0; i < scenario.network.sites.size(); ++i) {
    absl::StrAppendFormat(&out, "%s,%d,%d,%d,%d\n", Field(scenario.network.sites[i].id),
                          scenario.network.sites[i].in_span ? 1 : 0, degree[i],
                          outcome.nodes[i].originated_bytes, outcome.nodes[i].relayed_bytes);
  }
  return out;
}

std::string EventsCsv(const Scenario& scenario, const ScenarioOutcome& outcome) {
  std::string out = "at_s,kind,nodes,lasts_s,converged_s\n";
  for (int i = 0; i < scenario.text.events_size(); ++i) {
    const auto& event = scenario.text.events(i);
    const auto& converged = outcome.converged_s[static_cast<size_t>(i)];
    absl::StrAppendFormat(&out, "%.3f,%s,%s,%.3f,%s\n", SecondsOf(event.at()),
                          scenario::v1::EventKind_Name(event.kind()),
                          Field(absl::StrJoin(event.nodes(), " ")), SecondsOf(event.lasts()),
                          converged ? absl::StrFormat("%.3f", *converged) : "");
  }
  return out;
}

std::string TimelineCsv(const Scenario& scenario, const ScenarioOutcome& outcome) {
  std::string out = "from_s,to_s,delivered_bps\n";
  const std::vector<uint64_t>& bins = outcome.delivered_bits_in_bin;
  const double width = SecondsOf(scenario.text.duration()) / static_cast<double>(bins.size());
  for (size_t i = 0; i < bins.size(); ++i) {
    absl::StrAppendFormat(&out, "%.3f,%.3f,%.3f\n", width * static_cast<double>(i),
                          width * static_cast<double>(i + 1), static_cast<double>(bins[i]) / width);
  }
  return out;
}

std::string OrNull(const std::optional<double>& value) {
  return value ? absl::StrFormat("%.3f", *value) : "null";
}

std::string ResultJson(const Scenario& scenario, const ScenarioOutcome& outcome,
                       const Figures& figures) {
  std::vector<uint32_t> latency;
  uint64_t requests = 0;
  uint64_t blocked = 0;
  uint64_t relayed = 0;
  for (const PairOutcome& pair : outcome.pairs) {
    latency.insert(latency.end(), pair.latency_ms.begin(), pair.latency_ms.end());
    requests += pair.requests;
    blocked += pair.blocked;
  }
  for (const NodeOutcome& node : outcome.nodes) relayed += node.relayed_bytes;
  std::string out = "{\n";
  const auto add = [&](const char* name, const std::string& value) {
    absl::StrAppend(&out, out.size() > 2 ? ",\n" : "", "  \"", name, "\": ", value);
  };
  const auto real = [](double value) { return absl::StrFormat("%.6g", value); };
  add("name", JsonText(scenario.text.name()));
  add("seed", absl::StrCat(scenario.text.seed()));
  add("basis", JsonText("simulation of the key managers' own code in virtual time; link rates by "
                        "the scenario"));
  add("warm_up_s", real(SecondsOf(scenario.text.warm_up())));
  add("duration_s", real(SecondsOf(scenario.text.duration())));
  add("nodes", absl::StrCat(scenario.network.sites.size()));
  add("links", absl::StrCat(scenario.network.fibres.size()));
  add("pairs", absl::StrCat(scenario.demand.size()));
  add("violation", outcome.violation
                       ? JsonText(outcome.violation->invariant + ": " + outcome.violation->text)
                       : "null");
  add("demand_bps", real(figures.demand_bps));
  add("delivered_bps", real(figures.delivered_sum_bps));
  add("fair_bps", real(figures.fair_sum_bps));
  add("jain_index", real(figures.jain));
  add("worst_share", real(figures.worst_share));
  const PairDemand& worst = scenario.demand[figures.worst_pair];
  add("worst_pair", JsonText(scenario.network.sites[worst.master].id + " > " +
                             scenario.network.sites[worst.slave].id));
  add("requests", absl::StrCat(requests));
  add("blocked", absl::StrCat(blocked));
  add("blocking", real(figures.blocking));
  add("latency_ms_p50", absl::StrCat(Quantile(latency, 0.5)));
  add("latency_ms_p99", absl::StrCat(Quantile(latency, 0.99)));
  add("pad_efficiency", real(figures.pad_efficiency));
  add("relayed_bytes", absl::StrCat(relayed));
  add("convergence_s_median", OrNull(figures.convergence_median_s));
  add("convergence_s_worst", OrNull(figures.convergence_worst_s));
  add("simulation_events", absl::StrCat(outcome.events));
  return out + "\n}\n";
}

}  // namespace

uint32_t Quantile(std::vector<uint32_t> values, double part) {
  if (values.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(part * static_cast<double>(values.size())));
  const size_t index = std::clamp<size_t>(rank, 1, values.size()) - 1;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(index),
                   values.end());
  return values[index];
}

Figures FiguresOf(const Scenario& scenario, const ScenarioOutcome& outcome) {
  Figures out;
  const double seconds = SecondsOf(scenario.text.duration());
  out.fair_bps = FairRates(scenario, outcome);
  uint64_t requests = 0;
  uint64_t blocked = 0;
  double key_bit_hops = 0;
  for (size_t i = 0; i < scenario.demand.size(); ++i) {
    const PairOutcome& pair = outcome.pairs[i];
    const double delivered = static_cast<double>(pair.delivered_bits) / seconds;
    const double fair = out.fair_bps[i];
    out.delivered_bps.push_back(delivered);
    const double share = fair > 0 ? delivered / fair : 1;
    out.share.push_back(share);
    out.demand_bps += static_cast<double>(scenario.demand[i].rate_bps);
    out.delivered_sum_bps += delivered;
    out.fair_sum_bps += fair;
    if (i == 0 || share < out.worst_share) {
      out.worst_share = share;
      out.worst_pair = i;
    }
    requests += pair.requests;
    blocked += pair.blocked;
    key_bit_hops += static_cast<double>(pair.delivered_bits) * MeanHops(pair);
  }
  double used = 0;
  for (const LinkOutcome& link : outcome.links) {
    used += static_cast<double>(link.used_bits[0] + link.used_bits[1]);
  }
  out.jain = JainIndex(out.share);
  out.blocking = requests > 0 ? static_cast<double>(blocked) / static_cast<double>(requests) : 0;
  out.pad_efficiency = used > 0 ? key_bit_hops / used : 0;
  std::vector<double> times;
  for (const std::optional<double>& time : outcome.converged_s) {
    if (time) times.push_back(*time);
  }
  if (!times.empty() && times.size() == outcome.converged_s.size()) {
    std::sort(times.begin(), times.end());
    out.convergence_median_s = times[(times.size() - 1) / 2];
    out.convergence_worst_s = times.back();
  }
  return out;
}

std::map<std::string, std::string> ReportFiles(const Scenario& scenario,
                                               const ScenarioOutcome& outcome) {
  const Figures figures = FiguresOf(scenario, outcome);
  return {{"result.json", ResultJson(scenario, outcome, figures)},
          {"pairs.csv", PairsCsv(scenario, outcome, figures)},
          {"links.csv", LinksCsv(scenario, outcome)},
          {"nodes.csv", NodesCsv(scenario, outcome)},
          {"events.csv", EventsCsv(scenario, outcome)},
          {"timeline.csv", TimelineCsv(scenario, outcome)},
          {"report.html", HtmlReport(scenario, outcome, figures)}};
}

}  // namespace keyhop::sim
