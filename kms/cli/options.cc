#include "kms/cli/options.h"

#include <CLI/CLI.hpp>

#include "kms/cli/completion.h"
#include "kms/cli/exit_code.h"

namespace keyhop::cli {
namespace {

constexpr char kAbout[] =
    "keyhop asks one node of a QKD network for keys and for its state.\n"
    "\n"
    "An application (SAE) draws a key at its own node and tells its partner the key_ID;\n"
    "the partner fetches the same key, once, at its own node:\n"
    "\n"
    "  at A's node   keyhop key get B            prints key_ID and key\n"
    "  at B's node   keyhop key fetch A KEY_ID   prints the same key\n"
    "\n"
    "Who you are is what your certificate says: an SAE's certificate draws and fetches keys,\n"
    "an operator's certificate lists nodes, links and pools, takes links down (until they are "
    "taken\n"
    "up again, also over restarts), sets what SAEs may draw and replaces the store key.\n"
    "\n"
    "New here? `keyhop sae add ID` makes a certificate in every form that clients ask for,\n"
    "`keyhop inspect-cert FILE` says who a node takes the holder of a certificate for.";

constexpr char kFooter[] =
    "Examples:\n"
    "  keyhop --node 127.0.0.1:9443 --ca ca.pem --cert alice.pem --key alice.key key get bob\n"
    "  keyhop ... --json key get bob --number 2 --size 512\n"
    "  keyhop ... key fetch alice 0f52ae4e-3c1c-4d4b-9a53-6a3b8a3e54d1\n"
    "  keyhop --node 127.0.0.1:9443 --ca ca.pem --cert op.pem --key op.key links\n"
    "\n"
    "Exit codes: 0 done; 2 wrong usage; 3 refused; 4 unavailable for now, try again;\n"
    "5 no connection (unreachable, or one end does not trust the other's certificate).\n"
    "--node, --ca, --cert and --key may also come from the environment: KEYHOP_NODE,\n"
    "KEYHOP_CA, KEYHOP_CERT, KEYHOP_KEY.";

void AddConnection(CLI::App& app, Options& o) {
  const char* const group = "Connection";
  app.add_option("--node", o.node, "The node's gRPC address")
      ->envname("KEYHOP_NODE")
      ->type_name("HOST:PORT")
      ->check([](const std::string& text) {
        const size_t colon = text.rfind(':');
        const bool good = colon != std::string::npos && colon > 0 && colon + 1 < text.size() &&
                          text.find_first_not_of("0123456789", colon + 1) == std::string::npos;
        return good ? std::string() : "'" + text + "': expected HOST:PORT";
      })
      ->group(group);
  const auto file = [&](const char* name, std::string& value, const char* help, const char* env) {
    app.add_option(name, value, help)
        ->envname(env)
        ->type_name("FILE")
        ->check(CLI::ExistingFile)
        ->group(group);
  };
  file("--ca", o.ca, "CA that the node's certificate must come from (PEM)", "KEYHOP_CA");
  file("--cert", o.cert, "Your certificate (PEM)", "KEYHOP_CERT");
  file("--key", o.key, "Private key of your certificate (PEM)", "KEYHOP_KEY");
  app.add_option("--timeout", o.timeout_s, "Give up after this many seconds")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str()
      ->group(group);
  app.add_flag(
      "--json", o.json,
      "Print JSON; for keys the key container of ETSI GS QKD 014, for a refusal its error");
}

CLI::App* AddCommand(CLI::App& app, Options& o, Command command, const char* name,
                     const char* help) {
  CLI::App* sub = app.add_subcommand(name, help);
  sub->callback([&o, command] { o.command = command; });
  sub->fallthrough();
  return sub;
}

void AddKeyCommands(CLI::App& app, Options& o) {
  CLI::App* key = app.add_subcommand("key", "Draw and fetch keys (SAE's certificate)");
  key->require_subcommand(1);
  key->fallthrough();
  CLI::App* get = AddCommand(*key, o, Command::kKeyGet, "get",
                             "Draw fresh keys that SLAVE can fetch; you are their master");
  get->add_option("SLAVE", o.sae, "SAE that will fetch the keys")->required();
  get->add_option("--number", o.number, "How many keys (default: 1)")->type_name("N");
  get->add_option("--size", o.size_bits, "Size of a key in bits (default: the node's)")
      ->type_name("BITS");
  get->add_option("--additional", o.additional_slaves,
                  "Further SAE that can fetch the same keys, as often as needed; all or none")
      ->type_name("SAE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  CLI::App* fetch = AddCommand(*key, o, Command::kKeyFetch, "fetch",
                               "Fetch keys that MASTER drew for you, each once; all or none");
  fetch->add_option("MASTER", o.sae, "SAE that drew the keys")->required();
  fetch->add_option("ID", o.key_ids, "Their key_IDs")->required();
  for (CLI::App* command : {get, fetch}) {
    command
        ->add_option("--idempotency-key", o.idempotency_key,
                     "Asked again under the same text, the node gives the same answer")
        ->type_name("TEXT");
  }
  CLI::App* watch = AddCommand(*key, o, Command::kKeyWatch, "watch",
                               "Print the key_IDs of keys that are drawn for you, as they are");
  watch->add_option("--resume", o.resume_token, "Go on after the line that had this token")
      ->type_name("TOKEN");
  watch
      ->add_option("--keys", o.watch_keys,
                   "End after so many keys, or with 4 at the timeout (default: go on for ever)")
      ->type_name("N");
}

void AddStreamCommands(CLI::App& app, Options& o) {
  CLI::App* stream =
      app.add_subcommand("stream", "Key streams of ETSI GS QKD 004 (SAE's certificate)");
  stream->require_subcommand(1);
  stream->fallthrough();
  CLI::App* open =
      AddCommand(*stream, o, Command::kStreamOpen, "open",
                 "Open a stream between two SAEs, of which you are one; prints its ID");
  open->add_option("SOURCE", o.stream_source, "SAE ID, or a URI that names it")->required();
  open->add_option("DESTINATION", o.stream_destination, "The same of the other")->required();
  open->add_option("--id", o.stream_id, "Join this stream, or open it together (waits)")
      ->type_name("UUID");
  for (const auto& [name, value, unit, help] :
       {std::tuple("--chunk", &o.chunk_bytes, "BYTES", "Size of a chunk"),
        std::tuple("--max-bps", &o.max_bps, "BIT/S", "Pace of deliveries"),
        std::tuple("--min-bps", &o.min_bps, "BIT/S", "Rate to reserve"),
        std::tuple("--jitter", &o.jitter_bps, "BIT/S", "How far deliveries may run ahead"),
        std::tuple("--priority", &o.priority, "N", "The higher, the earlier"),
        std::tuple("--call-timeout", &o.stream_timeout_ms, "MS", "Timeout of calls"),
        std::tuple("--ttl", &o.ttl_s, "SECONDS", "Life of chunks that are not read")}) {
    open->add_option(name, *value, help)->type_name(unit);
  }
  open->add_flag("--metadata", o.metadata, "Chunks come with metadata");
  CLI::App* get = AddCommand(*stream, o, Command::kStreamGet, "get", "Take one chunk, once");
  CLI::App* close = AddCommand(*stream, o, Command::kStreamClose, "close", "Close your side");
  for (CLI::App* command : {get, close}) {
    command->add_option("ID", o.stream_id, "The stream's ID")->required();
  }
  get->add_option("INDEX", o.stream_index, "From 0")->required();
  get->add_option("--metadata-size", o.metadata_size, "Room for metadata; 0: none")
      ->type_name("BYTES");
}

void AddQuotaCommands(CLI::App& app, Options& o) {
  CLI::App* quota = app.add_subcommand("quota", "What SAEs of the node may draw (operator)");
  quota->require_subcommand(1);
  quota->fallthrough();
  AddCommand(*quota, o, Command::kQuotaList, "list", "The quotas in force");
  CLI::App* set = AddCommand(*quota, o, Command::kQuotaSet, "set",
                             "Set one, in the place of the configuration; it holds over restarts");
  CLI::App* reset = AddCommand(*quota, o, Command::kQuotaReset, "reset",
                               "Take back what was set: the configuration stands again");
  for (CLI::App* command : {set, reset}) {
    command->add_option("SAE", o.sae, "SAE whose home is the node; *: each without its own")
        ->required();
    command->add_option("--slave", o.slave, "Only what it draws for this slave")->type_name("SAE");
  }
  set->add_option("--keys-per-second", o.keys_per_second, "Keys in the long run; 0: no limit")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  set->add_option("--bits-per-second", o.bits_per_second, "Bits in the long run; 0: no limit")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  set->add_option("--burst", o.burst_s, "Seconds of either rate that may be drawn at once")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  set->add_option("--share", o.share, "Of key that several SAEs wait for, beside the others'")
      ->type_name("N")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
}

void AddOperatorCommands(CLI::App& app, Options& o) {
  CLI::App* status = app.add_subcommand(
      "status", "The node itself (operator), or the keys at hand for SLAVE (SAE)");
  status->fallthrough();
  status->add_option("SLAVE", o.sae, "SAE that would fetch your keys");
  status->callback(
      [&o] { o.command = o.sae.empty() ? Command::kNodeStatus : Command::kPairStatus; });
  AddCommand(app, o, Command::kNodes, "nodes", "The nodes that the node knows (operator)");
  AddCommand(app, o, Command::kLinks, "links", "The node's QKD links (operator)");
  AddCommand(app, o, Command::kPools, "pools",
             "The pair streams that begin or end at the node (operator)");
  CLI::App* link = app.add_subcommand("link", "Take a link out of use or back into it (operator)");
  link->require_subcommand(1);
  link->fallthrough();
  for (const auto& [command, name, help] :
       {std::tuple(Command::kLinkDown, "down", "Carry nothing over this link; its pads stay"),
        std::tuple(Command::kLinkUp, "up", "Use this link again")}) {
    AddCommand(*link, o, command, name, help)
        ->add_option("ID", o.link, "ID of the link, as `keyhop links` shows it")
        ->required();
  }
  CLI::App* sae = app.add_subcommand(
      "sae", "Applications: certificates (on the CA's machine); suspend, resume (operator)");
  sae->require_subcommand(1);
  sae->fallthrough();
  for (const auto& [command, name, help] :
       {std::tuple(Command::kSaeSuspend, "suspend", "Refuse its every request from now on"),
        std::tuple(Command::kSaeResume, "resume", "Serve it again")}) {
    AddCommand(*sae, o, command, name, help)
        ->add_option("ID", o.sae, "ID of an SAE whose home is the node")
        ->required();
  }
  AddQuotaCommands(app, o);
  CLI::App* store = app.add_subcommand("store", "The node's store (operator)");
  store->require_subcommand(1);
  store->fallthrough();
  AddCommand(*store, o, Command::kRotateStoreKey, "rotate-key",
             "Replace the store key now: old copies of the store then open no consumed key");
}

// What works on files here, without a node.
void AddLocalCommands(CLI::App& app, Options& o) {
  CLI::App* add = AddCommand(
      *app.get_subcommand("sae"), o, Command::kSaeAdd, "add",
      "Make key and certificate of an SAE by the lab's CA, in every form that clients ask for:\n"
      "PKCS#8, PKCS#1, PEM with both, PKCS#12, chain. What is there stays");
  add->add_option("ID", o.sae, "The SAE's ID")->required();
  add->add_option("--pki", o.pki, "Folder that deploy/make-certs.sh made (holds sae-ca.crt)")
      ->type_name("DIR")
      ->check(CLI::ExistingDirectory)
      ->envname("KEYHOP_PKI")
      ->capture_default_str();
  add->add_flag("--ec", o.ec_key, "A P-256 key instead of RSA 3072: quicker, but never PKCS#1");
  add->add_option("--days", o.days, "How long the certificate is valid")
      ->check(CLI::Range(1, 36500))
      ->capture_default_str();

  CLI::App* inspect =
      AddCommand(app, o, Command::kInspectCert, "inspect-cert",
                 "What each identity rule makes of a certificate, and whether --ca vouches for it");
  inspect->add_option("FILE", o.file, "The certificate, PEM or DER")
      ->required()
      ->check(CLI::ExistingFile);
  inspect->add_option("--as", o.as, "Exit with 3 unless it can be used as this")
      ->check(CLI::IsMember({"sae", "node", "module", "operator"}));
  const auto rules = [&](const char* name, std::vector<std::string>& value, const char* help) {
    inspect->add_option(name, value, help)->delimiter(',')->type_name("RULE,...");
  };
  rules("--sae-rules", o.sae_rules, "identity.sae_rules of the node, if not the default");
  rules("--node-rules", o.node_rules, "identity.node_rules of the node, if not the default");

  CLI::App* completion = AddCommand(
      app, o, Command::kCompletion, "completion",
      "Print a script that completes this command line: source <(keyhop completion bash)");
  completion->add_option("SHELL", o.completion, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
}

// What a command that asks a node lacks; empty if nothing.
std::string LacksConnection(const Options& o) {
  switch (o.command) {
    case Command::kSaeAdd:
    case Command::kInspectCert:
    case Command::kCompletion:
      return "";
    default:
      break;
  }
  const std::pair<const char*, const std::string*> needed[] = {
      {"--node", &o.node}, {"--ca", &o.ca}, {"--cert", &o.cert}, {"--key", &o.key}};
  for (const auto& [name, value] : needed) {
    if (value->empty()) return name;
  }
  return "";
}

}  // namespace

std::variant<Options, int> ParseCommandLine(int argc, char** argv) {
  Options options;
  CLI::App app(kAbout, "keyhop");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Print this help and that of all commands");
  AddConnection(app, options);
  AddKeyCommands(app, options);
  AddStreamCommands(app, options);
  AddOperatorCommands(app, options);
  AddLocalCommands(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  if (const std::string lacks = LacksConnection(options); !lacks.empty()) {
    return app.exit(CLI::RequiredError(lacks)) == 0 ? kDone : kUsage;
  }
  if (options.command == Command::kCompletion) {
    options.completion = CompletionScript(app, options.completion);
  }
  return options;
}

}  // namespace keyhop::cli
