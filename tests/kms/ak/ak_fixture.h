#ifndef KEYHOP_TESTS_KMS_AK_AK_FIXTURE_H_
#define KEYHOP_TESTS_KMS_AK_AK_FIXTURE_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/kms/tls/test_certs.h"

namespace keyhop {

// The certificates of one node, its SAEs and its operator. CAs: "nodes", "saes", "operators",
// "strangers".
class AkCerts {
 public:
  AkCerts() {
    for (const char* ca : {"nodes", "saes", "operators", "strangers"}) certs_.AddCa(ca);
    certs_.Add("node", {.ca = "nodes",
                        .common_name = "kme-a",
                        .alt_names = "URI:keyhop://node/kme-a,DNS:localhost,IP:127.0.0.1"});
    for (const char* sae : {"alice", "bob", "carol"}) {
      certs_.Add(
          sae,
          {.ca = "saes", .common_name = sae, .alt_names = absl::StrCat("URI:keyhop://sae/", sae)});
    }
    certs_.Add("operator",
               {.ca = "operators", .common_name = "op", .alt_names = "URI:keyhop://operator/op"});
    certs_.Add("forged",
               {.ca = "strangers", .common_name = "alice", .alt_names = "URI:keyhop://sae/alice"});
    certs_.Add("expired", {.ca = "saes",
                           .common_name = "alice",
                           .alt_names = "URI:keyhop://sae/alice",
                           .valid_from_s = -7200,
                           .valid_until_s = -3600});
    certs_.Add("early", {.ca = "saes",
                         .common_name = "alice",
                         .alt_names = "URI:keyhop://sae/alice",
                         .valid_from_s = 3600,
                         .valid_until_s = 7200});
    certs_.Add("nameless", {.ca = "saes", .common_name = "", .alt_names = "DNS:alice.example"});
  }

  // What the client `name` uses: its certificate, and trust in nodes.
  PemFiles Client(const std::string& name) const { return certs_.Files(name, "nodes"); }
  // What a listener of the node uses for clients of `peer_ca`.
  PemFiles Node(const std::string& peer_ca) const { return certs_.Files("node", peer_ca); }
  std::string Path(const std::string& file) const { return certs_.Path(file); }

 private:
  TestCerts certs_;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_AK_AK_FIXTURE_H_
