#include "kms/ak/request_reader.h"

#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kms/ak/target.h"
#include "kms/core/uuid.h"

namespace keyhop {
namespace {

constexpr char kKeyIdsShape[] =
    R"(key_IDs shall be an array of one or more objects: {"key_IDs": [{"key_ID": "UUID"}]})";

Refusal BadRequest(std::string message) {
  return {.kind = Refusal::Kind::kBadRequest, .message = std::move(message)};
}

bool IsBlank(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == ' ' || c == '\t'; });
}

struct Scalar {
  enum class Kind { kNull, kUnsigned, kString, kOther };
  Kind kind = Kind::kOther;
  uint64_t number = 0;
  absl::string_view text = {};
};
enum class Container { kObject, kArray };

// The part of reading that is the same for all bodies: an object at the top, bounded depth, no
// member twice. `depth` in the hooks is the number of containers open around the value.
class BodyHandler {
 public:
  virtual ~BodyHandler() = default;
  const std::string& error() const { return error_; }

  // The handler concept of RapidJSON's reader; false ends the parse.
  bool Null() { return Take({.kind = Scalar::Kind::kNull}); }
  bool Bool(bool) { return Take({}); }
  bool Int(int) { return Take({}); }  // Only negative numbers come this way.
  bool Uint(unsigned n) { return Take({.kind = Scalar::Kind::kUnsigned, .number = n}); }
  bool Int64(int64_t) { return Take({}); }
  bool Uint64(uint64_t n) { return Take({.kind = Scalar::Kind::kUnsigned, .number = n}); }
  bool Double(double) { return Take({}); }
  bool RawNumber(const char*, rapidjson::SizeType, bool) { return Take({}); }
  bool String(const char* s, rapidjson::SizeType size, bool) {
    return Take({.kind = Scalar::Kind::kString, .text = absl::string_view(s, size)});
  }
  bool Key(const char* s, rapidjson::SizeType size, bool) {
    const absl::string_view name(s, size);
    if (!members_.back().emplace(name).second) {
      return Fail("a member occurs twice in one JSON object");
    }
    return OnKey(depth(), name);
  }
  bool StartObject() { return Open(Container::kObject); }
  bool StartArray() { return Open(Container::kArray); }
  bool EndObject(rapidjson::SizeType) { return Close(); }
  bool EndArray(rapidjson::SizeType) { return Close(); }

 protected:
  bool Fail(std::string message) {
    error_ = std::move(message);
    return false;
  }
  virtual bool OnScalar(int depth, const Scalar& scalar) = 0;
  virtual bool OnOpen(int depth, Container container) = 0;
  virtual bool OnKey(int depth, absl::string_view name) = 0;
  virtual bool OnClose(int depth) = 0;

 private:
  int depth() const { return static_cast<int>(members_.size()); }
  bool NotAnObject() { return Fail("the body shall be a JSON object"); }
  bool Take(const Scalar& scalar) {
    return depth() == 0 ? NotAnObject() : OnScalar(depth(), scalar);
  }
  bool Open(Container container) {
    if (depth() == 0 && container != Container::kObject) return NotAnObject();
    if (depth() >= kMaxJsonDepth) return Fail("the JSON is nested too deeply");
    if (depth() > 0 && !OnOpen(depth(), container)) return false;
    members_.emplace_back();
    return true;
  }
  bool Close() {
    members_.pop_back();
    return depth() == 0 || OnClose(depth());
  }

  std::vector<std::set<std::string, std::less<>>> members_;  // Names seen, by open container.
  std::string error_;
};

class DrawHandler final : public BodyHandler {
 public:
  explicit DrawHandler(DrawRequest& request) : request_(request) {}

 private:
  enum class Member { kUnknown, kNumber, kSize, kAdditional, kMandatory, kOptional };

  bool OnKey(int depth, absl::string_view name) override {
    if (depth == 3 && member_ == Member::kMandatory) {
      request_.extension_mandatory.push_back({std::string(name)});
    }
    if (depth == 3 && member_ == Member::kOptional) {
      request_.extension_optional.push_back({std::string(name)});
    }
    if (depth != 1) return true;
    member_ = Member::kUnknown;
    if (name == "number") member_ = Member::kNumber;
    if (name == "size") member_ = Member::kSize;
    if (name == "additional_slave_SAE_IDs") member_ = Member::kAdditional;
    if (name == "extension_mandatory") member_ = Member::kMandatory;
    if (name == "extension_optional") member_ = Member::kOptional;
    return true;
  }

  bool OnScalar(int depth, const Scalar& scalar) override {
    if (depth == 3 && scalar.kind == Scalar::Kind::kUnsigned) {
      if (member_ == Member::kMandatory) {
        request_.extension_mandatory.back().number = scalar.number;
      }
      if (member_ == Member::kOptional) request_.extension_optional.back().number = scalar.number;
    }
    if (member_ == Member::kUnknown || depth > 2) return true;
    if (depth == 1 && scalar.kind == Scalar::Kind::kNull) return true;
    if (depth == 1 && scalar.kind == Scalar::Kind::kUnsigned) {
      if (member_ == Member::kNumber) {
        request_.number = scalar.number;
        return true;
      }
      if (member_ == Member::kSize) {
        request_.size_bits = scalar.number;
        return true;
      }
    }
    if (depth == 2 && member_ == Member::kAdditional && scalar.kind == Scalar::Kind::kString) {
      request_.additional_slaves.emplace_back(std::string(scalar.text));
      return true;
    }
    return WrongType();
  }

  bool OnOpen(int depth, Container container) override {
    if (member_ == Member::kUnknown || depth > 2) return true;
    if (member_ == Member::kNumber || member_ == Member::kSize) return WrongType();
    if (depth == 1) return container == Container::kArray || WrongType();
    return (member_ != Member::kAdditional && container == Container::kObject) || WrongType();
  }

  bool OnClose(int depth) override {
    if (depth == 1 && member_ == Member::kAdditional && request_.additional_slaves.empty()) {
      return Fail("additional_slave_SAE_IDs shall not be empty where it is given");
    }
    return true;
  }

  bool WrongType() {
    switch (member_) {
      case Member::kNumber:
        return Fail("number shall be an integer of 1 or more");
      case Member::kSize:
        return Fail("size shall be an integer of 1 or more, in bits");
      case Member::kAdditional:
        return Fail("additional_slave_SAE_IDs shall be an array of strings");
      case Member::kMandatory:
        return Fail("extension_mandatory shall be an array of objects");
      case Member::kOptional:
        return Fail("extension_optional shall be an array of objects");
      case Member::kUnknown:
        break;
    }
    return true;
  }

  DrawRequest& request_;
  Member member_ = Member::kUnknown;
};

class FetchHandler final : public BodyHandler {
 public:
  explicit FetchHandler(std::vector<KeyId>& ids) : ids_(ids) {}

 private:
  bool OnKey(int depth, absl::string_view name) override {
    if (depth == 1) in_list_ = name == "key_IDs";
    if (depth == 3) in_id_ = in_list_ && name == "key_ID";
    return true;
  }
  bool OnScalar(int depth, const Scalar& scalar) override {
    if (!in_list_) return true;
    if (depth < 3) return Fail(kKeyIdsShape);
    if (depth > 3 || !in_id_) return true;
    if (scalar.kind != Scalar::Kind::kString) return Fail(kKeyIdsShape);
    const std::optional<KeyId> id = ParseUuid(scalar.text);
    if (!id.has_value()) return Fail(BadKeyId().message);
    ids_.push_back(*id);
    return true;
  }
  bool OnOpen(int depth, Container container) override {
    if (!in_list_) return true;
    if (depth == 1) return container == Container::kArray || Fail(kKeyIdsShape);
    if (depth == 2) {
      ++objects_;
      return container == Container::kObject || Fail(kKeyIdsShape);
    }
    return depth > 3 || !in_id_ || Fail(kKeyIdsShape);
  }
  bool OnClose(int depth) override {
    if (in_list_ && depth == 2) {
      in_id_ = false;
      if (ids_.size() != objects_) return Fail(kKeyIdsShape);
    }
    return true;
  }

  std::vector<KeyId>& ids_;
  size_t objects_ = 0;
  bool in_list_ = false;  // Inside the value of the top-level member `key_IDs`.
  bool in_id_ = false;    // Inside the value of a member `key_ID` of one of its objects.
};

std::optional<Refusal> ReadJson(absl::string_view body, BodyHandler& handler) {
  if (body.size() > kMaxBodyBytes) return BadRequest("the body is longer than 1 MiB");
  rapidjson::MemoryStream stream(body.data(), body.size());
  rapidjson::Reader reader;
  const rapidjson::ParseResult result =
      reader.Parse<rapidjson::kParseValidateEncodingFlag>(stream, handler);
  if (!handler.error().empty()) return BadRequest(handler.error());
  if (result.IsError()) {
    return BadRequest(absl::StrCat(
        "the body is not JSON (RFC 8259): ", rapidjson::GetParseError_En(result.Code()),
        " At byte ", result.Offset(), "."));
  }
  // A NUL byte looks like the end of the text to the reader.
  if (stream.Tell() != body.size()) return BadRequest("the body goes on after the JSON value");
  return std::nullopt;
}

Outcome<DrawRequest> Checked(DrawRequest request) {
  if (std::optional<Refusal> refusal = CheckDraw(request)) return *std::move(refusal);
  return request;
}

Outcome<FetchRequest> Checked(FetchRequest request) {
  if (std::optional<Refusal> refusal = CheckFetch(request)) return *std::move(refusal);
  return request;
}

}  // namespace

Refusal BadKeyId() { return BadRequest("a key_ID shall be a UUID of 36 characters"); }

Outcome<DrawRequest> ReadDrawBody(absl::string_view body, SaeId caller, SaeId slave) {
  DrawRequest request{.caller = std::move(caller), .slave = std::move(slave)};
  if (!body.empty()) {
    DrawHandler handler(request);
    if (std::optional<Refusal> refusal = ReadJson(body, handler)) return *std::move(refusal);
  }
  return Checked(std::move(request));
}

Outcome<DrawRequest> ReadDrawQuery(absl::string_view query, SaeId caller, SaeId slave) {
  DrawRequest request{.caller = std::move(caller), .slave = std::move(slave)};
  std::optional<uint64_t> number;
  const auto take = [&](const std::string& name,
                        const std::string& value) -> std::optional<Refusal> {
    if (name == "additional_slave_SAE_IDs" || name == "extension_mandatory" ||
        name == "extension_optional") {
      return BadRequest(absl::StrCat("GET takes number and size; POST a JSON body for ", name));
    }
    if (name != "number" && name != "size") return std::nullopt;
    std::optional<uint64_t>& field = name == "number" ? number : request.size_bits;
    if (field.has_value()) return BadRequest(absl::StrCat(name, " occurs twice in the query"));
    field = ReadDecimal(value);
    if (field.has_value()) return std::nullopt;
    return BadRequest(absl::StrCat(name, " shall be an integer of 1 or more"));
  };
  if (std::optional<Refusal> refusal = ReadQuery(query, take)) return *std::move(refusal);
  request.number = number.value_or(1);
  return Checked(std::move(request));
}

std::optional<Refusal> CheckPostQuery(absl::string_view query) {
  return ReadQuery(
      query, [](const std::string& name, const std::string&) -> std::optional<Refusal> {
        if (name != "number" && name != "size" && name != "key_ID") return std::nullopt;
        return BadRequest(absl::StrCat("POST says ", name, " in its JSON body, not in the URL"));
      });
}

ExtensionParameter ReadExtension(absl::string_view name, absl::string_view value_json) {
  return {std::string(name), ReadDecimal(std::string(value_json))};
}

Outcome<FetchRequest> ReadFetchBody(absl::string_view body, SaeId caller, SaeId master) {
  FetchRequest request{.caller = std::move(caller), .master = std::move(master), .key_ids = {}};
  FetchHandler handler(request.key_ids);
  if (std::optional<Refusal> refusal = ReadJson(body, handler)) return *std::move(refusal);
  return Checked(std::move(request));
}

Outcome<FetchRequest> ReadFetchQuery(absl::string_view query, SaeId caller, SaeId master) {
  FetchRequest request{.caller = std::move(caller), .master = std::move(master), .key_ids = {}};
  const auto take = [&](const std::string& name,
                        const std::string& value) -> std::optional<Refusal> {
    if (name == "key_IDs" || name == "key_ID_extension" || name == "key_IDs_extension") {
      return BadRequest(absl::StrCat("GET takes one key_ID; POST a JSON body for ", name));
    }
    if (name != "key_ID") return std::nullopt;
    if (!request.key_ids.empty()) {
      return BadRequest("GET takes one key_ID; POST a JSON body for more");
    }
    const std::optional<KeyId> id = ParseUuid(value);
    if (!id.has_value()) return BadKeyId();
    request.key_ids.push_back(*id);
    return std::nullopt;
  };
  if (std::optional<Refusal> refusal = ReadQuery(query, take)) return *std::move(refusal);
  if (request.key_ids.empty()) return BadRequest("the query shall be key_ID=UUID");
  return request;
}

std::optional<Refusal> CheckDraw(const DrawRequest& request) {
  std::set<SaeId> seen = {request.caller};
  const auto bad_id = [](const SaeId& id) {
    return IsBlank(id.value) || id.value.size() > kMaxSaeIdBytes || !IsUtf8(id.value);
  };
  if (bad_id(request.slave)) return BadRequest("the slave SAE ID shall be 1 to 300 bytes of UTF-8");
  if (!seen.insert(request.slave).second) {
    return BadRequest("master and slave shall be different SAEs");
  }
  for (const SaeId& id : request.additional_slaves) {
    if (bad_id(id)) {
      return BadRequest("each of additional_slave_SAE_IDs shall be 1 to 300 bytes of UTF-8");
    }
    if (!seen.insert(id).second) {
      return BadRequest(
          "additional_slave_SAE_IDs shall name no SAE twice, nor the master or the slave");
    }
  }
  return std::nullopt;
}

std::optional<Refusal> CheckFetch(const FetchRequest& request) {
  if (request.key_ids.empty()) return BadRequest(kKeyIdsShape);
  std::set<KeyId> seen;
  for (const KeyId& id : request.key_ids) {
    if (!seen.insert(id).second) return BadRequest("key_IDs shall name no key twice");
  }
  return std::nullopt;
}

}  // namespace keyhop
