#include "sim/linksim/module_session.h"

#include "kms/base/secret_bytes.h"

namespace keyhop {

void ModuleSession::Start(kq1::v1::KeyManagerQ::Stub& stub) {
  stub.async()->Attach(&context_, this);
  // Writes are also started from outside this class's reactions: the hold keeps OnDone away until
  // the reading side has told the listener that the stream closes.
  AddHold();
  StartRead(&incoming_);
  StartWrite(&outgoing_);
  StartCall();
}

void ModuleSession::OnWriteDone(bool ok) {
  CleanseOutgoing();
  if (ok) listener_.OnWritten(end_);  // Else the reading side ends as well.
}

void ModuleSession::OnReadDone(bool ok) {
  if (!ok) {
    listener_.OnClosing(end_);
    RemoveHold();
    return;
  }
  listener_.OnMessage(end_, incoming_);
  StartRead(&incoming_);
}

void ModuleSession::OnDone(const grpc::Status& status) { listener_.OnEnded(end_, status); }

void ModuleSession::CleanseOutgoing() {
  if (outgoing_.has_key_block()) Cleanse(*outgoing_.mutable_key_block()->mutable_key());
}

}  // namespace keyhop
