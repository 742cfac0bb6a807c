#include "sim/qkd/rate_model.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

constexpr double kBackgroundError = 0.5;  // e0: a background click is right half of the time.

struct NamedDevice {
  absl::string_view name;
  QkdDevice device;
};

const std::vector<NamedDevice>& Devices() {
  static const auto& devices = *new std::vector<NamedDevice>{
      // eta: detector 0.205 behind 2.6 dB of optics; dark counts 2.1e-5 in each of two detectors;
      // afterpulses are folded into the misalignment, so that the QBER is the published 4 %.
      {"t12",
       {.eta_bob = 0.11265,
        .y0_per_gate = 4.2e-5,
        .misalignment = 0.035,
        .f_ec = 1.16,
        .q_sift = 0.8686,  // (15/16)^2 * 253/256
        .mu_signal = 0.425,
        .mu_decoy1 = 0.044,
        .mu_decoy2 = 0.001,
        .repetition_hz = 1e9}},
      {"gys",
       {.eta_bob = 0.045,
        .y0_per_gate = 1.7e-6,
        .misalignment = 0.033,
        .f_ec = 1.22,
        .q_sift = 0.5,
        .mu_signal = 0.48,
        .mu_decoy1 = 0.05,
        .mu_decoy2 = 0,
        .repetition_hz = 2e6,
        .fibre_db_per_km = 0.21}},
      {"apd",
       {.eta_bob = 0.2,
        .y0_per_gate = 2e-6,
        .misalignment = 0.01,
        .f_ec = 1.15,
        .q_sift = 0.9,
        .mu_signal = 0.5,
        .mu_decoy1 = 0.1,
        .mu_decoy2 = 0,
        .repetition_hz = 1e9}},
      {"snspd",
       {.eta_bob = 0.5,
        .y0_per_gate = 2e-8,
        .misalignment = 0.005,
        .f_ec = 1.1,
        .q_sift = 0.5,
        .mu_signal = 0.5,
        .mu_decoy1 = 0.1,
        .mu_decoy2 = 0,
        .repetition_hz = 1e9,
        .fibre_db_per_km = 0.17}},
  };
  return devices;
}

absl::Status Within(absl::string_view name, double value, double low, double high) {
  if (value >= low && value <= high) return absl::OkStatus();  // False for NaN too.
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", value, "; expected ", low, " to ", high));
}

absl::Status Validate(const QkdDevice& d, double loss_db) {
  KEYHOP_RETURN_IF_ERROR(Within("loss_db", loss_db, 0, 200));
  KEYHOP_RETURN_IF_ERROR(Within("eta_bob", d.eta_bob, 1e-9, 1));
  KEYHOP_RETURN_IF_ERROR(Within("y0_per_gate", d.y0_per_gate, 0, 1));
  KEYHOP_RETURN_IF_ERROR(Within("misalignment", d.misalignment, 0, 0.5));
  KEYHOP_RETURN_IF_ERROR(Within("f_ec", d.f_ec, 1, 10));
  KEYHOP_RETURN_IF_ERROR(Within("q_sift", d.q_sift, 0, 1));
  KEYHOP_RETURN_IF_ERROR(Within("mu_signal", d.mu_signal, 1e-9, 10));
  KEYHOP_RETURN_IF_ERROR(Within("repetition_hz", d.repetition_hz, 0, 1e12));
  KEYHOP_RETURN_IF_ERROR(Within("dead_time_s", d.dead_time_s, 0, 1));
  if (d.method == DecoyMethod::kTwoDecoys) {
    KEYHOP_RETURN_IF_ERROR(Within("mu_decoy2", d.mu_decoy2, 0, d.mu_signal));
    if (!(d.mu_decoy1 > d.mu_decoy2 && d.mu_decoy1 + d.mu_decoy2 < d.mu_signal)) {
      return absl::InvalidArgumentError(
          "two decoys need mu_decoy1 > mu_decoy2 and mu_decoy1 + mu_decoy2 < mu_signal");
    }
  } else if (d.method == DecoyMethod::kOneDecoy) {
    if (!(d.mu_decoy1 > 0 && d.mu_decoy1 < d.mu_signal)) {
      return absl::InvalidArgumentError("one decoy needs 0 < mu_decoy1 < mu_signal");
    }
  }
  return absl::OkStatus();
}

// Gains and error gains at one loss: the linear model of Ma et al. 2005.
struct Channel {
  double eta;
  double y0;
  double misalignment;
  // Clicks through photons only; expm1 keeps the digits at high loss.
  double Detections(double mu) const { return -std::expm1(-eta * mu); }
  double Gain(double mu) const { return y0 + Detections(mu); }
  double ErrorGain(double mu) const {
    return kBackgroundError * y0 + misalignment * Detections(mu);
  }
};

void BoundTwoDecoys(const QkdDevice& d, const Channel& c, QkdRate& rate) {
  const double mu = d.mu_signal;
  const double n1 = d.mu_decoy1;
  const double n2 = d.mu_decoy2;
  const double g1 = c.Gain(n1) * std::exp(n1);
  const double g2 = c.Gain(n2) * std::exp(n2);
  rate.y0_bound = std::max(0.0, (n1 * g2 - n2 * g1) / (n1 - n2));
  rate.y1_bound =
      mu / (mu * n1 - mu * n2 - n1 * n1 + n2 * n2) *
      (g1 - g2 - (n1 * n1 - n2 * n2) / (mu * mu) * (c.Gain(mu) * std::exp(mu) - rate.y0_bound));
  rate.e1_bound = (c.ErrorGain(n1) * std::exp(n1) - c.ErrorGain(n2) * std::exp(n2)) /
                  ((n1 - n2) * rate.y1_bound);
}

void BoundOneDecoy(const QkdDevice& d, const Channel& c, QkdRate& rate) {
  const double mu = d.mu_signal;
  const double n = d.mu_decoy1;
  const double signal_errors = c.ErrorGain(mu) * std::exp(mu);
  // Here the background is bounded from above: all errors of the signal state.
  const double y0 = signal_errors / kBackgroundError;
  rate.y1_bound = mu / (mu * n - n * n) *
                  (c.Gain(n) * std::exp(n) - n * n / (mu * mu) * c.Gain(mu) * std::exp(mu) -
                   (mu * mu - n * n) / (mu * mu) * y0);
  rate.e1_bound = signal_errors / (mu * rate.y1_bound);
}

// Secret bits per pulse before clamping at 0 (GLLP).
double KeyFraction(const QkdDevice& d, const QkdRate& rate) {
  const double mu = d.mu_signal;
  const double leak = d.f_ec * rate.gain * BinaryEntropy(rate.qber);
  if (d.method == DecoyMethod::kNone) {
    const double multi = -std::expm1(-mu) - mu * std::exp(-mu);
    const double untagged = (rate.gain - multi) / rate.gain;
    if (untagged <= 0 || rate.qber / untagged >= 0.5) return 0;
    return d.q_sift * (rate.gain * untagged * (1 - BinaryEntropy(rate.qber / untagged)) - leak);
  }
  if (!(rate.y1_bound > 0)) return 0;
  const double q1 = rate.y1_bound * mu * std::exp(-mu);
  return d.q_sift * (q1 * (1 - BinaryEntropy(std::min(0.5, rate.e1_bound))) - leak);
}

}  // namespace

double BinaryEntropy(double p) {
  if (p <= 0 || p >= 1) return 0;
  return -p * std::log2(p) - (1 - p) * std::log2(1 - p);
}

double RepeaterlessBound(double eta) { return -std::log1p(-eta) / std::log(2.0); }

absl::StatusOr<QkdRate> AsymptoticRate(const QkdDevice& device, double loss_db) {
  KEYHOP_RETURN_IF_ERROR(Validate(device, loss_db));
  const Channel channel = {.eta = std::pow(10.0, -loss_db / 10) * device.eta_bob,
                           .y0 = device.y0_per_gate,
                           .misalignment = device.misalignment};
  QkdRate rate;
  rate.gain = channel.Gain(device.mu_signal);
  rate.qber = channel.ErrorGain(device.mu_signal) / rate.gain;
  switch (device.method) {
    case DecoyMethod::kInfinite:
      rate.y0_bound = channel.y0;
      rate.y1_bound = channel.y0 + channel.eta;
      rate.e1_bound =
          (kBackgroundError * channel.y0 + device.misalignment * channel.eta) / rate.y1_bound;
      break;
    case DecoyMethod::kTwoDecoys:
      BoundTwoDecoys(device, channel, rate);
      break;
    case DecoyMethod::kOneDecoy:
      BoundOneDecoy(device, channel, rate);
      break;
    case DecoyMethod::kNone:
      break;
  }
  rate.bits_per_pulse = std::max(0.0, KeyFraction(device, rate));
  const double dead_gates = device.repetition_hz * device.dead_time_s;
  rate.bits_per_second =
      rate.bits_per_pulse * device.repetition_hz / (1 + dead_gates * std::min(1.0, rate.gain));
  return rate;
}

std::optional<QkdDevice> FindQkdDevice(absl::string_view name) {
  for (const NamedDevice& named : Devices()) {
    if (named.name == name) return named.device;
  }
  return std::nullopt;
}

std::vector<std::string> QkdDeviceNames() {
  std::vector<std::string> names;
  for (const NamedDevice& named : Devices()) names.emplace_back(named.name);
  return names;
}

}  // namespace keyhop
