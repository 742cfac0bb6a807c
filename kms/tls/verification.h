#ifndef KEYHOP_KMS_TLS_VERIFICATION_H_
#define KEYHOP_KMS_TLS_VERIFICATION_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

// Why a certificate or a handshake was refused, told so that the reader can mend it: which
// certificate, which field, what was expected, who issued it. Names are the peer's words: they are
// escaped, and texts are bounded, so that they may go to a log.

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;

namespace keyhop {

// Has OpenSSL note, for each connection of the context, what it finds wrong with the other end's
// certificate. Verification itself stays as it is. `store` is what the trust store is called in the
// texts: its file.
void NoteVerification(SSL_CTX* context, const std::string& store);

// Has ExplainFailedHandshake begin with what the client offered. The last one counts.
void NoteOffer(SSL* ssl, std::string text);

// Why the handshake of `ssl`, a server, failed. `error` is OpenSSL's packed error, 0 if there was
// none: the connection just ended. Empty where no handshake was begun.
std::string ExplainFailedHandshake(const SSL* ssl, unsigned long error);

// What a certificate shall be good for (RFC 5280 §4.2.1.12).
enum class TlsRole { kClient, kServer };

// Verifies the first certificate of `bytes` (PEM or DER; certificates behind it are its chain) as a
// handshake would, against the CA certificates of the PEM file `store`. UNAUTHENTICATED tells what
// is wrong with it, INVALID_ARGUMENT what is wrong with the input.
absl::Status VerifyCertificate(absl::string_view bytes, const std::string& name,
                               const std::string& store, TlsRole role);

}  // namespace keyhop

#endif  // KEYHOP_KMS_TLS_VERIFICATION_H_
