// What `keyhop` does without a node: as a process, from a shell.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/kms/tls/test_certs.h"

namespace keyhop {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Ran {
  int code = -1;
  std::string out;  // And standard error.
};

Ran Shell(const std::string& line) {
  Ran ran;
  FILE* pipe = popen(absl::StrCat("exec 2>&1; ", line).c_str(), "r");
  std::array<char, 4096> buffer;
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    ran.out.append(buffer.data(), n);
  }
  const int status = pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ran;
}

class CliLocalTest : public ::testing::Test {
 protected:
  CliLocalTest() { Shell(absl::StrCat("deploy/make-certs.sh ", Pki(), " --node n1 --sae old")); }
  std::string Pki() const { return certs_.Path("pki"); }
  Ran Run(const std::string& arguments) {
    return Shell(absl::StrCat(KEYHOP_PROGRAM, " ", arguments));
  }

  TestCerts certs_;
};

TEST_F(CliLocalTest, SaeAddMakesFilesThatOpensslReads) {
  const Ran added = Run("sae add 'al ice/1' --pki " + Pki());
  ASSERT_EQ(added.code, 0) << added.out;
  const std::string at = "'" + Pki() + "/saes/al%20ice%2F1/sae";
  EXPECT_THAT(added.out, AllOf(HasSubstr("sae.pkcs1.key"), HasSubstr("- id: \"al ice/1\"")));
  for (const std::string& line :
       {"openssl verify -CAfile " + Pki() + "/sae-ca.crt " + at + ".crt'",
        "openssl pkey -noout -in " + at + ".key'", "openssl rsa -noout -in " + at + ".pkcs1.key'",
        "openssl pkey -noout -in " + at + ".pem'", "openssl x509 -noout -in " + at + ".pem'",
        "openssl pkcs12 -noout -in " + at + ".p12' -passin file:" + at + ".p12.password'"}) {
    const Ran ran = Shell(line);
    EXPECT_EQ(ran.code, 0) << line << ran.out;
  }
  EXPECT_EQ(Shell("find " + Pki() + "/saes -name '*.key' -perm /077 | grep .").code, 1);
}

TEST_F(CliLocalTest, SaeAddTakesWhatMakeCertsMade) {
  const Ran added = Run("--json sae add old --pki " + Pki());
  EXPECT_EQ(added.code, 0) << added.out;
  EXPECT_THAT(added.out, AllOf(HasSubstr("{\"made\":false,"), HasSubstr("sae.sec1.key")));
}

TEST_F(CliLocalTest, SaeAddSaysWhatIsMissing) {
  fs::create_directories(certs_.Path("empty"));
  const Ran ran = Run("sae add alice --pki " + certs_.Path("empty"));
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.out, HasSubstr("make-certs.sh"));
  EXPECT_EQ(Run("sae add '' --pki " + Pki()).code, 2);
  EXPECT_EQ(Run("sae add").code, 2);
}

TEST_F(CliLocalTest, InspectCertSaysWhoTheHolderIs) {
  const std::string file = Pki() + "/saes/old/sae.crt";
  const Ran human = Run("inspect-cert " + file + " --ca " + Pki() + "/node-ca.crt");
  EXPECT_EQ(human.code, 0) << human.out;
  EXPECT_THAT(human.out,
              AllOf(HasSubstr("URI_SAN_KEYHOP         old"), HasSubstr("sae       \"old\""),
                    HasSubstr("issuer: expected a CA in")));
  EXPECT_EQ(Run("inspect-cert --as sae " + file + " --ca " + Pki() + "/sae-ca.crt").code, 0);
  EXPECT_EQ(Run("inspect-cert --as sae " + file + " --ca " + Pki() + "/node-ca.crt").code, 3);
  EXPECT_EQ(Run("inspect-cert --as node " + file).code, 3);
  EXPECT_EQ(Run("inspect-cert " + Pki() + "/saes/old/sae.key").code, 2);
  EXPECT_EQ(Run("inspect-cert " + file + " --sae-rules NAME").code, 2);
  EXPECT_THAT(Run("--json inspect-cert " + file).out,
              HasSubstr("\"as\":{\"sae\":{\"id\":\"old\"}"));
}

// Asks bash itself what it would offer.
std::string Offered(const std::string& words) {
  return Shell(absl::StrCat(
                   "bash -c 'source <(", KEYHOP_PROGRAM, " completion bash); COMP_WORDS=(", words,
                   "); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _keyhop; echo \"${COMPREPLY[*]}\"'"))
      .out;
}

TEST_F(CliLocalTest, BashCompletesCommandsAndOptions) {
  EXPECT_EQ(Offered("keyhop ke"), "key\n");
  EXPECT_EQ(Offered("keyhop --node h:1 key \"\""), "get fetch watch\n");
  EXPECT_EQ(Offered("keyhop link \"\""), "down up\n");
  EXPECT_EQ(Offered("keyhop quota \"\""), "list set reset\n");
  EXPECT_EQ(Offered("keyhop quota set bob --s"), "--slave --share\n");
  EXPECT_EQ(Offered("keyhop quota reset bob --s"), "--slave\n");
  EXPECT_EQ(Offered("keyhop key get bob --nu"), "--number\n");
  EXPECT_EQ(Offered("keyhop key get bob --jso"), "--json\n");
  EXPECT_EQ(Offered("keyhop completion \"\""), "bash zsh fish\n");
  EXPECT_THAT(Offered("keyhop --ca deploy/make-ce"), HasSubstr("deploy/make-certs.sh"));
  EXPECT_EQ(Offered("keyhop --timeout \"\""), "\n");
}

TEST_F(CliLocalTest, FishCompletesCommandsAndOptions) {
  const auto offered = [](const std::string& line) {
    return Shell(absl::StrCat("fish --no-config -c '", KEYHOP_PROGRAM,
                              " completion fish | source; complete -C \"", line, "\"'"))
        .out;
  };
  EXPECT_THAT(offered("keyhop key "),
              AllOf(HasSubstr("get\t"), HasSubstr("fetch\t"), Not(HasSubstr("links"))));
  EXPECT_THAT(offered("keyhop key get bob --nu"), HasSubstr("--number\t"));
  EXPECT_THAT(offered("keyhop link d"), HasSubstr("down\t"));
  EXPECT_THAT(offered("keyhop quota "),
              AllOf(HasSubstr("list\t"), HasSubstr("set\t"), HasSubstr("reset\t")));
  EXPECT_THAT(offered("keyhop quota set bob --keys"), HasSubstr("--keys-per-second\t"));
}

TEST_F(CliLocalTest, ZshCompletesCommandsAndOptions) {
  const std::string script = certs_.Path("_keyhop");
  ASSERT_EQ(Shell(absl::StrCat(KEYHOP_PROGRAM, " completion zsh >", script)).code, 0);
  // Without a terminal: what the function would hand to the line editor.
  const auto offered = [&](const std::string& words) {
    return Shell(absl::StrCat("zsh -f -c 'compadd() { shift; print -r -- $* }; _files() { print "
                              "FILES }; source ",
                              script, "; words=(", words, "); CURRENT=$#words; _keyhop'"))
        .out;
  };
  EXPECT_EQ(offered("keyhop link \"\""), "down up\n");
  EXPECT_EQ(offered("keyhop quota \"\""), "list set reset\n");
  EXPECT_THAT(offered("keyhop quota set bob --"), HasSubstr("--keys-per-second"));
  EXPECT_THAT(offered("keyhop key get bob --"), HasSubstr("--number --size"));
  EXPECT_EQ(offered("keyhop --ca \"\""), "FILES\n");
}

}  // namespace
}  // namespace keyhop
