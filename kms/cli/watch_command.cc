#include <unistd.h>

#include <cstdio>

#include "absl/strings/escaping.h"
#include "keyhop/delivery/v1/delivery.grpc.pb.h"
#include "kms/cli/commands.h"
#include "kms/cli/exit_code.h"
#include "kms/cli/table.h"

namespace keyhop::cli {
namespace {

namespace pb = ::keyhop::delivery::v1;

void Print(const pb::KeyAnnouncement& told, const std::string& token, bool json) {
  if (json) {
    Table line(told.has_gap()
                   ? std::vector<Table::Column>{{"gap_at_KME_ID", ""}, {"resume", ""}}
                   : std::vector<Table::Column>{
                         {"key_ID", ""}, {"master_SAE_ID", ""}, {"size", ""}, {"resume", ""}});
    if (told.has_gap()) {
      line.Add({Cell::Text(told.gap().source_kme_id()), Cell::Text(token)});
    } else {
      line.Add({Cell::Text(told.drawn().key_id()), Cell::Text(told.drawn().master_sae_id()),
                Cell::Number(told.drawn().size()), Cell::Text(token)});
    }
    std::fputs(line.JsonObject().c_str(), stdout);
  } else if (told.has_gap()) {
    const std::string& kme = told.gap().source_kme_id();
    std::printf("(draws made %s%s before this may be missing)\n", kme.empty() ? "" : "at ",
                kme.c_str());
  } else {
    std::printf("%s  %5llu bits  drawn by %s\n", told.drawn().key_id().c_str(),
                static_cast<unsigned long long>(told.drawn().size()),
                told.drawn().master_sae_id().c_str());
  }
}

}  // namespace

int RunKeyWatch(const Options& options, const Connection& node) {
  pb::WatchKeysRequest request;
  request.set_resume_token(absl::HexStringToBytes(options.resume_token));
  grpc::ClientContext context;
  if (options.watch_keys > 0) node.SetDeadline(context);
  const auto stub = pb::KeyDelivery::NewStub(node.channel());
  const auto reader = stub->WatchKeys(&context, request);
  pb::KeysAnnounced news;
  uint64_t keys = 0;
  while (reader->Read(&news)) {
    const std::string token = absl::BytesToHexString(news.resume_token());
    for (int i = 0; i < news.announcements_size(); ++i) {
      // The token stands for all of them: a line before the last has none.
      const bool last = i + 1 == news.announcements_size();
      Print(news.announcements(i), last ? token : "", options.json);
      keys += news.announcements(i).has_drawn() ? 1 : 0;
    }
    std::fflush(stdout);
    if (options.watch_keys == 0 || keys < options.watch_keys) continue;
    context.TryCancel();
    reader->Finish();
    return kDone;
  }
  return node.Explain(reader->Finish(), context);
}

}  // namespace keyhop::cli
