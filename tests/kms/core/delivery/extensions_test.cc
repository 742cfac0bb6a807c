#include "kms/core/delivery/extensions.h"

#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace keyhop {
namespace {

using Parameters = std::vector<ExtensionParameter>;

DrawRequest Request(Parameters mandatory, Parameters optional = {}) {
  return {.caller = SaeId("alice"),
          .slave = SaeId("bob"),
          .extension_mandatory = std::move(mandatory),
          .extension_optional = std::move(optional)};
}

const DeliveryConfig kConfig = {.draw_wait = Duration::Seconds(2),
                                .deadline_max = Duration::Seconds(30)};

void ExpectRefused(const DrawRequest& request, const char* message, const char* detail,
                   const char* text, const DeliveryConfig& config = kConfig) {
  const std::optional<Refusal> refusal = CheckExtensions(request, config);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->kind, Refusal::Kind::kBadRequest);
  EXPECT_EQ(refusal->message, message);
  EXPECT_EQ(refusal->details, (std::map<std::string, std::string>{{detail, text}}));
}

TEST(ExtensionsTest, AMandatoryOneThatNobodyKnowsIsUnsupported) {
  ExpectRefused(Request({{"keyhop_route_type"}, {"abc_route_type"}}), kExtensionUnsupported,
                "extension_mandatory_unsupported", "abc_route_type is not supported");
  ExpectRefused(Request({{std::string(65, 'x')}}), kExtensionUnsupported,
                "extension_mandatory_unsupported", "a parameter with a long name is not supported");
}

TEST(ExtensionsTest, AMandatoryOneThatIsKnownButCannotBeMetIsUnmet) {
  for (const char* name : {"keyhop_route_type", "keyhop_excluded_nodes", "keyhop_age_max"}) {
    ExpectRefused(Request({{"keyhop_deadline_ms", 5}, {name, 1}}), kExtensionUnmet,
                  "extension_mandatory_unmet", (std::string(name) + " could not be met").c_str());
  }
}

TEST(ExtensionsTest, AMandatoryDeadlineIsAWholeNumberUpToTheMost) {
  for (const uint64_t ms : {0, 1, 30'000}) {
    const DrawRequest request = Request({{kDeadlineExtension, ms}});
    EXPECT_FALSE(CheckExtensions(request, kConfig).has_value());
    EXPECT_EQ(WaitOf(request, kConfig), Duration::Millis(static_cast<int64_t>(ms)));
  }
  for (const ExtensionParameter& bad : Parameters{
           {kDeadlineExtension, 30'001}, {kDeadlineExtension, ~0ull}, {kDeadlineExtension}}) {
    ExpectRefused(Request({bad}), kExtensionUnmet, "extension_mandatory_unmet",
                  "keyhop_deadline_ms shall be a whole number from 0 to 30000");
  }
}

TEST(ExtensionsTest, AMandatoryNumberOfPathsIsFromOneToTheMost) {
  const NodeId self("a");
  const NodeId home("c");
  for (uint64_t paths = 1; paths <= kPathsMax; ++paths) {
    const DrawRequest request = Request({{kPathsExtension, paths}});
    EXPECT_FALSE(CheckExtensions(request, kConfig).has_value());
    EXPECT_EQ(PairOf(request, self, home, kConfig), PairWith(home, static_cast<uint8_t>(paths)));
    EXPECT_EQ(PairOf(request, self, self, kConfig), PairWith(self)) << "nobody is in between";
  }
  for (const ExtensionParameter& bad :
       Parameters{{kPathsExtension, 0}, {kPathsExtension, kPathsMax + 1}, {kPathsExtension}}) {
    ExpectRefused(Request({bad}), kExtensionUnmet, "extension_mandatory_unmet",
                  "keyhop_paths_min shall be a whole number from 1 to 4");
  }
}

TEST(ExtensionsTest, AnOptionalNumberOfPathsIsIgnoredAndAPolicyIsNot) {
  const NodeId self("a");
  DrawRequest request;
  request.extension_optional = {{kPathsExtension, 3}};
  DeliveryConfig config;
  EXPECT_EQ(PairOf(request, self, NodeId("c"), config).paths, 1);
  config.paths_min = 2;
  config.paths_min_with[NodeId("d")] = 4;
  EXPECT_EQ(PairOf(request, self, NodeId("c"), config).paths, 2);
  EXPECT_EQ(PairOf(request, self, NodeId("d"), config).paths, 4);
  EXPECT_EQ(PairOf(Request({{kPathsExtension, 3}}), self, NodeId("c"), config).paths, 3);
  EXPECT_EQ(PairOf(Request({{kPathsExtension, 1}}), self, NodeId("d"), config).paths, 4)
      << "a request cannot ask for less";
  config.refuse_unhandled_optional = true;
  EXPECT_TRUE(CheckExtensions(request, config).has_value());
}

TEST(ExtensionsTest, AnOptionalDeadlineIsHeldToTheMost) {
  EXPECT_EQ(WaitOf(Request({}), kConfig), kConfig.draw_wait);
  EXPECT_EQ(WaitOf(Request({}, {{kDeadlineExtension, 10}}), kConfig), Duration::Millis(10));
  EXPECT_EQ(WaitOf(Request({}, {{kDeadlineExtension, ~0ull}}), kConfig), kConfig.deadline_max);
  EXPECT_EQ(WaitOf(Request({}, {{kDeadlineExtension}}), kConfig), kConfig.draw_wait);
  EXPECT_EQ(WaitOf(Request({{kDeadlineExtension, 7}}, {{kDeadlineExtension, 10}}), kConfig),
            Duration::Millis(7));
}

TEST(ExtensionsTest, NobodyWaitsLongerThanTheCaller) {
  DrawRequest request = Request({{kDeadlineExtension, 500}});
  request.wait_max = Duration::Millis(20);
  EXPECT_EQ(WaitOf(request, kConfig), Duration::Millis(20));
  request.wait_max = Duration::Millis(-5);
  EXPECT_EQ(WaitOf(request, kConfig), Duration{});
  request.wait_max = Duration::Seconds(50);
  EXPECT_EQ(WaitOf(request, kConfig), Duration::Millis(500));
}

TEST(ExtensionsTest, OptionalOnesAreIgnoredUnlessTheConfigRefusesThat) {
  const DrawRequest request = Request({}, {{kDeadlineExtension, 5}, {"abc_max_age", 30'000}});
  EXPECT_FALSE(CheckExtensions(request, kConfig).has_value());
  DeliveryConfig strict = kConfig;
  strict.refuse_unhandled_optional = true;
  EXPECT_FALSE(CheckExtensions(Request({}, {{kDeadlineExtension, 5}}), strict).has_value());
  ExpectRefused(request, kOptionalUnhandled, "extension_optional_unhandled",
                "abc_max_age was not handled", strict);
}

}  // namespace
}  // namespace keyhop
