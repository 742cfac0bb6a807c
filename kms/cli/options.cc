#include "kms/cli/options.h"

#include <CLI/CLI.hpp>

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
    "up again, also over restarts) and replaces the store key.";

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
      ->required()
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
        ->required()
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
  app.add_flag("--json", o.json, "Print JSON; for keys the key container of ETSI GS QKD 014");
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
  CLI::App* fetch = AddCommand(*key, o, Command::kKeyFetch, "fetch",
                               "Fetch keys that MASTER drew for you, each once; all or none");
  fetch->add_option("MASTER", o.sae, "SAE that drew the keys")->required();
  fetch->add_option("ID", o.key_ids, "Their key_IDs")->required();
  CLI::App* watch = AddCommand(*key, o, Command::kKeyWatch, "watch",
                               "Print the key_IDs of keys that are drawn for you, as they are");
  watch->add_option("--resume", o.resume_token, "Go on after the line that had this token")
      ->type_name("TOKEN");
  watch
      ->add_option("--keys", o.watch_keys,
                   "End after so many keys, or with 4 at the timeout (default: go on for ever)")
      ->type_name("N");
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
  CLI::App* store = app.add_subcommand("store", "The node's store (operator)");
  store->require_subcommand(1);
  store->fallthrough();
  AddCommand(*store, o, Command::kRotateStoreKey, "rotate-key",
             "Replace the store key now: old copies of the store then open no consumed key");
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
  AddOperatorCommands(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  return options;
}

}  // namespace keyhop::cli
