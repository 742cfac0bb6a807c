#include <unistd.h>

#include <cmath>
#include <cstdio>

#include "keyhop/admin/v1/admin.grpc.pb.h"
#include "kms/cli/commands.h"
#include "kms/cli/exit_code.h"
#include "kms/cli/table.h"

namespace keyhop::cli {
namespace {

namespace pb = ::keyhop::admin::v1;
using Stub = pb::Admin::Stub;

bool Colours() { return isatty(STDOUT_FILENO) == 1; }

double Seconds(const google::protobuf::Duration& d) {
  return static_cast<double>(d.seconds()) + d.nanos() * 1e-9;
}

void PrintRows(const Options& options, const Table& table, const char* name) {
  std::fputs((options.json ? table.Json(name) : table.Human(Colours())).c_str(), stdout);
}

void PrintOne(const Options& options, const Table& table) {
  std::fputs((options.json ? table.JsonObject() : table.HumanList(Colours())).c_str(), stdout);
}

Table LinkTable() {
  return Table({{"id", "LINK"},
                {"peer", "PEER"},
                {"up", "STATE"},
                {"admin_up", "ADMIN"},
                {"session_open", "SESSION"},
                {"module_up", "MODULE"},
                {"qber", "QBER"},
                {"key_rate_bps", "BIT/S"},
                {"free_pad_send_bytes", "PAD OUT"},
                {"free_pad_receive_bytes", "PAD IN"}});
}

std::vector<Cell> LinkRow(const pb::Link& link) {
  return {Cell::Text(link.id()),
          Cell::Text(link.peer_id()),
          Cell::Bool(link.up(), "up", "down"),
          Cell::Bool(link.admin_up(), "up", "down"),
          Cell::Bool(link.session_open(), "open", "closed"),
          Cell::Bool(link.module_up(), "up", "down"),
          Cell::Real(link.qber(), 4),
          Cell::Real(link.key_rate_bps(), 0),
          Cell::Bytes(link.free_pad_send_bytes()),
          Cell::Bytes(link.free_pad_receive_bytes())};
}

void Show(const Options& options, const pb::GetStatusResponse& answer) {
  Table table({{"node", "Node"},
               {"version", "Version"},
               {"uptime_seconds", "Up for, seconds"},
               {"ready", "Ready"},
               {"secure_heap_locked", "Heap of secrets locked"},
               {"secure_heap_bytes", "Heap of secrets"},
               {"secure_heap_used_bytes", "In use of it"}});
  table.Add({Cell::Text(answer.node_id()), Cell::Text(answer.version()),
             Cell::Real(Seconds(answer.uptime()), 0), Cell::Bool(answer.ready(), "yes", "no"),
             Cell::Bool(answer.secure_heap_locked(), "yes", "no"),
             Cell::Bytes(answer.secure_heap_bytes()),
             Cell::Bytes(answer.secure_heap_used_bytes())});
  PrintOne(options, table);
}

void Show(const Options& options, const pb::ListNodesResponse& answer) {
  Table table({{"id", "NODE"},
               {"self", "SELF"},
               {"reachable", "REACHABLE"},
               {"hops", "HOPS"},
               {"last_heard_seconds", "HEARD, S AGO"},
               {"saes", "SAES"}});
  for (const pb::Node& node : answer.nodes()) {
    Cell self = Cell::Bool(node.self(), "*", "");
    self.tone = Cell::Tone::kPlain;
    Cell heard = {.text = "-", .json = "null", .right = true};
    if (node.has_last_heard()) heard = Cell::Real(Seconds(node.last_heard()), 1);
    table.Add({Cell::Text(node.id()), self, Cell::Bool(node.reachable(), "yes", "no"),
               Cell::Number(node.hops()), heard,
               Cell::List({node.sae_ids().begin(), node.sae_ids().end()}, ", ")});
  }
  PrintRows(options, table, "nodes");
}

void Show(const Options& options, const pb::ListLinksResponse& answer) {
  Table table = LinkTable();
  for (const pb::Link& link : answer.links()) table.Add(LinkRow(link));
  PrintRows(options, table, "links");
}

void Show(const Options& options, const pb::SetLinkResponse& answer) {
  Table table = LinkTable();
  table.Add(LinkRow(answer.link()));
  PrintRows(options, table, "links");
}

void Show(const Options& options, const pb::ListPoolsResponse& answer) {
  Table table({{"source", "SOURCE"},
               {"destination", "DESTINATION"},
               {"paths", "PATHS"},
               {"epoch", "EPOCH"},
               {"at_hand_bytes", "AT HAND"},
               {"target_bytes", "TARGET"},
               {"fill_rate_bytes_per_second", "BYTES/S"},
               {"last_path", "LAST PATH"}});
  for (const pb::Pool& pool : answer.pools()) {
    table.Add({Cell::Text(pool.source_id()), Cell::Text(pool.destination_id()),
               Cell::Number(pool.paths()), Cell::Number(pool.epoch()),
               Cell::Bytes(pool.at_hand_bytes()), Cell::Bytes(pool.target_bytes()),
               Cell::Real(pool.fill_rate_bytes_per_second(), 0),
               Cell::List({pool.last_path().begin(), pool.last_path().end()}, " > ")});
  }
  PrintRows(options, table, "pools");
}

void Show(const Options& options, const pb::SetSaeResponse& answer) {
  Table table({{"id", "SAE"}, {"suspended", "Suspended"}});
  table.Add({Cell::Text(answer.id()), Cell::Bool(answer.suspended(), "yes", "no")});
  PrintOne(options, table);
}

Table QuotaTable() {
  return Table({{"sae", "SAE"},
                {"slave", "FOR SLAVE"},
                {"keys_per_second", "KEYS/S"},
                {"bits_per_second", "BITS/S"},
                {"burst_seconds", "BURST, S"},
                {"share", "SHARE"},
                {"by_operator", "SET BY"}});
}

std::vector<Cell> QuotaRow(const pb::Quota& quota) {
  const auto rate = [](uint64_t n) {
    return n > 0 ? Cell::Number(n) : Cell{.text = "any", .json = "0", .right = true};
  };
  const pb::QuotaLimits& limits = quota.limits();
  Cell by = Cell::Bool(quota.by_operator(), "an operator", "configuration");
  by.tone = Cell::Tone::kPlain;
  return {Cell::Text(quota.sae_id()),
          Cell::Text(quota.slave_sae_id()),
          rate(limits.keys_per_second()),
          rate(limits.bits_per_second()),
          Cell::Real(Seconds(limits.burst()), 3),
          Cell::Number(limits.share()),
          by};
}

void Show(const Options& options, const pb::ListQuotasResponse& answer) {
  Table table = QuotaTable();
  for (const pb::Quota& quota : answer.quotas()) table.Add(QuotaRow(quota));
  PrintRows(options, table, "quotas");
}

void Show(const Options& options, const pb::SetQuotaResponse& answer) {
  Table table = QuotaTable();
  if (answer.has_quota()) table.Add(QuotaRow(answer.quota()));
  PrintRows(options, table, "quotas");
}

void Show(const Options& options, const pb::RotateStoreKeyResponse& answer) {
  Table table(
      {{"store_key_number", "Store key in force, number"}, {"took_seconds", "Took, seconds"}});
  table.Add({Cell::Number(answer.store_key_number()), Cell::Real(Seconds(answer.took()), 3)});
  PrintOne(options, table);
}

template <typename Request, typename Answer>
int Call(const Options& options, const Connection& node,
         grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Answer*),
         const Request& request) {
  const std::unique_ptr<Stub> stub = pb::Admin::NewStub(node.channel());
  Answer answer;
  grpc::ClientContext context;
  node.SetDeadline(context);
  const grpc::Status status = (stub.get()->*method)(&context, request, &answer);
  if (status.ok()) Show(options, answer);
  return node.Finish(status, context);
}

}  // namespace

int RunAdmin(const Options& options, const Connection& node) {
  switch (options.command) {
    case Command::kNodes:
      return Call(options, node, &Stub::ListNodes, pb::ListNodesRequest());
    case Command::kLinks:
      return Call(options, node, &Stub::ListLinks, pb::ListLinksRequest());
    case Command::kPools:
      return Call(options, node, &Stub::ListPools, pb::ListPoolsRequest());
    case Command::kLinkDown:
    case Command::kLinkUp: {
      pb::SetLinkRequest request;
      request.set_id(options.link);
      request.set_up(options.command == Command::kLinkUp);
      return Call(options, node, &Stub::SetLink, request);
    }
    case Command::kSaeSuspend:
    case Command::kSaeResume: {
      pb::SetSaeRequest request;
      request.set_id(options.sae);
      request.set_suspended(options.command == Command::kSaeSuspend);
      return Call(options, node, &Stub::SetSae, request);
    }
    case Command::kQuotaList:
      return Call(options, node, &Stub::ListQuotas, pb::ListQuotasRequest());
    case Command::kQuotaSet:
    case Command::kQuotaReset: {
      pb::SetQuotaRequest request;
      request.set_sae_id(options.sae);
      request.set_slave_sae_id(options.slave);
      if (options.command == Command::kQuotaSet) {
        pb::QuotaLimits& limits = *request.mutable_limits();
        limits.set_keys_per_second(options.keys_per_second);
        limits.set_bits_per_second(options.bits_per_second);
        const auto ms = static_cast<int64_t>(std::llround(options.burst_s * 1000));
        limits.mutable_burst()->set_seconds(ms / 1000);
        limits.mutable_burst()->set_nanos(static_cast<int32_t>(ms % 1000) * 1'000'000);
        limits.set_share(options.share);
      }
      return Call(options, node, &Stub::SetQuota, request);
    }
    case Command::kRotateStoreKey:
      return Call(options, node, &Stub::RotateStoreKey, pb::RotateStoreKeyRequest());
    default:
      return Call(options, node, &Stub::GetStatus, pb::GetStatusRequest());
  }
}

}  // namespace keyhop::cli
