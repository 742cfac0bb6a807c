#ifndef KEYHOP_TRUSTED_NODE_KQ1_KQ1_SERVER_H_
#define KEYHOP_TRUSTED_NODE_KQ1_KQ1_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/grpcpp.h"
#include "kms/base/instant.h"
#include "trusted_node/core/node/port.h"

namespace keyhop {

// A link whose QKD modules may attach here.
struct Kq1Link {
  LinkId id;
  NodeId peer;
  std::set<std::string> modules;      // IDs, as in their certificates.
  uint32_t block_bytes_max = 65'536;  // Largest key block, in bytes.
  bool admin_up = true;               // What an operator said last.
};

struct Kq1Options {
  std::vector<Kq1Link> links;
  // Which module called, by its certificate.
  std::function<absl::StatusOr<std::string>(const grpc::AuthContext&)> identify;
  // Key bytes that one module may have unacknowledged here.
  size_t window_bytes = 128 * 1024;
  // A block that the core has no room for is offered again after this time.
  Duration retry = Duration::Millis(100);
  size_t attached_max = 256;
  std::function<void(absl::string_view)> log = [](absl::string_view) {};
};

struct Kq1LinkStatus {
  bool admin_up = true;
  size_t attached = 0;  // Modules.
  uint64_t blocks = 0;  // Taken durably since the start.
};

// The KM's end of Kq-1 (proto/keyhop/kq1/v1/kq1.proto): takes key blocks from QKD modules, in order
// and each acknowledged once it is durable; keeps what the core has no room for, and reads no
// further than the window meanwhile. Tells the core how the modules of each link are together.
//
// Thread-safe. Start once; Stop before the NodePort goes.
class Kq1Server {
 public:
  explicit Kq1Server(Kq1Options options);
  ~Kq1Server();

  // To be registered with a server whose builder went through Configure. Modules are refused
  // (UNAVAILABLE) before Start and after Stop.
  grpc::Service* service();
  static void Configure(grpc::ServerBuilder& builder);

  void Start(NodePort& node);
  void Stop();

  // An operator's command, handed to the link's modules, now and when they attach. Whoever calls
  // keeps it over a restart. NOT_FOUND: no such link here.
  absl::Status SetLink(const LinkId& link, bool up);
  std::map<LinkId, Kq1LinkStatus> Status() const;
  // Streams that were ended with a Refused since the start.
  uint64_t refused() const;

 private:
  struct Impl;
  class Service;
  std::shared_ptr<Impl> impl_;
  std::unique_ptr<Service> service_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_KQ1_KQ1_SERVER_H_
