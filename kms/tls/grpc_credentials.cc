#include "kms/tls/grpc_credentials.h"

#include <ctime>
#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

namespace tls = grpc::experimental;

constexpr unsigned int kRefreshSeconds = 10;

absl::string_view View(grpc::string_ref text) {
  return absl::string_view(text.data(), text.size());
}

absl::StatusOr<std::string> IdOfPem(CertificateKind kind, absl::string_view pem,
                                    const IdentityRules& rules, const char* name) {
  KEYHOP_ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(pem, name));
  return IdOf(kind, facts, rules);
}

// Of a server: says whether a client is one of those who may be there. gRPC itself verifies no
// chain here: it knows one trust store a server, and not which of its certificates vouched.
class ClientVerifier final : public tls::ExternalCertificateVerifier {
 public:
  ClientVerifier(std::vector<ClientTrust> clients, IdentityRules rules, RefusalListener on_refusal)
      : clients_(std::move(clients)),
        rules_(std::move(rules)),
        on_refusal_(std::move(on_refusal)) {}

  bool Verify(tls::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* sync_status) override {
    const absl::Status status =
        Check(View(request->peer_cert()), View(request->peer_cert_full_chain()));
    if (!status.ok() && on_refusal_) on_refusal_(std::string(status.message()));
    *sync_status = status.ok() ? grpc::Status::OK
                               : grpc::Status(grpc::StatusCode::UNAUTHENTICATED,
                                              std::string(status.message()));
    return true;
  }

  void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

 private:
  absl::Status Check(absl::string_view leaf_pem, absl::string_view chain_pem) const {
    absl::Status first;
    for (const ClientTrust& client : clients_) {
      absl::Status status = client.trust->VerifyClient(leaf_pem, chain_pem);
      if (status.ok()) {
        status = IdOfPem(client.kind, leaf_pem, rules_, "client certificate").status();
        if (status.ok()) return status;
      } else if (const auto facts = ReadCertificate(leaf_pem, "client certificate"); facts.ok()) {
        status = absl::UnauthenticatedError(absl::StrCat(Describe(*facts), ": ", status.message()));
      }
      first.Update(status);
    }
    return first;
  }

  const std::vector<ClientTrust> clients_;
  const IdentityRules rules_;
  const RefusalListener on_refusal_;
};

// Of a channel, after the chain was verified: says whether the server is who should be there.
class PeerVerifier final : public tls::ExternalCertificateVerifier {
 public:
  PeerVerifier(IdentityRules rules, std::string expected, RefusalListener on_refusal)
      : rules_(std::move(rules)),
        expected_(std::move(expected)),
        on_refusal_(std::move(on_refusal)) {}

  bool Verify(tls::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* sync_status) override {
    const absl::Status status = Check(View(request->peer_cert()));
    if (!status.ok() && on_refusal_) on_refusal_(std::string(status.message()));
    *sync_status = status.ok() ? grpc::Status::OK
                               : grpc::Status(grpc::StatusCode::UNAUTHENTICATED,
                                              std::string(status.message()));
    return true;
  }

  void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

 private:
  absl::Status Check(absl::string_view pem) const {
    KEYHOP_ASSIGN_OR_RETURN(const CertificateFacts certificate,
                            ReadCertificate(pem, "peer certificate"));
    KEYHOP_ASSIGN_OR_RETURN(const std::string id,
                            IdOf(CertificateKind::kNode, certificate, rules_));
    if (id != expected_) {
      return absl::UnauthenticatedError(absl::StrCat(Describe(certificate), ": expected node \"",
                                                     expected_, "\"; found \"", id, "\""));
    }
    return absl::OkStatus();
  }

  const IdentityRules rules_;
  const std::string expected_;
  const RefusalListener on_refusal_;
};

}  // namespace

absl::StatusOr<GrpcTls> GrpcTls::Create(const PemFiles& files) {
  KEYHOP_RETURN_IF_ERROR(CheckPemFiles(files));
  KEYHOP_ASSIGN_OR_RETURN(std::shared_ptr<TrustFile> trust, TrustFile::Open(files.peer_ca));
  return GrpcTls(std::make_shared<tls::FileWatcherCertificateProvider>(
                     files.key, files.cert, files.peer_ca, kRefreshSeconds),
                 std::move(trust));
}

std::shared_ptr<grpc::ServerCredentials> GrpcTls::Server(CertificateKind peers,
                                                         const IdentityRules& rules,
                                                         RefusalListener on_refusal) const {
  return Server({{peers, trust_}}, rules, std::move(on_refusal));
}

std::shared_ptr<grpc::ServerCredentials> GrpcTls::Server(std::vector<ClientTrust> clients,
                                                         const IdentityRules& rules,
                                                         RefusalListener on_refusal) const {
  tls::TlsServerCredentialsOptions options(certificates_);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
  options.set_certificate_verifier(tls::ExternalCertificateVerifier::Create<ClientVerifier>(
      std::move(clients), rules, std::move(on_refusal)));
  return tls::TlsServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> GrpcTls::ChannelToNode(const NodeId& expected,
                                                                 const IdentityRules& rules,
                                                                 RefusalListener on_refusal) const {
  tls::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(certificates_);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_check_call_host(false);
  options.set_certificate_verifier(tls::ExternalCertificateVerifier::Create<PeerVerifier>(
      rules, expected.value, std::move(on_refusal)));
  return tls::TlsCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> GrpcTls::ChannelToHost() const {
  tls::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(certificates_);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_certificate_verifier(std::make_shared<tls::HostNameCertificateVerifier>());
  return tls::TlsCredentials(options);
}

absl::StatusOr<std::string> GrpcPeers::Peer(CertificateKind kind,
                                            const grpc::AuthContext& context) {
  const std::vector<grpc::string_ref> certificates =
      context.FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (!context.IsPeerAuthenticated() || certificates.size() != 1) {
    return absl::UnauthenticatedError("expected a client certificate; none was sent");
  }
  const absl::string_view pem = View(certificates[0]);
  timespec clock = {};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &clock);
  MutexLock lock(mu_);
  Remembered& remembered = remembered_[kind];
  const auto known = remembered.find(pem);
  if (known != remembered.end() && clock.tv_sec < known->second.until_s) return known->second.id;
  if (known == remembered.end() && remembered.size() >= kRememberedMax) remembered.clear();
  Known& now = remembered[std::string(pem)];
  now = {Identify(kind, pem, context), clock.tv_sec + kRememberSeconds};
  return now.id;
}

absl::StatusOr<std::string> GrpcPeers::Identify(CertificateKind kind, absl::string_view pem,
                                                const grpc::AuthContext& context) const {
  for (const ClientTrust& client : clients_) {
    if (client.kind != kind) continue;
    const auto chain = context.FindPropertyValues(GRPC_X509_PEM_CERT_CHAIN_PROPERTY_NAME);
    const absl::string_view others = chain.empty() ? absl::string_view() : View(chain[0]);
    if (!client.trust->VerifyClient(pem, others).ok()) {
      return absl::UnauthenticatedError(
          "client certificate: its issuer does not vouch for callers of this service");
    }
  }
  return IdOfPem(kind, pem, rules_, "client certificate");
}

absl::StatusOr<SaeId> GrpcPeers::PeerSae(const grpc::AuthContext& context) {
  KEYHOP_ASSIGN_OR_RETURN(std::string id, Peer(CertificateKind::kSae, context));
  return SaeId(std::move(id));
}

absl::StatusOr<NodeId> GrpcPeers::PeerNode(const grpc::AuthContext& context) {
  KEYHOP_ASSIGN_OR_RETURN(std::string id, Peer(CertificateKind::kNode, context));
  return NodeId(std::move(id));
}

absl::StatusOr<ModuleId> GrpcPeers::PeerModule(const grpc::AuthContext& context) {
  KEYHOP_ASSIGN_OR_RETURN(std::string id, Peer(CertificateKind::kModule, context));
  return ModuleId(std::move(id));
}

absl::StatusOr<OperatorId> GrpcPeers::PeerOperator(const grpc::AuthContext& context) {
  KEYHOP_ASSIGN_OR_RETURN(std::string id, Peer(CertificateKind::kOperator, context));
  return OperatorId(std::move(id));
}

}  // namespace keyhop
