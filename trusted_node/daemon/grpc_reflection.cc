#include "trusted_node/daemon/grpc_reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/grpcpp.h>

#include <set>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"

namespace keyhop {
namespace {

namespace pb = ::grpc::reflection::v1alpha;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

class ReflectionReactor final
    : public grpc::ServerBidiReactor<pb::ServerReflectionRequest, pb::ServerReflectionResponse> {
 public:
  explicit ReflectionReactor(const std::vector<std::string>& services) : services_(services) {}
  void Begin() { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    response_.Clear();
    response_.set_valid_host(request_.host());
    *response_.mutable_original_request() = request_;
    Answer();
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  void Answer() {
    using Request = pb::ServerReflectionRequest;
    const DescriptorPool& pool = *DescriptorPool::generated_pool();
    switch (request_.message_request_case()) {
      case Request::kFileByFilename:
        return Describe(pool.FindFileByName(request_.file_by_filename()));
      case Request::kFileContainingSymbol:
        return Describe(pool.FindFileContainingSymbol(request_.file_containing_symbol()));
      case Request::kFileContainingExtension: {
        const auto& asked = request_.file_containing_extension();
        const auto* type = pool.FindMessageTypeByName(asked.containing_type());
        const FieldDescriptor* found =
            type == nullptr ? nullptr : pool.FindExtensionByNumber(type, asked.extension_number());
        return Describe(found == nullptr ? nullptr : found->file());
      }
      case Request::kAllExtensionNumbersOfType:
        return TellExtensions(pool, request_.all_extension_numbers_of_type());
      case Request::kListServices:
        for (const std::string& service : services_) {
          response_.mutable_list_services_response()->add_service()->set_name(service);
        }
        return;
      case Request::MESSAGE_REQUEST_NOT_SET:
        break;
    }
    Refuse(grpc::StatusCode::INVALID_ARGUMENT, "the request asks for nothing that is known here");
  }

  void TellExtensions(const DescriptorPool& pool, const std::string& name) {
    const auto* type = pool.FindMessageTypeByName(name);
    if (type == nullptr) return Refuse(grpc::StatusCode::NOT_FOUND, "no such type here");
    std::vector<const FieldDescriptor*> extensions;
    pool.FindAllExtensions(type, &extensions);
    auto& answer = *response_.mutable_all_extension_numbers_response();
    answer.set_base_type_name(name);
    for (const FieldDescriptor* field : extensions) answer.add_extension_number(field->number());
  }

  void Describe(const FileDescriptor* file) {
    if (file == nullptr) return Refuse(grpc::StatusCode::NOT_FOUND, "no such file or symbol here");
    response_.mutable_file_descriptor_response();
    Add(*file);
  }

  // The file and what it imports, unless this call was told already.
  void Add(const FileDescriptor& file) {
    if (!told_.insert(&file).second) return;
    google::protobuf::FileDescriptorProto proto;
    file.CopyTo(&proto);
    response_.mutable_file_descriptor_response()->add_file_descriptor_proto(
        proto.SerializeAsString());
    for (int i = 0; i < file.dependency_count(); ++i) Add(*file.dependency(i));
  }

  void Refuse(grpc::StatusCode code, const char* message) {
    response_.mutable_error_response()->set_error_code(code);
    response_.mutable_error_response()->set_error_message(message);
  }

  const std::vector<std::string>& services_;
  std::set<const FileDescriptor*> told_;
  pb::ServerReflectionRequest request_;
  pb::ServerReflectionResponse response_;
};

class ReflectionService final : public pb::ServerReflection::CallbackService {
 public:
  explicit ReflectionService(std::vector<std::string> services) : services_(std::move(services)) {}

  grpc::ServerBidiReactor<pb::ServerReflectionRequest, pb::ServerReflectionResponse>*
  ServerReflectionInfo(grpc::CallbackServerContext*) override {
    auto* const reactor = absl::make_unique<ReflectionReactor>(services_).release();
    reactor->Begin();
    return reactor;
  }

 private:
  const std::vector<std::string> services_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeReflectionService(std::vector<std::string> services) {
  return std::make_unique<ReflectionService>(std::move(services));
}

}  // namespace keyhop
