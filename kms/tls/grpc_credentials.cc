#include "kms/tls/grpc_credentials.h"

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

// Runs after the chain was verified: says whether the other end is who may be there.
class PeerVerifier final : public tls::ExternalCertificateVerifier {
 public:
  PeerVerifier(CertificateKind kind, IdentityRules rules, std::optional<std::string> expected,
               RefusalListener on_refusal)
      : kind_(kind),
        rules_(std::move(rules)),
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
    KEYHOP_ASSIGN_OR_RETURN(const std::string id, IdOf(kind_, certificate, rules_));
    if (expected_ && id != *expected_) {
      return absl::UnauthenticatedError(absl::StrCat(Describe(certificate), ": expected node \"",
                                                     *expected_, "\"; found \"", id, "\""));
    }
    return absl::OkStatus();
  }

  const CertificateKind kind_;
  const IdentityRules rules_;
  const std::optional<std::string> expected_;
  const RefusalListener on_refusal_;
};

}  // namespace

absl::StatusOr<GrpcTls> GrpcTls::Create(const PemFiles& files) {
  KEYHOP_RETURN_IF_ERROR(CheckPemFiles(files));
  return GrpcTls(std::make_shared<tls::FileWatcherCertificateProvider>(
      files.key, files.cert, files.peer_ca, kRefreshSeconds));
}

std::shared_ptr<grpc::ServerCredentials> GrpcTls::Server(CertificateKind peers,
                                                         const IdentityRules& rules,
                                                         RefusalListener on_refusal) const {
  tls::TlsServerCredentialsOptions options(certificates_);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.set_certificate_verifier(tls::ExternalCertificateVerifier::Create<PeerVerifier>(
      peers, rules, std::nullopt, std::move(on_refusal)));
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
      CertificateKind::kNode, rules, expected.value, std::move(on_refusal)));
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
  MutexLock lock(mu_);
  Remembered& remembered = remembered_[kind];
  if (const auto known = remembered.find(pem); known != remembered.end()) return known->second;
  const auto identify = [&]() -> absl::StatusOr<std::string> {
    KEYHOP_ASSIGN_OR_RETURN(const CertificateFacts facts,
                            ReadCertificate(pem, "client certificate"));
    return IdOf(kind, facts, rules_);
  };
  if (remembered.size() >= kRememberedMax) remembered.clear();
  return remembered.emplace(std::string(pem), identify()).first->second;
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
