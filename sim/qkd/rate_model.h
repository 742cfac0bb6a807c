#ifndef KEYHOP_SIM_QKD_RATE_MODEL_H_
#define KEYHOP_SIM_QKD_RATE_MODEL_H_
// Secret key rate of a BB84 link with weak coherent pulses and decoy states, in the asymptotic
// limit (infinitely long blocks). Pure functions; floating point; thread-safe.
//
// Sources: GLLP (Gottesman, Lo, Lutkenhaus, Preskill, QIC 4 325, 2004) for the key fraction; Ma,
// Qi, Zhao, Lo, PRA 72 012326 (2005) for the channel model and the decoy bounds; Pirandola,
// Laurenza, Ottaviani, Banchi, Nat. Commun. 8 15043 (2017) for the repeaterless bound.

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keyhop {

enum class DecoyMethod {
  kInfinite,   // Yields known exactly: the limit of ever more decoys.
  kTwoDecoys,  // Two weaker intensities; weak + vacuum where the second is 0.
  kOneDecoy,   // One weaker intensity.
  kNone,       // All multi-photon pulses are taken as known to Eve.
};

// A transmitter, a receiver and what the protocol does with them. Intensities are mean photon
// numbers per pulse, probabilities are per gate.
struct QkdDevice {
  double eta_bob = 0;       // Receiver optics times detector efficiency, 0 to 1.
  double y0_per_gate = 0;   // Background counts of a gate, all detectors together.
  double misalignment = 0;  // Probability that a photon clicks in the wrong detector (e_det).
  double f_ec = 1;          // Error-correction cost over the Shannon limit, 1 or more.
  double q_sift = 0.5;      // Part of the pulses that carry key: sifting times signal share.
  DecoyMethod method = DecoyMethod::kTwoDecoys;
  double mu_signal = 0;
  double mu_decoy1 = 0;
  double mu_decoy2 = 0;
  double repetition_hz = 0;
  double dead_time_s = 0;        // Of the whole receiver after each click.
  double fibre_db_per_km = 0.2;  // Where the loss is given as a length.
};

struct QkdRate {
  double gain = 0;             // Clicks per signal pulse (Q_mu).
  double qber = 0;             // Errors per click of the signal state (E_mu).
  double y0_bound = 0;         // Bounds from the decoys; exact for kInfinite, 0 for kNone.
  double y1_bound = 0;         // Yield of one-photon pulses.
  double e1_bound = 0;         // Error rate of one-photon pulses.
  double bits_per_pulse = 0;   // Secret bits per emitted pulse, never negative.
  double bits_per_second = 0;  // Secret bits per second, dead time included.
};

// The rate over a channel of `loss_db` (fibre only; the receiver is in `device`).
// INVALID_ARGUMENT, naming the parameter, when one lies outside its range.
absl::StatusOr<QkdRate> AsymptoticRate(const QkdDevice& device, double loss_db);

// Secret bits per pulse that no protocol without a repeater can exceed over this loss:
// -log2(1 - eta). `eta` is the transmittance, 0 to below 1.
double RepeaterlessBound(double eta);

// Binary entropy in bits; 0 at and outside the ends of [0, 1].
double BinaryEntropy(double p);

// A published or round set of device parameters by name, or nothing.
//   t12    Lucamarini et al., Opt. Express 21 24550 (2013): 1 GHz, self-differencing APDs. The
//          default of keyhop-qkdsim.
//   gys    Gobby, Yuan, Shields, APL 84 3762 (2004), as in Ma et al. 2005: 2 MHz
//   apd    round numbers of a cooled avalanche photodiode, 1 GHz
//   snspd  round numbers of a superconducting nanowire detector, 1 GHz, 0.17 dB/km
std::optional<QkdDevice> FindQkdDevice(absl::string_view name);
std::vector<std::string> QkdDeviceNames();

}  // namespace keyhop

#endif  // KEYHOP_SIM_QKD_RATE_MODEL_H_
