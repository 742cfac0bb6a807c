// The report as one page: figures, a map, curves, tables. Pictures are SVG in the page; nothing is
// fetched, no script runs.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "sim/scenario/report.h"

namespace keyhop::sim {
namespace {

constexpr double kMapWidth = 900;
constexpr double kMapHeight = 560;
constexpr double kMargin = 28;
constexpr size_t kLabelsMax = 60;  // More names than these would cover each other.
constexpr size_t kRowsMax = 25;
constexpr int kShareBars = 20;

constexpr char kStyle[] = R"(
:root { --ink: #1c2733; --paper: #ffffff; --soft: #5b6b7b; --line: #d5dde5; --fill: #eef2f6;
  --main: #1f6fb4; --bad: #c0392b; --cold: #2b7bba; --warm: #e0912f; --hot: #c0392b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #12181f; --soft: #9aa9b8;
  --line: #2c3846; --fill: #1b242e; --main: #5aa9e6; --bad: #ff7b6b; --cold: #5aa9e6;
  --warm: #f0b060; --hot: #ff7b6b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 940px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p.note, figcaption { color: var(--soft); } figure { margin: 1rem 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(165px, 1fr)); gap: .6rem; }
.tile { background: var(--fill); border-radius: 6px; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.25rem; } .tile span { color: var(--soft); font-size: .85rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .5rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
svg { width: 100%; height: auto; background: var(--fill); border-radius: 6px; }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif; }
.axis { stroke: var(--line); } .curve { fill: none; stroke: var(--main); stroke-width: 2; }
.bar { fill: var(--main); } .event { fill: var(--bad); opacity: .18; }
.node { fill: var(--ink); } .span { fill: var(--soft); }
.cold { stroke: var(--cold); } .warm { stroke: var(--warm); } .hot { stroke: var(--hot); }
)";

std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

// 1234567 as "1.23 M".
std::string Short(double value) {
  for (const auto& [unit, size] :
       {std::pair{" G", 1e9}, std::pair{" M", 1e6}, std::pair{" k", 1e3}}) {
    if (value >= size) return absl::StrFormat("%.3g%s", value / size, unit);
  }
  return absl::StrFormat("%.3g", value);
}

std::string Percent(double part) { return absl::StrFormat("%.1f %%", part * 100); }

class Page {
 public:
  Page(const Scenario& scenario, const ScenarioOutcome& outcome, const Figures& figures)
      : scenario_(scenario), outcome_(outcome), figures_(figures) {}

  std::string Text() {
    const std::string title = Escaped(scenario_.text.name());
    absl::StrAppend(&out_, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n",
                    "<meta name=\"viewport\" content=\"width=device-width\">\n<title>", title,
                    "</title>\n<style>", kStyle, "</style></head><body>\n<h1>", title, "</h1>\n");
    if (!scenario_.text.about().empty()) {
      absl::StrAppend(&out_, "<p>", Escaped(scenario_.text.about()), "</p>\n");
    }
    absl::StrAppendFormat(
        &out_,
        "<p class=\"note\">%d nodes, %d links, %d pairs; %.0f s measured after %.0f s; seed %d. "
        "The key managers are the daemon's own code in virtual time; link rates are the "
        "scenario's.</p>\n",
        scenario_.network.sites.size(), scenario_.network.fibres.size(), scenario_.demand.size(),
        SecondsOf(scenario_.text.duration()), SecondsOf(scenario_.text.warm_up()),
        scenario_.text.seed());
    Tiles();
    Map();
    Timeline();
    Shares();
    Events();
    WorstPairs();
    BusiestLinks();
    return out_ + "</body></html>\n";
  }

 private:
  void Tile(const std::string& value, const char* what) {
    absl::StrAppend(&out_, "<div class=\"tile\"><b>", value, "</b><span>", what, "</span></div>\n");
  }

  void Tiles() {
    absl::StrAppend(&out_, "<div class=\"tiles\">\n");
    Tile(Short(figures_.delivered_sum_bps), "key bits per second delivered");
    Tile(Short(figures_.demand_bps), "asked for");
    Tile(Short(figures_.fair_sum_bps), "max-min fair over the same paths");
    Tile(Percent(figures_.blocking), "of requests got no key");
    Tile(Percent(figures_.worst_share), "of its fair share has the worst pair");
    Tile(absl::StrFormat("%.3f", figures_.jain), "Jain's index of the shares");
    Tile(Percent(figures_.pad_efficiency), "of the relays' pad bits became key, hop by hop");
    if (figures_.convergence_worst_s) {
      Tile(absl::StrFormat("%.1f s", *figures_.convergence_worst_s),
           "worst time from an event to the last pair served again");
    }
    Tile(outcome_.violation ? Escaped(outcome_.violation->invariant) : "none",
         "invariants violated");
    absl::StrAppend(&out_, "</div>\n");
  }

  // ---- The map.

  struct Frame {
    double x0 = 0, y0 = 0, scale = 1, left = 0, top = 0;
    double X(double x) const { return left + (x - x0) * scale; }
    double Y(double y) const { return top - (y - y0) * scale; }
  };
  Frame FrameOf() const {
    const auto& sites = scenario_.network.sites;
    const auto by_x = std::minmax_element(sites.begin(), sites.end(),
                                          [](const Site& a, const Site& b) { return a.x < b.x; });
    const auto by_y = std::minmax_element(sites.begin(), sites.end(),
                                          [](const Site& a, const Site& b) { return a.y < b.y; });
    const double width = std::max(by_x.second->x - by_x.first->x, 1e-9);
    const double height = std::max(by_y.second->y - by_y.first->y, 1e-9);
    Frame frame;
    frame.scale = std::min((kMapWidth - 2 * kMargin) / width, (kMapHeight - 2 * kMargin) / height);
    frame.x0 = by_x.first->x;
    frame.y0 = by_y.first->y;
    frame.left = (kMapWidth - width * frame.scale) / 2;
    frame.top = (kMapHeight + height * frame.scale) / 2;
    return frame;
  }

  // Part of what the link made, and had in stock, that relays took.
  double UseOf(size_t l) const {
    const LinkOutcome& link = outcome_.links[l];
    const double had = static_cast<double>(scenario_.network.fibres[l].rate_bps) *
                       SecondsOf(scenario_.text.duration());
    const auto used = static_cast<double>(link.used_bits[0] + link.used_bits[1]);
    return had > 0 ? std::min(1.0, used / had) : 0;
  }

  void Map() {
    const Frame frame = FrameOf();
    const Network& network = scenario_.network;
    absl::StrAppendFormat(&out_,
                          "<h2>The network</h2>\n<figure><svg viewBox=\"0 0 %.0f %.0f\" "
                          "role=\"img\" aria-label=\"Map of the network\">\n",
                          kMapWidth, kMapHeight);
    uint64_t rate_max = 1;
    for (const Fibre& fibre : network.fibres) rate_max = std::max(rate_max, fibre.rate_bps);
    for (size_t l = 0; l < network.fibres.size(); ++l) {
      const Fibre& fibre = network.fibres[l];
      const Site& a = network.sites[fibre.a];
      const Site& b = network.sites[fibre.b];
      const double use = UseOf(l);
      const double width =
          1 + 3 * std::sqrt(static_cast<double>(fibre.rate_bps) / static_cast<double>(rate_max));
      absl::StrAppendFormat(
          &out_,
          "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" "
          "stroke-width=\"%.1f\"><title>%s - %s: %s bit/s, %s used</title></line>\n",
          use > 0.8   ? "hot"
          : use > 0.4 ? "warm"
                      : "cold",
          frame.X(a.x), frame.Y(a.y), frame.X(b.x), frame.Y(b.y), width, Escaped(a.id),
          Escaped(b.id), Short(static_cast<double>(fibre.rate_bps)), Percent(use));
    }
    uint64_t relayed_max = 1;
    for (const NodeOutcome& node : outcome_.nodes) {
      relayed_max = std::max(relayed_max, node.relayed_bytes);
    }
    const double base = network.sites.size() > 200 ? 1.5 : 4;
    for (size_t i = 0; i < network.sites.size(); ++i) {
      const Site& site = network.sites[i];
      const double radius =
          base + 2 * base *
                     std::sqrt(static_cast<double>(outcome_.nodes[i].relayed_bytes) /
                               static_cast<double>(relayed_max));
      absl::StrAppendFormat(
          &out_,
          "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"><title>%s: %s bytes "
          "relayed</title></circle>\n",
          site.in_span ? "span" : "node", frame.X(site.x), frame.Y(site.y), radius,
          Escaped(site.id), Short(static_cast<double>(outcome_.nodes[i].relayed_bytes)));
      if (network.sites.size() <= kLabelsMax && !site.in_span) {
        absl::StrAppendFormat(&out_, "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n",
                              frame.X(site.x) + radius + 2, frame.Y(site.y) - radius,
                              Escaped(site.id));
      }
    }
    absl::StrAppend(&out_,
                    "</svg><figcaption>Links: as wide as they make key; blue up to 40 %, orange up "
                    "to 80 %, red above of what they made was used. Nodes: as large as they "
                    "relayed.</figcaption></figure>\n");
  }

  // ---- Curves.

  void Timeline() {
    constexpr double width = 900, height = 220, left = 60, bottom = 190, top = 12;
    const double seconds = SecondsOf(scenario_.text.duration());
    const auto& bins = outcome_.delivered_bits_in_bin;
    const double bin_s = seconds / static_cast<double>(bins.size());
    double most = figures_.demand_bps;
    for (const uint64_t bits : bins) most = std::max(most, static_cast<double>(bits) / bin_s);
    most = std::max(most, 1.0);
    const auto x = [&](double t) { return left + (width - left - 10) * t / seconds; };
    const auto y = [&](double v) { return bottom - (bottom - top) * v / most; };
    absl::StrAppendFormat(&out_,
                          "<h2>Key delivered over time</h2>\n<figure><svg viewBox=\"0 0 %.0f "
                          "%.0f\" role=\"img\" aria-label=\"Key delivered over time\">\n",
                          width, height);
    for (const auto& event : scenario_.text.events()) {
      const double from = SecondsOf(event.at());
      const double to = std::min(seconds, from + SecondsOf(event.lasts()));
      absl::StrAppendFormat(&out_,
                            "<rect class=\"event\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                            "height=\"%.1f\"><title>%s %s</title></rect>\n",
                            x(from), top, std::max(1.0, x(to) - x(from)), bottom - top,
                            scenario::v1::EventKind_Name(event.kind()),
                            Escaped(absl::StrJoin(event.nodes(), " ")));
    }
    for (int i = 0; i <= 4; ++i) {
      const double value = most * i / 4;
      absl::StrAppendFormat(&out_,
                            "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" "
                            "y2=\"%.1f\"/><text x=\"4\" y=\"%.1f\">%s</text>\n",
                            left, width - 10, y(value), y(value), y(value) + 4, Short(value));
      absl::StrAppendFormat(&out_, "<text x=\"%.1f\" y=\"%.1f\">%.0f s</text>\n",
                            x(seconds * i / 4) - (i == 4 ? 30 : 0), bottom + 16, seconds * i / 4);
    }
    absl::StrAppend(&out_, "<polyline class=\"curve\" points=\"");
    for (size_t i = 0; i < bins.size(); ++i) {
      const double value = static_cast<double>(bins[i]) / bin_s;
      absl::StrAppendFormat(&out_, "%.1f,%.1f ", x((static_cast<double>(i) + 0.5) * bin_s),
                            y(value));
    }
    absl::StrAppend(&out_,
                    "\"/></svg><figcaption>Key bits per second over all pairs. Shaded: "
                    "events.</figcaption></figure>\n");
  }

  void Shares() {
    constexpr double width = 900, height = 200, left = 60, bottom = 170, top = 12;
    std::vector<int> count(kShareBars + 1, 0);
    for (const double share : figures_.share) {
      const int bar = static_cast<int>(share * kShareBars);
      ++count[static_cast<size_t>(std::clamp(bar, 0, kShareBars))];
    }
    const int most = std::max(1, *std::max_element(count.begin(), count.end()));
    const double step = (width - left - 10) / (kShareBars + 1);
    absl::StrAppendFormat(&out_,
                          "<h2>Fairness</h2>\n<figure><svg viewBox=\"0 0 %.0f %.0f\" "
                          "role=\"img\" aria-label=\"Pairs by share of their fair rate\">\n",
                          width, height);
    absl::StrAppendFormat(&out_, "<text x=\"4\" y=\"%.1f\">%d pairs</text>\n", top + 8, most);
    for (int i = 0; i <= kShareBars; ++i) {
      const double bar = (bottom - top) * count[static_cast<size_t>(i)] / most;
      absl::StrAppendFormat(&out_,
                            "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                            "height=\"%.1f\"><title>%d pairs</title></rect>\n",
                            left + step * i + 1, bottom - bar, step - 2, bar,
                            count[static_cast<size_t>(i)]);
      if (i % 5 == 0) {
        absl::StrAppendFormat(&out_, "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n", left + step * i,
                              bottom + 16,
                              i == kShareBars ? "all" : Percent(i / double{kShareBars}));
      }
    }
    absl::StrAppend(&out_,
                    "</svg><figcaption>Pairs by what they were given of their max-min fair rate "
                    "(progressive filling over the paths that were used).</figcaption></figure>\n");
  }

  // ---- Tables.

  void Table(const std::string& title, const std::vector<std::string>& heads) {
    absl::StrAppend(&out_, "<h2>", title, "</h2>\n<table><thead><tr>");
    for (const std::string& head : heads) absl::StrAppend(&out_, "<th>", head, "</th>");
    absl::StrAppend(&out_, "</tr></thead><tbody>\n");
  }
  void Row(const std::vector<std::string>& cells) {
    absl::StrAppend(&out_, "<tr><td>", absl::StrJoin(cells, "</td><td>"), "</td></tr>\n");
  }
  void EndTable() { absl::StrAppend(&out_, "</tbody></table>\n"); }

  void Events() {
    if (scenario_.text.events().empty()) return;
    Table("Events", {"what", "where", "at, s", "lasts, s", "last pair served again after, s"});
    for (int i = 0; i < scenario_.text.events_size(); ++i) {
      const auto& event = scenario_.text.events(i);
      const auto& converged = outcome_.converged_s[static_cast<size_t>(i)];
      Row({scenario::v1::EventKind_Name(event.kind()), Escaped(absl::StrJoin(event.nodes(), " ")),
           absl::StrFormat("%.1f", SecondsOf(event.at())),
           absl::StrFormat("%.1f", SecondsOf(event.lasts())),
           converged ? absl::StrFormat("%.2f", *converged) : "not before its end"});
    }
    EndTable();
  }

  std::string NameOf(size_t site) const { return Escaped(scenario_.network.sites[site].id); }

  void WorstPairs() {
    std::vector<size_t> order(scenario_.demand.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [this](size_t a, size_t b) { return figures_.share[a] < figures_.share[b]; });
    order.resize(std::min(order.size(), kRowsMax));
    Table("Pairs that were given least of their fair rate",
          {"pair", "asked, bit/s", "delivered", "fair", "share", "blocked", "p99, ms"});
    for (const size_t i : order) {
      const PairOutcome& pair = outcome_.pairs[i];
      const double requests = std::max<double>(1, static_cast<double>(pair.requests));
      Row({NameOf(scenario_.demand[i].master) + " &gt; " + NameOf(scenario_.demand[i].slave),
           Short(static_cast<double>(scenario_.demand[i].rate_bps)),
           Short(figures_.delivered_bps[i]), Short(figures_.fair_bps[i]),
           Percent(figures_.share[i]), Percent(static_cast<double>(pair.blocked) / requests),
           absl::StrCat(Quantile(pair.latency_ms, 0.99))});
    }
    EndTable();
  }

  void BusiestLinks() {
    std::vector<size_t> order(scenario_.network.fibres.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [this](size_t a, size_t b) { return UseOf(a) > UseOf(b); });
    order.resize(std::min(order.size(), kRowsMax));
    Table("Links that were used most", {"link", "km", "dB", "makes, bit/s", "used"});
    for (const size_t l : order) {
      const Fibre& fibre = scenario_.network.fibres[l];
      Row({NameOf(fibre.a) + " - " + NameOf(fibre.b),
           absl::StrFormat("%.1f", std::max(0.0, fibre.length_km)),
           absl::StrFormat("%.1f", fibre.loss_db), Short(static_cast<double>(fibre.rate_bps)),
           Percent(UseOf(l))});
    }
    EndTable();
  }

  const Scenario& scenario_;
  const ScenarioOutcome& outcome_;
  const Figures& figures_;
  std::string out_;
};

}  // namespace

std::string HtmlReport(const Scenario& scenario, const ScenarioOutcome& outcome,
                       const Figures& figures) {
  return Page(scenario, outcome, figures).Text();
}

}  // namespace keyhop::sim
