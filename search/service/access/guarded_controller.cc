// SPDX-License-Identifier: Apache-2.0
#include "search/service/access/guarded_controller.h"

#include <grpc/grpc_security_constants.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "search/service/grpc_status.h"

namespace forall {
namespace {

using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;

constexpr char kAuthorization[] = "authorization";

std::string TextOf(grpc::string_ref text) { return std::string(text.data(), text.size()); }

template <typename Metadata>
Credentials CredentialsOf(const Metadata& metadata, const grpc::AuthContext* context) {
  Credentials credentials;
  const auto [begin, end] = metadata.equal_range(kAuthorization);
  for (auto at = begin; at != end; ++at) credentials.authorization.push_back(TextOf(at->second));
  if (context == nullptr) return credentials;
  // Only of a certificate that the handshake verified: none other is asked for.
  for (const grpc::string_ref& uri : context->FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME)) {
    credentials.certificate_uris.push_back(TextOf(uri));
  }
  return credentials;
}

std::string StringField(const Message& message, const std::string& name) {
  const FieldDescriptor* const field = message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || field->is_repeated() || field->type() != FieldDescriptor::TYPE_STRING) {
    return "";
  }
  return message.GetReflection()->GetString(message, field);
}

// What a message is about, by the names that our messages use.
std::string ResourceOf(const Message& message) {
  for (const char* field : {"name", "parent", "worker", "worker_id", "supernet_id", "sha256"}) {
    std::string value = StringField(message, field);
    if (!value.empty()) return value;
  }
  return "";
}

std::string ShortMethod(absl::string_view method) {
  absl::ConsumePrefix(&method, "forall.v1.");
  return std::string(method);
}

std::string CodeName(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnauthenticated:
      return "UNAUTHENTICATED";
    case absl::StatusCode::kPermissionDenied:
      return "PERMISSION_DENIED";
    default:
      return absl::StatusCodeToString(status.code());
  }
}

AuditEntry Refusal(const absl::Status& status, const absl::StatusOr<Caller>& caller) {
  AuditEntry entry;
  if (caller.ok()) {
    entry.who = caller->who;
    entry.role = std::string(RoleName(caller->role));
  }
  entry.outcome = CodeName(status);
  entry.message = std::string(status.message());
  entry.refused = true;
  return entry;
}

class Guard : public grpc::AuthMetadataProcessor {
 public:
  Guard(const Authorizer* authorizer, AuditLog* audit) : authorizer_(authorizer), audit_(audit) {}

  // A hash and a look at a list.
  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context,
                       OutputMetadata* consumed, OutputMetadata* response) override {
    const auto found = metadata.find(":path");
    const std::string path = found == metadata.end() ? "" : TextOf(found->second);
    if (ForeignAccessOf(path) != ForeignAccess::kIdentified) return grpc::Status::OK;
    const absl::StatusOr<Caller> caller = authorizer_->Identify(CredentialsOf(metadata, context));
    if (caller.ok()) return grpc::Status::OK;
    AuditEntry entry = Refusal(caller.status(), caller);
    entry.method = path;
    audit_->Write(entry);
    return ToGrpcStatus(caller.status());
  }

 private:
  const Authorizer* const authorizer_;
  AuditLog* const audit_;
};

}  // namespace

void GuardedController::Pass::NoteEnd(const absl::Status& status, const Message* named) const {
  if (entry_ == nullptr) return;
  AuditEntry entry = *entry_;
  if (named != nullptr) {
    if (std::string resource = ResourceOf(*named); !resource.empty()) {
      entry.resource = std::move(resource);
    }
  }
  entry.outcome = CodeName(status);
  entry.message = std::string(status.message());
  // By the controller, which knows whose a job is.
  entry.refused = absl::IsPermissionDenied(status);
  gate_->options_.audit->Write(entry);
}

absl::StatusOr<GuardedController::Pass> GuardedController::Admit(
    const grpc::CallbackServerContext& context, const Message& request) const {
  const AccessRule* const rule = FindRule(request.GetDescriptor());
  const absl::StatusOr<Caller> caller = options_.authorizer->Identify(
      CredentialsOf(context.client_metadata(), context.auth_context().get()));
  absl::Status status = caller.status();
  if (status.ok() && rule == nullptr) {
    status = absl::PermissionDeniedError("this method has no access rule: nobody may call it");
  } else if (status.ok()) {
    status = Authorizer::Permit(*caller, *rule, StringField(request, rule->worker_field));
  }
  Pass pass(this);
  if (status.ok()) pass.principal_ = {caller->tenant, caller->role == Role::kAdmin};
  if (status.ok() && !rule->audited) return pass;
  AuditEntry entry;
  if (status.ok()) {
    entry.who = caller->who;
    entry.role = std::string(RoleName(caller->role));
  } else {
    entry = Refusal(status, caller);
  }
  entry.method = rule == nullptr ? request.GetDescriptor()->full_name() : ShortMethod(rule->method);
  entry.resource = ResourceOf(request);
  entry.peer = context.peer();
  if (!status.ok()) {
    options_.audit->Write(entry);
    return status;
  }
  pass.entry_ = std::make_shared<AuditEntry>(std::move(entry));
  return pass;
}

std::shared_ptr<grpc::AuthMetadataProcessor> GuardedController::ForeignGuard() const {
  return std::make_shared<Guard>(options_.authorizer, options_.audit);
}

}  // namespace forall
