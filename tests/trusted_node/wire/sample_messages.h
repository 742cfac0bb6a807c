#ifndef KEYHOP_TESTS_TRUSTED_NODE_WIRE_SAMPLE_MESSAGES_H_
#define KEYHOP_TESTS_TRUSTED_NODE_WIRE_SAMPLE_MESSAGES_H_

#include <random>
#include <string>

#include "google/protobuf/message.h"
#include "keyhop/kx/v1/kx.pb.h"

namespace keyhop {

// Fills every field of a message with a value that is allowed there and not its default, by
// reflection: a field added to the .proto file and forgotten in the conversion fails the round
// trip.
class SampleFiller {
 public:
  explicit SampleFiller(uint64_t seed) : random_(seed) {}

  void Fill(google::protobuf::Message* message) {
    using google::protobuf::FieldDescriptor;
    const auto* reflection = message->GetReflection();
    const auto* descriptor = message->GetDescriptor();
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const FieldDescriptor* field = descriptor->field(i);
      if (field->containing_oneof() != nullptr) continue;
      if (field->is_repeated()) {
        FillRepeated(message, reflection, field);
        continue;
      }
      switch (field->cpp_type()) {
        case FieldDescriptor::CPPTYPE_MESSAGE:
          Fill(reflection->MutableMessage(message, field));
          break;
        case FieldDescriptor::CPPTYPE_STRING:
          reflection->SetString(message, field, Text(field));
          break;
        case FieldDescriptor::CPPTYPE_BOOL:
          reflection->SetBool(message, field, true);
          break;
        case FieldDescriptor::CPPTYPE_ENUM:
          reflection->SetEnumValue(message, field, field->enum_type()->value(1)->number());
          break;
        case FieldDescriptor::CPPTYPE_UINT32:
          // A share is one of two at least.
          reflection->SetUInt32(message, field,
                                field->name() == "paths"   ? 2 + static_cast<uint32_t>(Below(3))
                                : field->name() == "share" ? 1
                                                           : 1 + static_cast<uint32_t>(Below(200)));
          break;
        case FieldDescriptor::CPPTYPE_UINT64:
          reflection->SetUInt64(message, field, random_() | 1);
          break;
        case FieldDescriptor::CPPTYPE_INT64:
          reflection->SetInt64(message, field, 1 + static_cast<int64_t>(random_() % 4'000'000));
          break;
        case FieldDescriptor::CPPTYPE_INT32:
          reflection->SetInt32(message, field, static_cast<int32_t>(random_() % 1000) * 1'000'000);
          break;
        default:
          std::abort();
      }
    }
  }

  std::string Bytes(size_t size) {
    std::string out(size, '\0');
    for (char& c : out) c = static_cast<char>(random_());
    return out;
  }
  uint64_t Below(uint64_t end) { return random_() % end; }

 private:
  std::string Text(const google::protobuf::FieldDescriptor* field) {
    if (field->type() == google::protobuf::FieldDescriptor::TYPE_BYTES) {
      return Bytes(field->name() == "ciphertext" ? 0 : 16);
    }
    return field->name() + "-" + std::to_string(random_() % 1000);
  }
  void FillRepeated(google::protobuf::Message* message,
                    const google::protobuf::Reflection* reflection,
                    const google::protobuf::FieldDescriptor* field) {
    const int count = 1 + static_cast<int>(random_() % 3);
    for (int i = 0; i < count; ++i) {
      if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
        Fill(reflection->AddMessage(message, field));
      } else if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_UINT32) {
        reflection->AddUInt32(message, field, static_cast<uint32_t>(Below(1000)));
      } else {
        reflection->AddString(message, field, Text(field));
      }
    }
  }

  std::mt19937_64 random_;
};

namespace internal {

inline void MakeRange(SampleFiller* filler, kx::v1::Range* range) {
  range->set_begin(filler->Below(1000));
  range->set_end(range->begin() + 1 + filler->Below(1000));
}

// What the generic filler cannot know.
template <typename Message>
void SetTag(SampleFiller* filler, kx::v1::TagKind kind, Message* message) {
  message->set_tag_kind(kind);
  message->set_tag(filler->Bytes(kind == kx::v1::TAG_KIND_SEGMENT_ONE_TIME ? 16 : 32));
}

inline void FillFrame(SampleFiller* filler, kx::v1::RelayFrame* frame) {
  filler->Fill(frame);
  frame->clear_path();
  for (const char* node : {"node-a", "node-b", "node-c", "node-d"}) frame->add_path(node);
  frame->set_hop(static_cast<uint32_t>(filler->Below(3)));
  if (frame->hop() > 0) frame->set_ciphertext(filler->Bytes(frame->body_bytes() + 48));
}

inline void FillControl(SampleFiller* filler, kx::v1::RoutedControl* control) {
  using kx::v1::TAG_KIND_HMAC_STREAM_KEY;
  using kx::v1::TAG_KIND_SEGMENT_ONE_TIME;
  filler->Fill(control);
  SetTag(filler, kx::v1::TAG_KIND_HMAC_LINK_KEY, control);
  const auto* oneof = control->GetDescriptor()->oneof_decl(0);
  const auto* field = oneof->field(static_cast<int>(filler->Below(oneof->field_count())));
  filler->Fill(control->GetReflection()->MutableMessage(control, field));
  if (control->has_source_hello()) {
    SetTag(filler, TAG_KIND_HMAC_STREAM_KEY, control->mutable_source_hello());
  }
  if (control->has_stream_lease_request()) {
    auto* request = control->mutable_stream_lease_request();
    for (auto& range : *request->mutable_ranges()) MakeRange(filler, &range);
    SetTag(filler, TAG_KIND_HMAC_STREAM_KEY, request);
  }
  if (control->has_destination_hello()) {
    SetTag(filler, TAG_KIND_HMAC_STREAM_KEY, control->mutable_destination_hello());
  }
  if (control->has_opening_answer()) {
    SetTag(filler, TAG_KIND_SEGMENT_ONE_TIME, control->mutable_opening_answer());
  }
  if (control->has_segment_ack()) {
    SetTag(filler, TAG_KIND_SEGMENT_ONE_TIME, control->mutable_segment_ack());
  }
  if (control->has_stream_lease_answer()) {
    auto* answer = control->mutable_stream_lease_answer();
    for (auto& range : *answer->mutable_lacking()) MakeRange(filler, &range);
    SetTag(filler, TAG_KIND_HMAC_STREAM_KEY, answer);
  }
  if (control->has_supply_notice()) {
    auto* notice = control->mutable_supply_notice();
    const size_t keys = static_cast<size_t>(notice->items_size());
    notice->set_ciphertext(filler->Bytes(notice->length_bytes() * keys));
    SetTag(filler, TAG_KIND_HMAC_STREAM_KEY, notice);
  }
  if (control->has_supply_cancel()) {
    SetTag(filler, TAG_KIND_HMAC_STREAM_KEY, control->mutable_supply_cancel());
  }
  if (control->has_supply_answer()) {
    SetTag(filler, TAG_KIND_HMAC_STREAM_KEY, control->mutable_supply_answer());
  }
  if (control->has_keystream_note()) {
    SetTag(filler, TAG_KIND_HMAC_STREAM_KEY, control->mutable_keystream_note());
  }
  if (control->has_version_report()) {
    SetTag(filler, TAG_KIND_HMAC_STREAM_KEY, control->mutable_version_report());
  }
  if (control->has_interest_report()) {
    SetTag(filler, TAG_KIND_HMAC_STREAM_KEY, control->mutable_interest_report());
  }
  if (control->has_announcements()) {
    SetTag(filler, TAG_KIND_HMAC_STREAM_KEY, control->mutable_announcements());
  }
  if (control->has_announcements_taken()) {
    SetTag(filler, TAG_KIND_HMAC_STREAM_KEY, control->mutable_announcements_taken());
  }
}

}  // namespace internal

// A well-formed message of any kind, every field set.
inline kx::v1::KxMessage SampleMessage(uint64_t seed) {
  SampleFiller filler(seed);
  kx::v1::KxMessage message;
  const auto* oneof = message.GetDescriptor()->oneof_decl(0);
  const auto* field = oneof->field(static_cast<int>(filler.Below(oneof->field_count())));
  filler.Fill(message.GetReflection()->MutableMessage(&message, field));
  const auto link_tag = [&](auto* m) {
    internal::SetTag(&filler, kx::v1::TAG_KIND_HMAC_LINK_KEY, m);
  };
  if (message.has_link_hello()) link_tag(message.mutable_link_hello());
  if (message.has_link_need()) link_tag(message.mutable_link_need());
  if (message.has_link_lease_request()) {
    auto* request = message.mutable_link_lease_request();
    for (auto& range : *request->mutable_blocks()) internal::MakeRange(&filler, &range);
    link_tag(request);
  }
  if (message.has_link_lease_answer()) {
    auto* answer = message.mutable_link_lease_answer();
    for (auto& range : *answer->mutable_lacking()) internal::MakeRange(&filler, &range);
    link_tag(answer);
  }
  if (message.has_relay_frame()) internal::FillFrame(&filler, message.mutable_relay_frame());
  if (message.has_routed_control()) {
    internal::FillControl(&filler, message.mutable_routed_control());
  }
  return message;
}

}  // namespace keyhop

#endif  // KEYHOP_TESTS_TRUSTED_NODE_WIRE_SAMPLE_MESSAGES_H_
