#include "kms/ks004/codec.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace keyhop {
namespace {

using Bytes = std::vector<uint8_t>;
const KeyId kId = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

Bytes U32(uint32_t v) {
  return {static_cast<uint8_t>(v >> 24), static_cast<uint8_t>(v >> 16),
          static_cast<uint8_t>(v >> 8), static_cast<uint8_t>(v)};
}
Bytes Text(const std::string& s) { return {s.begin(), s.end()}; }
Bytes Join(std::initializer_list<Bytes> parts) {
  Bytes out;
  for (const Bytes& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}
Bytes Numbers(uint32_t first) {
  Bytes out;
  for (uint32_t i = 0; i < 7; ++i) out = Join({out, U32(first + i)});
  return out;
}
Bytes Id() { return {kId.begin(), kId.end()}; }
Bytes BytesOf(const SecretBytes& message) {
  const auto bytes = message.Expose(SecretAccess::ForTest());
  return {bytes.begin(), bytes.end()};
}
Bytes Message(Dialect dialect, uint8_t service, const Bytes& payload) {
  const Bytes version = dialect == Dialect::kA ? Bytes{1, 0, 1} : Bytes{2, 1, 1};
  return Join({version, {service}, U32(static_cast<uint32_t>(payload.size())), payload});
}
Bytes OpenPayload(Dialect dialect, const std::string& mimetype, const Bytes& id) {
  Bytes type = Text(mimetype);
  type.resize(dialect == Dialect::kA ? 256 : mimetype.size() + 1);
  return Join({Text("a"), {0}, Text("server://b:1"), {0}, Numbers(11), type, id});
}
absl::StatusOr<StreamMessageIn> Parse(Dialect dialect, Service service, const Bytes& payload) {
  return ParseStreamMessage({dialect, service, static_cast<uint32_t>(payload.size())}, payload);
}
KeystreamAnswer Answer(KeystreamStatus status) {
  KeystreamAnswer answer;
  answer.status = status;
  answer.id = kId;
  answer.qos = {11, 12, 13, 14, 15, 16, 17, kMetadataJson};
  answer.index = 9;
  return answer;
}

TEST(Ks004CodecTest, TellsTheDialectsApartByTheirVersion) {
  const auto header = [](std::array<uint8_t, 8> bytes) { return ParseStreamHeader(bytes); };
  EXPECT_EQ(header({1, 0, 1, 2, 0, 0, 1, 0})->dialect, Dialect::kA);
  EXPECT_EQ(header({2, 1, 1, 4, 0, 0, 0, 24})->dialect, Dialect::kB);
  EXPECT_EQ(header({2, 1, 1, 4, 0, 0, 0, 24})->payload_bytes, 24u);
  EXPECT_FALSE(header({1, 0, 2, 2, 0, 0, 0, 0}).ok());
  EXPECT_FALSE(header({3, 1, 1, 2, 0, 0, 0, 0}).ok());
  EXPECT_FALSE(header({1, 0, 1, 3, 0, 0, 0, 0}).ok()) << "a response is no request";
  EXPECT_FALSE(header({1, 0, 1, 0, 0, 0, 0, 0}).ok());
  EXPECT_TRUE(header({1, 0, 1, 8, 0, 0, 0x40, 0}).ok());
  EXPECT_FALSE(header({1, 0, 1, 8, 0, 0, 0x40, 1}).ok()) << "over 16 KiB";
}

TEST(Ks004CodecTest, ReadsAnOpenConnectOfEitherDialect) {
  for (const Dialect dialect : {Dialect::kA, Dialect::kB}) {
    const auto parsed =
        Parse(dialect, Service::kOpenRequest, OpenPayload(dialect, kMetadataJson, Id()));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    const auto& open = std::get<OpenMessage>(*parsed);
    EXPECT_EQ(open.source, "a");
    EXPECT_EQ(open.destination, "server://b:1");
    EXPECT_EQ(open.qos, (KeystreamQos{11, 12, 13, 14, 15, 16, 17, kMetadataJson}));
    EXPECT_EQ(open.id, kId);
  }
}

TEST(Ks004CodecTest, AnIdOfZerosAsksForANewOne) {
  const auto parsed =
      Parse(Dialect::kB, Service::kOpenRequest, OpenPayload(Dialect::kB, "", Bytes(16)));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(std::get<OpenMessage>(*parsed).id, std::nullopt);
}

TEST(Ks004CodecTest, ReadsGetKeyAndClose) {
  const auto a = Parse(Dialect::kA, Service::kGetRequest, Join({Id(), U32(5), U32(1000)}));
  ASSERT_TRUE(a.ok());
  EXPECT_EQ(std::get<GetMessage>(*a).index, 5u);
  EXPECT_EQ(std::get<GetMessage>(*a).metadata_bytes_max, 1000u);
  const auto b = Parse(Dialect::kB, Service::kGetRequest, Join({Id(), U32(5), U32(3), Bytes(3)}));
  ASSERT_TRUE(b.ok());
  EXPECT_EQ(std::get<GetMessage>(*b).metadata_bytes_max, 3u);
  const auto close = Parse(Dialect::kA, Service::kCloseRequest, Id());
  ASSERT_TRUE(close.ok());
  EXPECT_EQ(std::get<CloseMessage>(*close).id, kId);
}

TEST(Ks004CodecTest, RefusesEveryPayloadThatIsCutOrHasBytesOver) {
  for (const Dialect dialect : {Dialect::kA, Dialect::kB}) {
    const Bytes get = dialect == Dialect::kA ? Join({Id(), U32(5), U32(7)})
                                             : Join({Id(), U32(5), U32(7), Bytes(7)});
    for (const auto& [service, payload] :
         {std::pair(Service::kOpenRequest, OpenPayload(dialect, "x/y", Id())),
          std::pair(Service::kGetRequest, get), std::pair(Service::kCloseRequest, Id())}) {
      EXPECT_TRUE(Parse(dialect, service, payload).ok());
      for (size_t size = 0; size < payload.size(); ++size) {
        const Bytes cut(payload.begin(), payload.begin() + static_cast<std::ptrdiff_t>(size));
        EXPECT_FALSE(Parse(dialect, service, cut).ok()) << size;
      }
      EXPECT_FALSE(Parse(dialect, service, Join({payload, {0}})).ok());
    }
  }
  EXPECT_FALSE(
      Parse(Dialect::kB, Service::kGetRequest, Join({Id(), U32(5), U32(UINT32_MAX)})).ok());
}

TEST(Ks004CodecTest, RefusesTextsWithoutAnEndOrWithBytesBehindIt) {
  EXPECT_FALSE(Parse(Dialect::kA, Service::kOpenRequest, Text("abc")).ok());
  Bytes padded = OpenPayload(Dialect::kA, "x/y", Id());
  padded[padded.size() - 17] = 'z';  // The last byte of the media type's field.
  EXPECT_FALSE(Parse(Dialect::kA, Service::kOpenRequest, padded).ok());
  EXPECT_FALSE(Parse(Dialect::kB, Service::kOpenRequest,
                     OpenPayload(Dialect::kB, std::string(256, 'x'), Id()))
                   .ok());
  EXPECT_TRUE(Parse(Dialect::kB, Service::kOpenRequest,
                    OpenPayload(Dialect::kB, std::string(255, 'x'), Id()))
                  .ok());
}

TEST(Ks004CodecTest, WritesOpenResponses) {
  Bytes a_type = Text(kMetadataJson);
  a_type.resize(256);
  const Bytes b_type = Join({Text(kMetadataJson), {0}});
  EXPECT_EQ(BytesOf(WriteOpenResponse(Dialect::kA, Answer(KeystreamStatus::kQosNotMet))),
            Message(Dialect::kA, 3, Join({U32(7), Numbers(11), a_type, Id()})));
  EXPECT_EQ(BytesOf(WriteOpenResponse(Dialect::kA, Answer(KeystreamStatus::kTimeout))),
            Message(Dialect::kA, 3, U32(6)));
  EXPECT_EQ(BytesOf(WriteOpenResponse(Dialect::kA, Answer(KeystreamStatus::kPeerNotConnected))),
            Message(Dialect::kA, 3, Join({U32(0), Numbers(11), a_type, Id()})))
      << "its clients read the ID with 0 and 7 only";
  for (const auto status : {KeystreamStatus::kPeerNotConnected, KeystreamStatus::kIdInUse}) {
    EXPECT_EQ(BytesOf(WriteOpenResponse(Dialect::kB, Answer(status))),
              Message(Dialect::kB, 3,
                      Join({U32(static_cast<uint32_t>(status)), Numbers(11), b_type, Id()})));
  }
}

TEST(Ks004CodecTest, WritesGetResponses) {
  KeystreamAnswer good = Answer(KeystreamStatus::kSuccessful);
  const Bytes key = {0xaa, 0xbb};
  good.key = SecretBytes::CopyOf(key);
  good.metadata = "{}";
  const Bytes payload = Join({U32(0), U32(9), U32(2), key, U32(2), Text("{}")});
  for (const Dialect dialect : {Dialect::kA, Dialect::kB}) {
    EXPECT_EQ(BytesOf(WriteGetResponse(dialect, good)), Message(dialect, 5, payload));
  }
  KeystreamAnswer small = Answer(KeystreamStatus::kMetadataTooSmall);
  small.metadata_bytes_needed = 3;
  EXPECT_EQ(BytesOf(WriteGetResponse(Dialect::kA, small)),
            Message(Dialect::kA, 5, Join({U32(8), U32(3)})));
  EXPECT_EQ(BytesOf(WriteGetResponse(Dialect::kB, small)),
            Message(Dialect::kB, 5, Join({U32(8), U32(9), U32(0), U32(3), Bytes(3)})));
  const KeystreamAnswer none = Answer(KeystreamStatus::kInsufficientKey);
  EXPECT_EQ(BytesOf(WriteGetResponse(Dialect::kA, none)), Message(Dialect::kA, 5, U32(2)));
  EXPECT_EQ(BytesOf(WriteGetResponse(Dialect::kB, none)),
            Message(Dialect::kB, 5, Join({U32(2), U32(9), U32(0), U32(0)})));
}

TEST(Ks004CodecTest, WritesCloseResponsesAndErrors) {
  EXPECT_EQ(BytesOf(WriteCloseResponse(Dialect::kA, KeystreamStatus::kSuccessful)),
            Message(Dialect::kA, 9, U32(0)));
  EXPECT_EQ(BytesOf(WriteErrorMessage(Dialect::kB)), Message(Dialect::kB, 0, {}));
}

}  // namespace
}  // namespace keyhop
