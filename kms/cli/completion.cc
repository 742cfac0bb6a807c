#include "kms/cli/completion.h"

#include <CLI/CLI.hpp>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace keyhop::cli {
namespace {

struct Word {
  std::string text;
  std::string help;  // One line.
};

// One command with what may follow it.
struct Node {
  std::string path;  // "key get"; empty: the program itself.
  std::vector<Word> commands;
  std::vector<Word> options;
};

std::string OneLine(const std::string& text) {
  return absl::StrReplaceAll(text, {{"\n", " "}, {"'", ""}, {"`", ""}, {":", ""}, {"\"", ""}});
}

void Collect(const CLI::App& app, const std::string& path, std::vector<Node>& out) {
  Node node{.path = path, .commands = {}, .options = {}};
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      node.options.push_back({absl::StrCat("--", name), OneLine(option->get_description())});
    }
  }
  const std::vector<const CLI::App*> commands =
      app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* command : commands) {
    node.commands.push_back({command->get_name(), OneLine(command->get_description())});
  }
  out.push_back(std::move(node));
  for (const CLI::App* command : commands) {
    Collect(*command, path.empty() ? command->get_name() : path + " " + command->get_name(), out);
  }
}

std::string Texts(const std::vector<Word>& words) {
  return absl::StrJoin(words, " ",
                       [](std::string* out, const Word& w) { absl::StrAppend(out, w.text); });
}

// Options that take a file or a folder, and all that take a value, as alternatives of `case`.
void Values(const CLI::App& app, std::vector<std::string>& files, std::vector<std::string>& all) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      if (option->get_expected_max() == 0) continue;
      all.push_back("--" + name);
      const std::string type = option->get_type_name();
      if (type.find("FILE") == 0 || type.find("DIR") == 0) files.push_back("--" + name);
    }
  }
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    Values(*command, files, all);
  }
}

// bash and zsh: which command the words so far are in, then what may follow there.
std::string Cases(const std::vector<Node>& nodes) {
  std::string out;
  for (const Node& node : nodes) {
    const Node& root = nodes.front();
    absl::StrAppend(&out, "    '", node.path, "') commands='", Texts(node.commands), "' options='",
                    Texts(node.options), node.path.empty() ? "" : " " + Texts(root.options),
                    "' ;;\n");
  }
  return out;
}

std::string Paths(const std::vector<Node>& nodes) {
  std::vector<std::string> paths;
  for (const Node& node : nodes) {
    if (!node.path.empty()) paths.push_back("'" + node.path + "'");
  }
  return absl::StrJoin(paths, "|");
}

// In bash and zsh: on from `word`, which one after the other of those so far is, to what was said
// last.
constexpr char kWalk[] = R"(    if [ -n "$skip" ]; then skip=; continue; fi
    case $word in
      @VALUES@) skip=1; continue ;;
    esac
    case "${at:+$at }$word" in
      @PATHS@) at="${at:+$at }$word" ;;
    esac
  done
  case $at in
@CASES@  esac
  case $prev in
)";

constexpr char kBash[] = R"(# bash completion of keyhop; source it, or put it into
# ~/.local/share/bash-completion/completions/keyhop
_keyhop() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at= skip= word i
  local commands= options=
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
@WALK@    @FILES@) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    @VALUES@) COMPREPLY=(); return ;;
  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
  elif [ "$at" = inspect-cert ]; then
    COMPREPLY=($(compgen -f -- "$cur"))
  elif [ "$at" = completion ]; then
    COMPREPLY=($(compgen -W 'bash zsh fish' -- "$cur"))
  else
    COMPREPLY=($(compgen -W "$commands" -- "$cur"))
  fi
}
complete -o filenames -F _keyhop keyhop
)";

constexpr char kZsh[] = R"(#compdef keyhop
# zsh completion of keyhop; put it into a folder of $fpath as _keyhop
_keyhop() {
  local at= skip= word i commands= options= cur=${words[CURRENT]} prev=${words[CURRENT-1]}
  for ((i = 2; i < CURRENT; i++)); do
    word=${words[i]}
@WALK@    @FILES@) _files; return ;;
    @VALUES@) return ;;
  esac
  if [[ $cur == -* ]]; then
    compadd -- ${=options}
  elif [[ $at == inspect-cert ]]; then
    _files
  elif [[ $at == completion ]]; then
    compadd -- bash zsh fish
  else
    compadd -- ${=commands}
  fi
}
if [ "${funcstack[1]}" = _keyhop ]; then
  _keyhop "$@"
elif (( $+functions[compdef] )); then
  compdef _keyhop keyhop
fi
)";

std::string Fish(const std::vector<Node>& nodes, const std::string& files) {
  std::string out =
      "# fish completion of keyhop; put it into ~/.config/fish/completions/keyhop.fish\n"
      "function __keyhop_at\n"
      "  set -l at\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    switch (string join ' ' $at $word)\n";
  absl::StrAppend(&out, "      case ", absl::StrReplaceAll(Paths(nodes), {{"|", " "}}),
                  "\n"
                  "        set at $at $word\n"
                  "    end\n"
                  "  end\n"
                  "  test \"$at\" = \"$argv\"\n"
                  "end\n"
                  "complete -c keyhop -f\n");
  for (const Node& node : nodes) {
    const std::string here = absl::StrCat("complete -c keyhop -n \"__keyhop_at ", node.path, "\"");
    for (const Word& w : node.commands) {
      absl::StrAppend(&out, here, " -a '", w.text, "' -d '", w.help, "'\n");
    }
    for (const Word& w : node.options) {
      // Options of the program itself may stand behind every command.
      const std::string where = node.path.empty() ? "complete -c keyhop" : here;
      const bool file = absl::StrContains("|" + files + "|", "|" + w.text + "|");
      absl::StrAppend(&out, where, " -l '", w.text.substr(2), "'", file ? " -r -F" : "", " -d '",
                      w.help, "'\n");
    }
  }
  absl::StrAppend(&out, "complete -c keyhop -n \"__keyhop_at inspect-cert\" -F\n",
                  "complete -c keyhop -n \"__keyhop_at completion\" -a 'bash zsh fish'\n");
  return out;
}

}  // namespace

std::string CompletionScript(const CLI::App& app, const std::string& shell) {
  std::vector<Node> nodes;
  Collect(app, "", nodes);
  std::vector<std::string> file_options, value_options;
  Values(app, file_options, value_options);
  const std::string files = absl::StrJoin(file_options, "|");
  if (shell == "fish") return Fish(nodes, files);
  const std::string script =
      absl::StrReplaceAll(shell == "zsh" ? kZsh : kBash, {{"@WALK@", kWalk}});
  return absl::StrReplaceAll(script, {{"@CASES@", Cases(nodes)},
                                      {"@PATHS@", Paths(nodes)},
                                      {"@FILES@", files},
                                      {"@VALUES@", absl::StrJoin(value_options, "|")}});
}

}  // namespace keyhop::cli
