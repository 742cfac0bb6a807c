// The program `keyhop` as a process, against a node in this process.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "keyhop/admin/v1/admin.grpc.pb.h"
#include "kms/ak/grpc_service.h"
#include "kms/tls/grpc_credentials.h"
#include "tests/kms/ak/ak_fixture.h"
#include "tests/kms/ak/fake_delivery_port.h"

extern char** environ;

namespace keyhop {
namespace {

namespace admin = ::keyhop::admin::v1;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

class FakeAdmin final : public admin::Admin::Service {
 public:
  grpc::Status GetStatus(grpc::ServerContext*, const admin::GetStatusRequest*,
                         admin::GetStatusResponse* answer) override {
    answer->set_node_id("kme-a");
    answer->set_version("0.1.0");
    answer->mutable_uptime()->set_seconds(90);
    answer->set_ready(true);
    answer->set_secure_heap_bytes(4 << 20);
    return grpc::Status::OK;
  }
  grpc::Status ListNodes(grpc::ServerContext*, const admin::ListNodesRequest*,
                         admin::ListNodesResponse* answer) override {
    admin::Node& node = *answer->add_nodes();
    node.set_id("kme-b");
    node.set_reachable(true);
    node.set_hops(2);
    node.add_sae_ids("bob");
    node.add_sae_ids("c\"\x1b[2J");
    return grpc::Status::OK;
  }
  grpc::Status ListLinks(grpc::ServerContext*, const admin::ListLinksRequest*,
                         admin::ListLinksResponse* answer) override {
    admin::Link& link = *answer->add_links();
    link.set_id("ab");
    link.set_peer_id("kme-b");
    link.set_up(up_);
    link.set_qber(0.0123);
    link.set_free_pad_send_bytes(3 << 19);
    return grpc::Status::OK;
  }
  grpc::Status ListPools(grpc::ServerContext*, const admin::ListPoolsRequest*,
                         admin::ListPoolsResponse* answer) override {
    admin::Pool& pool = *answer->add_pools();
    pool.set_source_id("kme-a");
    pool.set_destination_id("kme-b");
    pool.set_epoch(7);
    for (const char* node : {"kme-a", "kme-c", "kme-b"}) pool.add_last_path(node);
    return grpc::Status::OK;
  }
  grpc::Status SetLink(grpc::ServerContext*, const admin::SetLinkRequest* request,
                       admin::SetLinkResponse* answer) override {
    if (request->id() != "ab") {
      return {grpc::StatusCode::NOT_FOUND, "no such link here: " + request->id()};
    }
    up_ = request->up();
    answer->mutable_link()->set_id("ab");
    answer->mutable_link()->set_up(up_);
    answer->mutable_link()->set_admin_up(up_);
    return grpc::Status::OK;
  }

  grpc::Status RotateStoreKey(grpc::ServerContext*, const admin::RotateStoreKeyRequest*,
                              admin::RotateStoreKeyResponse* answer) override {
    answer->set_store_key_number(++store_key_);
    answer->mutable_took()->set_nanos(20'000'000);
    return grpc::Status::OK;
  }

 private:
  bool up_ = true;
  uint64_t store_key_ = 6;
};

constexpr char kUnknownKeyId[] = "0f52ae4e-3c1c-4d4b-9a53-6a3b8a3e54d1";

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

class CliTest : public ::testing::Test {
 protected:
  CliTest()
      : delivery_(MakeDeliveryGrpcService(port_, [this](const grpc::ServerContextBase& context) {
          return peers_.PeerSae(*context.auth_context());
        })) {
    servers_.push_back(Serve("saes", CertificateKind::kSae, delivery_.get(), sae_port_));
    servers_.push_back(Serve("operators", CertificateKind::kOperator, &admin_, admin_port_));
  }
  ~CliTest() override {
    for (const auto& server : servers_) server->Shutdown();
  }

  std::unique_ptr<grpc::Server> Serve(const std::string& clients, CertificateKind kind,
                                      grpc::Service* service, int& port) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(
        "127.0.0.1:0", GrpcTls::Create(certs_.Node(clients))->Server(kind, IdentityRules()), &port);
    builder.RegisterService(service);
    return builder.BuildAndStart();
  }

  static std::string ReadAll(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  // Runs `keyhop ARGUMENTS...`.
  Ran Run(const std::vector<std::string>& arguments) {
    const std::string out = certs_.Path("out"), err = certs_.Path("err");
    std::vector<char*> argv = {const_cast<char*>(KEYHOP_PROGRAM)};
    for (const std::string& argument : arguments) {
      argv.push_back(const_cast<char*>(argument.c_str()));
    }
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t pid = 0;
    EXPECT_EQ(posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    waitpid(pid, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, ReadAll(out), ReadAll(err)};
  }

  // The same with the connection options of `who`.
  Ran As(const std::string& who, std::vector<std::string> arguments) {
    const int port = who == "operator" ? admin_port_ : sae_port_;
    return Run(Concat(Connect(who, absl::StrCat("127.0.0.1:", port)), std::move(arguments)));
  }
  std::vector<std::string> Connect(const std::string& who, const std::string& node) {
    const PemFiles files = certs_.Client(who);
    return {"--node", node, "--ca", files.peer_ca, "--cert", files.cert, "--key", files.key};
  }
  static std::vector<std::string> Concat(std::vector<std::string> a, std::vector<std::string> b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  AkCerts certs_;
  FakeDeliveryPort port_;
  FakeAdmin admin_;
  GrpcPeers peers_{IdentityRules()};
  std::unique_ptr<grpc::Service> delivery_;
  int sae_port_ = 0;
  int admin_port_ = 0;
  std::vector<std::unique_ptr<grpc::Server>> servers_;
};

TEST_F(CliTest, GetsAndFetchesTheSameKeyContainer) {
  const Ran got = As("alice", {"--json", "key", "get", "bob", "--number", "2", "--size", "128"});
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_EQ(got.err, "");
  EXPECT_THAT(got.out,
              MatchesRegex(R"re(\{"keys":\[\{"key_ID":"[-0-9a-f]+","key":"[+/A-Za-z0-9]+==")re"
                           R"re(\},\{"key_ID":"[-0-9a-f]+","key":"[+/A-Za-z0-9]+=="\}\]\}.)re"));
  const size_t second = got.out.find("key_ID", 30);
  const Ran fetched = As("bob", {"--json", "key", "fetch", "alice", got.out.substr(20, 36),
                                 got.out.substr(second + 9, 36)});
  EXPECT_EQ(fetched.code, 0) << fetched.err;
  EXPECT_TRUE(fetched.out == got.out);
  const Ran again = As("bob", {"key", "fetch", "alice", got.out.substr(20, 36)});
  EXPECT_EQ(again.code, 3);
  EXPECT_THAT(again.err, HasSubstr(kKeysNotFound));
  EXPECT_EQ(again.out, "");
}

TEST_F(CliTest, TakesOptionsAfterTheCommandToo) {
  const Ran got = Run(Concat({"key", "get", "bob", "--json"},
                             Connect("alice", absl::StrCat("127.0.0.1:", sae_port_))));
  EXPECT_EQ(got.code, 0) << got.err;
}

TEST_F(CliTest, PrintsTablesWithoutColoursToAFile) {
  const Ran got = As("alice", {"key", "get", "bob"});
  EXPECT_EQ(got.code, 0) << got.err;
  EXPECT_THAT(got.out, HasSubstr("KEY_ID"));
  EXPECT_THAT(got.out, HasSubstr("   256  "));
  EXPECT_THAT(got.out, Not(HasSubstr("\x1b")));
  const Ran status = As("alice", {"status", "bob"});
  EXPECT_EQ(status.code, 0) << status.err;
  EXPECT_THAT(status.out, HasSubstr("Keys at hand                  200\n"));
}

TEST_F(CliTest, PrintsThePairStatusOfTheStandard) {
  const Ran status = As("alice", {"--json", "status", "bob"});
  EXPECT_EQ(status.out,
            R"({"source_KME_ID":"kme-a","target_KME_ID":"kme-b","master_SAE_ID":"alice",)"
            R"("slave_SAE_ID":"bob","key_size":256,"stored_key_count":200,"max_key_count":1000,)"
            R"("max_key_per_request":128,"max_key_size":16384,"min_key_size":32,)"
            R"("max_SAE_ID_count":2})"
            "\n");
}

TEST_F(CliTest, ExitsWith3WhenRefused) {
  const Ran odd = As("alice", {"key", "get", "bob", "--size", "7"});
  EXPECT_EQ(odd.code, 3);
  EXPECT_THAT(odd.err, HasSubstr(kSizeNotMultipleOf8));
  EXPECT_EQ(As("alice", {"key", "get", "alice"}).code, 3);
  EXPECT_EQ(As("alice", {"key", "get", "broken"}).code, 3);
  EXPECT_EQ(As("alice", {"key", "fetch", "bob", "not-a-uuid"}).code, 3);
  EXPECT_EQ(As("alice", {"nodes"}).code, 3);  // No such service for SAEs here.
}

TEST_F(CliTest, ExitsWith4WhenUnavailableForNow) {
  const Ran down = As("alice", {"key", "get", "down"});
  EXPECT_EQ(down.code, 4);
  EXPECT_THAT(down.err, HasSubstr("not enough key now"));
  EXPECT_THAT(down.err, HasSubstr("Try again in 1500 ms"));
  EXPECT_EQ(As("alice", {"key", "get", "full"}).code, 4);
  EXPECT_EQ(As("alice", {"--timeout", "1", "key", "get", "slow"}).code, 4);
  port_.Release();
}

TEST_F(CliTest, TellsTheDetailsOfARefusal) {
  const Ran down = As("alice", {"key", "get", "down", "--number", "2"});
  EXPECT_EQ(down.code, 4);
  EXPECT_EQ(down.out, "");
  EXPECT_EQ(down.err,
            "keyhop: unavailable for now: not enough key now\n"
            "  bits_asked: 512\n"
            "Try again in 1500 ms.\n");
}

TEST_F(CliTest, WritesARefusalAsRestDoesWithJson) {
  const Ran down = As("alice", {"--json", "key", "get", "down"});
  EXPECT_EQ(down.code, 4);
  EXPECT_EQ(down.out,
            "{\"message\":\"not enough key now\",\"details\":[{\"bits_asked\":\"256\"}]}\n");
  EXPECT_THAT(down.err, HasSubstr("  bits_asked: 256\n"));
  const Ran unknown = As("bob", {"--json", "key", "fetch", "alice", kUnknownKeyId});
  EXPECT_EQ(unknown.code, 3);
  EXPECT_EQ(unknown.out, absl::StrCat("{\"message\":\"", kKeysNotFound, "\"}\n"));
}

TEST_F(CliTest, WritesNothingForAnAnswerThatDidNotComeWithJson) {
  const Ran late = As("alice", {"--json", "--timeout", "1", "key", "get", "slow"});
  port_.Release();
  EXPECT_EQ(late.code, 4);
  EXPECT_EQ(late.out, "");
  EXPECT_EQ(As("alice", {"--json", "--timeout", "1", "key", "watch", "--keys", "1"}).out, "");
  servers_[0]->Shutdown();
  const Ran nobody = As("alice", {"--json", "key", "get", "bob"});
  EXPECT_EQ(nobody.code, 5);
  EXPECT_EQ(nobody.out, "");
}

TEST_F(CliTest, DoesNotLetARefusalSteerTheTerminal) {
  const Ran odd = As("operator", {"--json", "link", "down", "\x1b[2J"});
  EXPECT_EQ(odd.code, 3);
  EXPECT_THAT(odd.err, HasSubstr("no such link here: ?[2J"));
  EXPECT_THAT(odd.out, HasSubstr(R"("no such link here: \u001b[2J")"));
}

TEST_F(CliTest, ExitsWith5WithoutConnection) {
  servers_[1]->Shutdown();
  const Ran nobody = As("operator", {"nodes"});
  EXPECT_EQ(nobody.code, 5) << nobody.err;
  EXPECT_THAT(nobody.err, HasSubstr("no connection to 127.0.0.1"));
  EXPECT_EQ(As("forged", {"key", "get", "bob"}).code, 5);
  // A server that the CA does not vouch for.
  std::vector<std::string> connect = Connect("alice", absl::StrCat("127.0.0.1:", sae_port_));
  connect[3] = certs_.Path("strangers.crt");
  const Ran distrust = Run(Concat(connect, {"key", "get", "bob"}));
  EXPECT_EQ(distrust.code, 5) << distrust.err;
  EXPECT_EQ(port_.keys_drawn(), 0u);
}

TEST_F(CliTest, NamesAdditionalSlavesWhoFetchTheSameKey) {
  const Ran got = As("alice", {"--json", "key", "get", "--additional", "carol", "bob"});
  ASSERT_EQ(got.code, 0) << got.err;
  const std::string id = got.out.substr(20, 36);
  for (const char* slave : {"bob", "carol"}) {
    const Ran fetched = As(slave, {"--json", "key", "fetch", "alice", id});
    EXPECT_EQ(fetched.code, 0) << fetched.err;
    EXPECT_TRUE(fetched.out == got.out) << slave;
  }
  EXPECT_EQ(As("alice", {"key", "get", "bob", "--additional", "nobody"}).code, 3);
}

TEST_F(CliTest, ExitsWith2OnWrongUsage) {
  EXPECT_EQ(Run({}).code, 2);
  EXPECT_EQ(Run({"nonsense"}).code, 2);
  EXPECT_EQ(As("alice", {}).code, 2);
  EXPECT_EQ(As("alice", {"key"}).code, 2);
  EXPECT_EQ(As("alice", {"key", "get"}).code, 2);
  EXPECT_EQ(As("alice", {"key", "fetch", "bob"}).code, 2);
  EXPECT_EQ(As("alice", {"key", "get", "bob", "--number", "x"}).code, 2);
  EXPECT_EQ(As("alice", {"link", "sideways", "ab"}).code, 2);
  EXPECT_EQ(Run(Concat(Connect("alice", "nowhere"), {"nodes"})).code, 2);
  EXPECT_EQ(Run(Concat(Connect("nobody", "127.0.0.1:1"), {"nodes"})).code, 2);
  std::vector<std::string> mixed = Connect("alice", "127.0.0.1:1");
  mixed[7] = certs_.Path("bob.key");
  const Ran wrong_key = Run(Concat(mixed, {"nodes"}));
  EXPECT_EQ(wrong_key.code, 2);
  EXPECT_THAT(wrong_key.err, HasSubstr("bob.key"));
}

TEST_F(CliTest, HelpTeaches) {
  const Ran help = Run({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* text : {"key get B", "Exit codes: 0 done", "--node HOST:PORT", "Examples:"}) {
    EXPECT_THAT(help.out, HasSubstr(text));
  }
  EXPECT_THAT(Run({"key", "get", "--help"}).out, HasSubstr("--size BITS"));
}

TEST_F(CliTest, ListsNodesLinksAndPools) {
  EXPECT_EQ(As("operator", {"--json", "status"}).out,
            R"({"node":"kme-a","version":"0.1.0","uptime_seconds":90,"ready":true,)"
            R"("secure_heap_locked":false,"secure_heap_bytes":4194304,"secure_heap_used_bytes":0})"
            "\n");
  EXPECT_EQ(As("operator", {"--json", "nodes"}).out,
            R"({"nodes":[{"id":"kme-b","self":false,"reachable":true,"hops":2,)"
            R"("last_heard_seconds":null,"saes":["bob","c\"\u001b[2J"]}]})"
            "\n");
  const Ran nodes = As("operator", {"nodes"});
  EXPECT_THAT(nodes.out, HasSubstr("NODE   SELF  REACHABLE  HOPS"));
  EXPECT_THAT(nodes.out, Not(HasSubstr("\x1b")));
  const Ran links = As("operator", {"links"});
  EXPECT_EQ(links.code, 0) << links.err;
  EXPECT_THAT(links.out, HasSubstr("1.5 MiB"));
  EXPECT_THAT(links.out, HasSubstr("0.0123"));
  EXPECT_THAT(As("operator", {"pools"}).out, HasSubstr("kme-a > kme-c > kme-b"));
}

TEST_F(CliTest, ReplacesTheStoreKey) {
  const Ran json = As("operator", {"--json", "store", "rotate-key"});
  EXPECT_EQ(json.code, 0) << json.err;
  EXPECT_EQ(json.out, "{\"store_key_number\":7,\"took_seconds\":0.02}\n");
  EXPECT_THAT(As("operator", {"store", "rotate-key"}).out, HasSubstr("  8\n"));
  EXPECT_EQ(As("operator", {"store"}).code, 2);
}

TEST_F(CliTest, TakesLinksDownAndUp) {
  EXPECT_THAT(As("operator", {"--json", "link", "down", "ab"}).out, HasSubstr(R"("up":false)"));
  EXPECT_THAT(As("operator", {"--json", "links"}).out, HasSubstr(R"("up":false)"));
  EXPECT_THAT(As("operator", {"--json", "link", "up", "ab"}).out, HasSubstr(R"("up":true)"));
  const Ran unknown = As("operator", {"link", "down", "zz"});
  EXPECT_EQ(unknown.code, 3);
  EXPECT_THAT(unknown.err, HasSubstr("no such link here"));
}

}  // namespace
}  // namespace keyhop
