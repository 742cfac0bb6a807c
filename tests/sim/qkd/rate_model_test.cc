#include "sim/qkd/rate_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace keyhop {
namespace {

using Row = std::map<std::string, std::string>;

// Reference values computed with 50-digit arithmetic from separately written formulas.
std::vector<Row> ReadReference() {
  std::ifstream file("tests/sim/qkd/asymptotic_rates.csv");
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> names = absl::StrSplit(line, ',');
  std::vector<Row> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> cells = absl::StrSplit(line, ',');
    Row row;
    for (size_t i = 0; i < cells.size() && i < names.size(); ++i) row[names[i]] = cells[i];
    rows.push_back(row);
  }
  return rows;
}

double Number(const Row& row, const std::string& name) {
  return std::strtod(row.at(name).c_str(), nullptr);
}

QkdDevice DeviceOf(const Row& row) {
  QkdDevice device = {.eta_bob = Number(row, "eta_bob"),
                      .y0_per_gate = Number(row, "y0_per_gate"),
                      .misalignment = Number(row, "e_det"),
                      .f_ec = Number(row, "f_ec"),
                      .q_sift = Number(row, "q_sift"),
                      .mu_signal = Number(row, "mu1"),
                      .mu_decoy1 = Number(row, "mu2"),
                      .mu_decoy2 = Number(row, "mu3"),
                      .repetition_hz = 1e9};
  const std::string& model = row.at("model");
  if (absl::EndsWith(model, "-infinite")) device.method = DecoyMethod::kInfinite;
  if (absl::EndsWith(model, "-onedecoy")) device.method = DecoyMethod::kOneDecoy;
  if (absl::EndsWith(model, "-nodecoy")) device.method = DecoyMethod::kNone;
  return device;
}

void ExpectClose(const Row& row, const std::string& column, double actual) {
  if (row.at(column).empty()) return;
  const double expected = Number(row, column);
  EXPECT_NEAR(actual, expected, 1e-6 * std::abs(expected))
      << column << " of row " << row.at("row") << " (" << row.at("model") << ")";
}

TEST(RateModelTest, AgreesWithTheReferenceRowsOfEveryAsymptoticModel) {
  const std::vector<Row> rows = ReadReference();
  ASSERT_EQ(rows.size(), 55u);
  for (const Row& row : rows) {
    const auto rate = AsymptoticRate(DeviceOf(row), Number(row, "loss_db"));
    ASSERT_TRUE(rate.ok()) << row.at("row") << ": " << rate.status();
    ExpectClose(row, "Q_mu1", rate->gain);
    ExpectClose(row, "E_mu1", rate->qber);
    ExpectClose(row, "Y0_bound", rate->y0_bound);
    ExpectClose(row, "Y1_bound", rate->y1_bound);
    ExpectClose(row, "e1_bound", rate->e1_bound);
    ExpectClose(row, "skr_per_pulse", rate->bits_per_pulse);
  }
}

TEST(RateModelTest, NeverExceedsTheRepeaterlessBoundNorGrowsWithLoss) {
  for (const std::string& name : QkdDeviceNames()) {
    for (const DecoyMethod method : {DecoyMethod::kInfinite, DecoyMethod::kTwoDecoys,
                                     DecoyMethod::kOneDecoy, DecoyMethod::kNone}) {
      QkdDevice device = *FindQkdDevice(name);
      device.method = method;
      // Also the best imaginable receiver: no background, no errors, perfect correction.
      for (const bool ideal : {false, true}) {
        if (ideal) {
          device.eta_bob = 0.999;
          device.y0_per_gate = 0;
          device.misalignment = 0;
          device.f_ec = 1;
        }
        double before = std::numeric_limits<double>::infinity();
        for (double loss_db = 0; loss_db <= 90; loss_db += 0.25) {
          const auto rate = AsymptoticRate(device, loss_db);
          ASSERT_TRUE(rate.ok()) << name << ": " << rate.status();
          const double eta = std::pow(10, -loss_db / 10) * device.eta_bob;
          EXPECT_LE(rate->bits_per_pulse, RepeaterlessBound(eta)) << name << " at " << loss_db;
          EXPECT_GE(rate->bits_per_pulse, 0);
          EXPECT_TRUE(std::isfinite(rate->bits_per_second));
          if (method != DecoyMethod::kNone) {  // Without decoys a bright signal needs some loss.
            EXPECT_LE(rate->bits_per_pulse, before) << name << " at " << loss_db;
          }
          before = rate->bits_per_pulse;
        }
      }
    }
  }
}

TEST(RateModelTest, MoreDecoysAreNeverWorse) {
  for (double loss_db = 0; loss_db <= 30; loss_db += 1) {
    QkdDevice device = *FindQkdDevice("gys");
    device.method = DecoyMethod::kInfinite;
    const double infinite = AsymptoticRate(device, loss_db)->bits_per_pulse;
    device.method = DecoyMethod::kTwoDecoys;
    const double two = AsymptoticRate(device, loss_db)->bits_per_pulse;
    device.method = DecoyMethod::kOneDecoy;
    const double one = AsymptoticRate(device, loss_db)->bits_per_pulse;
    EXPECT_GE(infinite, two) << loss_db;
    EXPECT_GE(two, one) << loss_db;
  }
}

// Published: 142.05 km with infinitely many decoys, 140.55 km with weak + vacuum (Ma et al. 2005).
TEST(RateModelTest, GysEndsAtThePublishedDistances) {
  QkdDevice device = *FindQkdDevice("gys");
  const auto has_key = [&device](double km) {
    return AsymptoticRate(device, km * device.fibre_db_per_km)->bits_per_pulse > 0;
  };
  EXPECT_TRUE(has_key(140.5));
  EXPECT_FALSE(has_key(140.7));
  device.method = DecoyMethod::kInfinite;
  EXPECT_TRUE(has_key(141.95));
  EXPECT_FALSE(has_key(142.1));
}

// Published: 2.20, 1.09, 0.40 and 0.12 Mbit/s, finite-size effects included (Lucamarini et al.).
TEST(RateModelTest, T12IsWithinAQuarterOfThePublishedSystem) {
  const std::map<double, double> published = {
      {35, 2.20e6}, {50, 1.09e6}, {65, 0.40e6}, {80, 0.12e6}};
  const QkdDevice device = *FindQkdDevice("t12");
  for (const auto& [km, bps] : published) {
    const auto rate = AsymptoticRate(device, km * device.fibre_db_per_km);
    ASSERT_TRUE(rate.ok());
    EXPECT_NEAR(rate->bits_per_second / bps, 1, 0.25) << km << " km";
    EXPECT_NEAR(rate->qber, 0.04, 0.012) << km << " km";
  }
}

TEST(RateModelTest, DeadTimeOnlyLowersBitsPerSecond) {
  QkdDevice device = *FindQkdDevice("snspd");
  const QkdRate without = *AsymptoticRate(device, 2);
  device.dead_time_s = 100e-9;
  const QkdRate with = *AsymptoticRate(device, 2);
  EXPECT_EQ(with.bits_per_pulse, without.bits_per_pulse);
  EXPECT_NEAR(with.bits_per_second, without.bits_per_second / (1 + 100 * without.gain),
              1e-9 * with.bits_per_second);
}

TEST(RateModelTest, RefusesParametersOutsideTheirRangeAndNamesThem) {
  const QkdDevice good = *FindQkdDevice("gys");
  const auto message = [](const QkdDevice& device, double loss_db) {
    const auto rate = AsymptoticRate(device, loss_db);
    EXPECT_EQ(rate.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(rate.status().message());
  };
  EXPECT_THAT(message(good, -1), testing::HasSubstr("loss_db"));
  EXPECT_THAT(message(good, std::nan("")), testing::HasSubstr("loss_db"));
  QkdDevice bad = good;
  bad.eta_bob = 1.5;
  EXPECT_THAT(message(bad, 0), testing::HasSubstr("eta_bob"));
  bad = good;
  bad.mu_decoy1 = 0.6;
  EXPECT_THAT(message(bad, 0), testing::HasSubstr("mu_decoy1"));
  bad.method = DecoyMethod::kOneDecoy;
  EXPECT_THAT(message(bad, 0), testing::HasSubstr("mu_decoy1"));
  EXPECT_FALSE(FindQkdDevice("nosuch").has_value());
}

}  // namespace
}  // namespace keyhop
