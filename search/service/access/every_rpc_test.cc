// SPDX-License-Identifier: Apache-2.0
// Every RPC that the server offers, asked of the server itself, over a real socket and TLS, with
// every credential that does not suffice; and what does suffice, so that a refusal means something.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gtest/gtest.h"
#include "net/controller_access.h"
#include "net/testing/certificate_maker.h"
#include "nlohmann/json.hpp"
#include "search/controller/testing/controller_harness.h"
#include "search/service/access/access_rules.h"
#include "search/service/access/token_file.h"
#include "search/service/server.h"

namespace forall {
namespace {

using ::forall::testing::CertificateMaker;
using ::forall::testing::ControllerHarness;
using ::forall::testing::KeyPair;
using ::google::protobuf::DescriptorPool;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;
using ::google::protobuf::MethodDescriptor;
using ::google::protobuf::ServiceDescriptor;
using ::google::protobuf::UnknownFieldSet;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kReflection[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

struct Answer {
  grpc::Status status;
  std::string message;  // the last one
};

// Any call, as one message in and all messages out: that is what every kind of RPC is on the wire.
Answer CallRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& path,
               const std::string& request) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(Clock::Real()->Now() + absl::Seconds(60)));
  grpc::CompletionQueue queue;
  // Waits for the one operation under way.
  const auto await = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto stream = stub.PrepareCall(&context, path, &queue);
  Answer answer;
  stream->StartCall(nullptr);
  if (await()) {
    const grpc::Slice slice(request);
    stream->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    bool going = await();
    while (going) {
      grpc::ByteBuffer buffer;
      stream->Read(&buffer, nullptr);
      going = await();
      std::vector<grpc::Slice> slices;
      if (!going || !buffer.Dump(&slices).ok()) continue;
      answer.message.clear();
      for (const grpc::Slice& part : slices) {
        answer.message.append(reinterpret_cast<const char*>(part.begin()), part.size());
      }
    }
  }
  stream->Finish(&answer.status, nullptr);
  await();
  return answer;
}

std::string PathOf(const MethodDescriptor& method) {
  return absl::StrCat("/", method.service()->full_name(), "/", method.name());
}

bool IsRefusal(grpc::StatusCode code) {
  return code == grpc::StatusCode::UNAUTHENTICATED || code == grpc::StatusCode::PERMISSION_DENIED;
}

class EveryRpcTest : public ::testing::Test {
 protected:
  EveryRpcTest() {
    WriteServerFiles(maker_);
    for (const auto& [name, role, worker] :
         {std::tuple("submit", Role::kSubmit, ""), std::tuple("work", Role::kWork, ""),
          std::tuple("bound", Role::kWork, "a"), std::tuple("admin", Role::kAdmin, "")}) {
      tokens_[name] = *AddToken(token_file_, name, role, worker, Clock::Real()->Now());
    }
    StartServer({.listen = "127.0.0.1:0",
                 .tls_certificate = directory_ / "server.pem",
                 .tls_key = directory_ / "server.key",
                 .tls_client_authorities = directory_ / "ca.pem",
                 .tls_refresh = absl::Milliseconds(20),
                 .tokens = token_file_,
                 .token_recheck = absl::ZeroDuration(),
                 .audit_log = directory_ / "audit.jsonl"});
  }

  void StartServer(const ControllerServer::Options& options) {
    server_ = nullptr;
    absl::StatusOr<std::unique_ptr<ControllerServer>> server =
        ControllerServer::Start(options, harness_.controller(), harness_.artifacts());
    FORALL_EXPECT_OK(server);
    server_ = *std::move(server);
  }

  void Write(const std::string& name, const std::string& text) {
    FORALL_EXPECT_OK(WriteFileAtomically(directory_ / name, text));
  }
  void WriteServerFiles(const CertificateMaker& maker) {
    const KeyPair server = maker.Issue({"DNS:localhost", "IP:127.0.0.1"});
    Write("ca.pem", maker.authority());
    Write("server.key", server.key);
    Write("server.pem", server.certificate);
  }

  std::string Address() const { return absl::StrCat("127.0.0.1:", server_->port()); }
  std::shared_ptr<grpc::Channel> Open(const ControllerAccess& access) {
    const auto credentials = MakeChannelCredentials(access);
    FORALL_EXPECT_OK(credentials);
    grpc::ChannelArguments arguments;
    // A connection of its own, whatever other channels there are.
    arguments.SetInt("forall.test.channel", ++channels_);
    return grpc::CreateCustomChannel(access.address, *credentials, arguments);
  }
  // Over TLS with a token; "" for none.
  std::shared_ptr<grpc::Channel> WithToken(const std::string& token) {
    return Open({.address = Address(), .tls_ca = directory_ / "ca.pem", .token = token});
  }
  // And with a client certificate, which the client itself does not judge.
  std::shared_ptr<grpc::Channel> WithCertificate(const KeyPair& pair,
                                                 const std::string& token = "") {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = maker_.authority();
    options.pem_cert_chain = pair.certificate;
    options.pem_private_key = pair.key;
    std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::SslCredentials(options);
    if (!token.empty()) {
      credentials =
          grpc::CompositeChannelCredentials(credentials, grpc::AccessTokenCredentials(token));
    }
    grpc::ChannelArguments arguments;
    arguments.SetInt("forall.test.channel", ++channels_);
    return grpc::CreateCustomChannel(Address(), credentials, arguments);
  }

  // The services that this very server registered, by gRPC's reflection, less gRPC's own.
  std::vector<const ServiceDescriptor*> Services() {
    // ServerReflectionRequest{list_services: "*"}, and services[].name of its answer.
    const Answer answer =
        CallRaw(WithToken(tokens_["admin"]), kReflection, std::string("\x3a\x01*"));
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    const auto children = [](const UnknownFieldSet& message, int number) {
      std::vector<std::string> found;
      for (int i = 0; i < message.field_count(); ++i) {
        const auto& field = message.field(i);
        if (field.number() == number &&
            field.type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED) {
          found.push_back(field.length_delimited());
        }
      }
      return found;
    };
    std::vector<const ServiceDescriptor*> services;
    UnknownFieldSet response;
    EXPECT_TRUE(response.ParseFromString(answer.message));
    for (const std::string& list : children(response, 6)) {
      UnknownFieldSet entries;
      EXPECT_TRUE(entries.ParseFromString(list));
      for (const std::string& entry : children(entries, 1)) {
        UnknownFieldSet service;
        EXPECT_TRUE(service.ParseFromString(entry));
        for (const std::string& name : children(service, 1)) {
          if (absl::StartsWith(name, "grpc.")) continue;
          services.push_back(DescriptorPool::generated_pool()->FindServiceByName(name));
          EXPECT_NE(services.back(), nullptr) << name;
        }
      }
    }
    return services;
  }

  std::vector<const MethodDescriptor*> Methods() {
    std::vector<const MethodDescriptor*> methods;
    for (const ServiceDescriptor* service : Services()) {
      for (int i = 0; i < service->method_count(); ++i) methods.push_back(service->method(i));
    }
    EXPECT_GE(methods.size(), 31u);
    return methods;
  }

  // A request that says as which worker it acts.
  static std::string RequestAs(const MethodDescriptor& method, const std::string& worker_id) {
    const AccessRule& rule = *FindRule(method.input_type());
    google::protobuf::DynamicMessageFactory factory;
    const std::unique_ptr<Message> request(factory.GetPrototype(method.input_type())->New());
    const std::string field = rule.worker_field;
    request->GetReflection()->SetString(
        request.get(), method.input_type()->FindFieldByName(field),
        field == "worker_id" ? worker_id : absl::StrCat("workers/", worker_id));
    return request->SerializeAsString();
  }

  std::vector<nlohmann::json> AuditLines() {
    const absl::StatusOr<std::string> text = ReadFile(directory_ / "audit.jsonl");
    FORALL_EXPECT_OK(text);
    std::vector<nlohmann::json> lines;
    for (const std::string& line :
         std::vector<std::string>(absl::StrSplit(text.value_or(""), '\n', absl::SkipEmpty()))) {
      lines.push_back(nlohmann::json::parse(line));
    }
    return lines;
  }

  testing::TempDir directory_;
  const std::string token_file_ = directory_ / "forall.db.tokens";
  const CertificateMaker maker_;
  std::map<std::string, std::string> tokens_;
  int channels_ = 0;
  ControllerHarness harness_;
  std::unique_ptr<ControllerServer> server_;
};

TEST_F(EveryRpcTest, HasARuleAndEveryRuleAnRpc) {
  const std::vector<const MethodDescriptor*> methods = Methods();
  for (const MethodDescriptor* method : methods) {
    const AccessRule* const rule = FindRule(method->input_type());
    ASSERT_NE(rule, nullptr) << method->full_name()
                             << " has no line in search/service/access/access_rules.cc, or takes "
                                "the request of another method";
    EXPECT_EQ(rule->method, method->full_name());
    const std::string field = rule->worker_field;
    if (!field.empty()) {
      const FieldDescriptor* const found = method->input_type()->FindFieldByName(field);
      ASSERT_NE(found, nullptr) << method->full_name() << " " << field;
      EXPECT_EQ(found->type(), FieldDescriptor::TYPE_STRING);
    } else if (rule->work) {
      // A request that names a worker, and is for workers, is bound to it.
      EXPECT_EQ(method->input_type()->FindFieldByName("worker"), nullptr) << method->full_name();
      EXPECT_EQ(method->input_type()->FindFieldByName("worker_id"), nullptr) << method->full_name();
    }
  }
  EXPECT_EQ(AccessRules().size(), methods.size())
      << "a rule in search/service/access/access_rules.cc belongs to no method";
}

TEST_F(EveryRpcTest, WithoutAKnownTokenIsRefused) {
  const std::vector<const MethodDescriptor*> methods = Methods();
  const auto nobody = WithToken("");
  const auto stranger = WithToken("forall_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
  // Verified, but of no worker.
  const auto nameless = WithCertificate(maker_.Issue({"DNS:somebody"}));
  for (const MethodDescriptor* method : methods) {
    for (const auto& channel : {nobody, stranger, nameless}) {
      const Answer answer = CallRaw(channel, PathOf(*method), "");
      EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAUTHENTICATED)
          << method->full_name();
      EXPECT_THAT(answer.status.error_message(), HasSubstr("token add")) << method->full_name();
    }
  }
}

TEST_F(EveryRpcTest, WithTheWrongRoleIsRefused) {
  const auto worker_certificate = WithCertificate(maker_.Issue({"URI:forall:worker/a"}));
  const std::tuple<Role, std::shared_ptr<grpc::Channel>> callers[] = {
      {Role::kSubmit, WithToken(tokens_["submit"])},
      {Role::kWork, WithToken(tokens_["work"])},
      {Role::kWork, worker_certificate},
      {Role::kAdmin, WithToken(tokens_["admin"])}};
  for (const MethodDescriptor* method : Methods()) {
    const AccessRule& rule = *FindRule(method->input_type());
    const std::string request = *rule.worker_field == '\0' ? "" : RequestAs(*method, "a");
    for (const auto& [role, channel] : callers) {
      const Answer answer = CallRaw(channel, PathOf(*method), request);
      if (rule.Allows(role)) {
        EXPECT_FALSE(IsRefusal(answer.status.error_code()))
            << method->full_name() << " " << answer.status.error_message();
      } else {
        EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::PERMISSION_DENIED)
            << method->full_name() << " as " << RoleName(role);
        EXPECT_THAT(answer.status.error_message(), HasSubstr("role")) << method->full_name();
      }
    }
  }
}

TEST_F(EveryRpcTest, WithABadClientCertificateIsRefused) {
  const std::vector<const MethodDescriptor*> methods = Methods();
  const std::vector<std::string> worker = {"URI:forall:worker/a"};
  const std::string& admin = tokens_["admin"];
  const std::pair<const char*, std::shared_ptr<grpc::Channel>> callers[] = {
      {"expired", WithCertificate(maker_.Issue(worker, -absl::Hours(3), -absl::Hours(1)), admin)},
      {"not yet valid",
       WithCertificate(maker_.Issue(worker, absl::Hours(1), absl::Hours(3)), admin)},
      {"of another authority", WithCertificate(CertificateMaker().Issue(worker), admin)}};
  for (const MethodDescriptor* method : methods) {
    for (const auto& [what, channel] : callers) {
      // The handshake fails, so that not even health is answered.
      EXPECT_EQ(CallRaw(channel, PathOf(*method), "").status.error_code(),
                grpc::StatusCode::UNAVAILABLE)
          << method->full_name() << " " << what;
    }
  }
  EXPECT_TRUE(
      CallRaw(WithCertificate(maker_.Issue(worker), admin), "/grpc.health.v1.Health/Check", "")
          .status.ok());
}

TEST_F(EveryRpcTest, InPlainTextIsRefused) {
  const auto channel = grpc::CreateChannel(Address(), grpc::InsecureChannelCredentials());
  for (const MethodDescriptor* method : Methods()) {
    EXPECT_EQ(CallRaw(channel, PathOf(*method), "").status.error_code(),
              grpc::StatusCode::UNAVAILABLE)
        << method->full_name();
  }
}

TEST_F(EveryRpcTest, AsAnotherWorkerIsRefused) {
  const std::shared_ptr<grpc::Channel> channels[] = {
      WithCertificate(maker_.Issue({"URI:forall:worker/a"})), WithToken(tokens_["bound"])};
  int bound = 0;
  for (const MethodDescriptor* method : Methods()) {
    if (*FindRule(method->input_type())->worker_field == '\0') continue;
    ++bound;
    for (const auto& channel : channels) {
      for (const char* other : {"b", "a2", ""}) {
        const Answer answer = CallRaw(channel, PathOf(*method), RequestAs(*method, other));
        EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::PERMISSION_DENIED)
            << method->full_name() << " as " << other;
        EXPECT_THAT(answer.status.error_message(), HasSubstr("may act as worker a"));
      }
      EXPECT_FALSE(
          IsRefusal(CallRaw(channel, PathOf(*method), RequestAs(*method, "a")).status.error_code()))
          << method->full_name();
    }
  }
  EXPECT_EQ(bound, 6);
}

TEST_F(EveryRpcTest, AnotherWorkersLeaseIsNotOnesOwn) {
  const auto a = v1::FleetService::NewStub(WithCertificate(maker_.Issue({"URI:forall:worker/a"})));
  const auto b = v1::FleetService::NewStub(WithCertificate(maker_.Issue({"URI:forall:worker/b"})));
  for (const auto& [id, stub] : {std::pair("a", a.get()), std::pair("b", b.get())}) {
    grpc::ClientContext context;
    v1::RegisterWorkerResponse response;
    const grpc::Status status =
        stub->RegisterWorker(&context, harness_.Registration(id), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  FORALL_ASSERT_OK(harness_.Submit(ControllerHarness::Spec(3)));
  v1::LeaseTasksResponse leased;
  {
    grpc::ClientContext context;
    v1::LeaseTasksRequest request;
    request.set_worker("workers/b");
    request.set_max_tasks(1);
    const grpc::Status status = b->LeaseTasks(&context, request, &leased);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  ASSERT_EQ(leased.tasks_size(), 1);
  const std::string task = leased.tasks(0).task().name();
  const std::string token = leased.tasks(0).lease().token();
  {
    grpc::ClientContext context;
    v1::CompleteTasksRequest request;
    request.set_worker("workers/a");
    *request.add_results() = harness_.Evaluate(leased.tasks(0));
    v1::CompleteTasksResponse response;
    ASSERT_TRUE(a->CompleteTasks(&context, request, &response).ok());
    ASSERT_EQ(response.completions_size(), 1);
    EXPECT_EQ(response.completions(0).code(), static_cast<int>(grpc::StatusCode::ABORTED));
  }
  {
    grpc::ClientContext context;
    v1::ReleaseTaskRequest request;
    request.set_worker("workers/a");
    request.set_task(task);
    request.set_lease_token(token);
    v1::ReleaseTaskResponse response;
    EXPECT_EQ(a->ReleaseTask(&context, request, &response).error_code(), grpc::StatusCode::ABORTED);
  }
  const auto lost = [&](v1::FleetService::Stub* stub, const std::string& worker) {
    grpc::ClientContext context;
    v1::HeartbeatRequest request;
    request.set_worker(worker);
    v1::HeldLease* const held = request.add_leases();
    held->set_task(task);
    held->set_token(token);
    v1::HeartbeatResponse response;
    EXPECT_TRUE(stub->Heartbeat(&context, request, &response).ok());
    return std::vector<std::string>(response.lost_tokens().begin(), response.lost_tokens().end());
  };
  EXPECT_THAT(lost(a.get(), "workers/a"), ElementsAre(token));
  // And its holder still has it.
  EXPECT_THAT(lost(b.get(), "workers/b"), SizeIs(0));
}

TEST_F(EveryRpcTest, AJobIsOfWhoeverSubmittedItAndIsDeletedByThemOrAnAdministrator) {
  const auto stub = [this](const std::string& token) {
    return v1::SearchService::NewStub(WithToken(tokens_[token]));
  };
  tokens_["other"] = *AddToken(token_file_, "other", Role::kSubmit, "", Clock::Real()->Now());
  const auto submit = [&](const std::string& token) {
    grpc::ClientContext context;
    v1::SubmitSearchJobRequest request;
    *request.mutable_spec() = ControllerHarness::Spec(3);
    v1::SearchJob job;
    const grpc::Status status = stub(token)->SubmitSearchJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(job.tenant(), token);
    grpc::ClientContext cancelling;
    v1::CancelSearchJobRequest cancel;
    cancel.set_name(job.name());
    EXPECT_TRUE(stub(token)->CancelSearchJob(&cancelling, cancel, &job).ok());
    return job.name();
  };
  const auto remove = [&](const std::string& token, const std::string& name) {
    grpc::ClientContext context;
    v1::DeleteSearchJobRequest request;
    request.set_name(name);
    v1::DeleteSearchJobResponse response;
    return stub(token)->DeleteSearchJob(&context, request, &response);
  };
  const std::string first = submit("submit");
  const std::string second = submit("submit");
  const std::string third = submit("admin");
  const grpc::Status refused = remove("other", first);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(refused.error_message(), HasSubstr("submitted by \"submit\""));
  EXPECT_EQ(remove("submit", third).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_TRUE(remove("submit", first).ok());
  EXPECT_TRUE(remove("admin", second).ok());
  EXPECT_TRUE(remove("admin", third).ok());
  int logged = 0;
  for (const nlohmann::json& line : AuditLines()) {
    logged += line["method"] == "SearchService.DeleteSearchJob" ? 1 : 0;
  }
  EXPECT_EQ(logged, 5);
}

TEST_F(EveryRpcTest, ASupernetIsDeletedByAnAdministratorAlone) {
  const auto remove = [this](const std::string& token) {
    grpc::ClientContext context;
    v1::DeleteSupernetRequest request;
    request.set_name("supernets/fashion_mnist");
    v1::DeleteSupernetResponse response;
    return v1::SearchService::NewStub(WithToken(tokens_[token]))
        ->DeleteSupernet(&context, request, &response);
  };
  for (const char* token : {"submit", "work"}) {
    EXPECT_EQ(remove(token).error_code(), grpc::StatusCode::PERMISSION_DENIED) << token;
  }
  EXPECT_TRUE(remove("admin").ok());
  EXPECT_EQ(remove("admin").error_code(), grpc::StatusCode::NOT_FOUND);
  int logged = 0;
  for (const nlohmann::json& line : AuditLines()) {
    logged += line["method"] == "SearchService.DeleteSupernet" ? 1 : 0;
  }
  EXPECT_EQ(logged, 4);
}

TEST_F(EveryRpcTest, RevokedTokensEndAtOnceAndTheLastOpensNothing) {
  const std::string path = "/forall.v1.SearchService/ListSearchJobs";
  const auto submit = WithToken(tokens_["submit"]);
  EXPECT_TRUE(CallRaw(submit, path, "").status.ok());
  FORALL_ASSERT_OK(RevokeToken(token_file_, "submit"));
  EXPECT_EQ(CallRaw(submit, path, "").status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  for (const char* name : {"work", "bound", "admin"}) {
    FORALL_ASSERT_OK(RevokeToken(token_file_, name));
  }
  EXPECT_EQ(CallRaw(WithToken(""), path, "").status.error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(EveryRpcTest, GrpcsOwnServices) {
  for (const std::string& token : {std::string(), std::string("forall_x")}) {
    EXPECT_EQ(CallRaw(WithToken(token), kReflection, "\x3a\x01*").status.error_code(),
              grpc::StatusCode::UNAUTHENTICATED);
    EXPECT_EQ(CallRaw(WithToken(token), "/some.other.Service/Method", "").status.error_code(),
              grpc::StatusCode::UNAUTHENTICATED);
    EXPECT_TRUE(CallRaw(WithToken(token), "/grpc.health.v1.Health/Check", "").status.ok());
  }
  EXPECT_TRUE(CallRaw(WithToken(tokens_["work"]), kReflection, "\x3a\x01*").status.ok());
}

TEST_F(EveryRpcTest, LoopbackIsOpenUntilThereIsAToken) {
  const std::string tokens = directory_ / "later.tokens";
  StartServer({.listen = "127.0.0.1:0", .tokens = tokens, .token_recheck = absl::ZeroDuration()});
  const auto plain = grpc::CreateChannel(Address(), grpc::InsecureChannelCredentials());
  // With the token of some other controller in the environment, too.
  const auto with_other = Open({.address = Address(), .token = tokens_["admin"]});
  const std::string path = "/forall.v1.SearchService/ListSearchJobs";
  for (const auto& channel : {plain, with_other}) {
    EXPECT_TRUE(CallRaw(channel, path, "").status.ok());
    EXPECT_TRUE(CallRaw(channel, kReflection, "\x3a\x01*").status.ok());
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string token,
                              AddToken(tokens, "first", Role::kSubmit, "", Clock::Real()->Now()));
  for (const auto& channel : {plain, with_other}) {
    EXPECT_EQ(CallRaw(channel, path, "").status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
    EXPECT_EQ(CallRaw(channel, kReflection, "\x3a\x01*").status.error_code(),
              grpc::StatusCode::UNAUTHENTICATED);
  }
  EXPECT_TRUE(CallRaw(Open({.address = Address(), .token = token}), path, "").status.ok());
}

TEST_F(EveryRpcTest, CertificatesAreReadAgain) {
  const std::string path = "/grpc.health.v1.Health/Check";
  const CertificateMaker next("the next CA");
  // New connections only: one that stands keeps what it began with.
  const auto answers = [&](const CertificateMaker& trusted) {
    Write("trusted.pem", trusted.authority());
    return CallRaw(Open({.address = Address(), .tls_ca = directory_ / "trusted.pem"}), path, "")
        .status.ok();
  };
  const auto await = [&](const CertificateMaker& trusted) {
    const absl::Time deadline = Clock::Real()->Now() + absl::Minutes(1);
    while (Clock::Real()->Now() < deadline) {
      if (answers(trusted)) return true;
      Clock::Real()->SleepFor(absl::Milliseconds(100));
    }
    return false;
  };
  EXPECT_TRUE(answers(maker_));
  EXPECT_FALSE(answers(next));
  WriteServerFiles(next);
  EXPECT_TRUE(await(next));
  EXPECT_FALSE(answers(maker_));
  // The authorities of clients, too.
  {
    grpc::SslCredentialsOptions options;
    const KeyPair worker = next.Issue({"URI:forall:worker/a"});
    options.pem_root_certs = next.authority();
    options.pem_cert_chain = worker.certificate;
    options.pem_private_key = worker.key;
    const auto channel = grpc::CreateChannel(Address(), grpc::SslCredentials(options));
    EXPECT_TRUE(CallRaw(channel, "/forall.v1.FleetService/ReleaseTask", "\x0a\x09workers/a")
                    .status.error_code() != grpc::StatusCode::UNAVAILABLE);
  }
  // What is put there by mistake is not taken: gRPC looks every second.
  Write("server.pem", "garbage");
  Write("ca.pem", "garbage");
  Clock::Real()->SleepFor(absl::Seconds(2));
  EXPECT_TRUE(answers(next));
  WriteServerFiles(maker_);
  EXPECT_TRUE(await(maker_));
}

TEST_F(EveryRpcTest, ChangesAndRefusalsAreOnRecord) {
  const auto search = v1::SearchService::NewStub(WithToken(tokens_["submit"]));
  v1::SearchJob job;
  {
    grpc::ClientContext context;
    v1::SubmitSearchJobRequest request;
    *request.mutable_spec() = ControllerHarness::Spec(3);
    ASSERT_TRUE(search->SubmitSearchJob(&context, request, &job).ok());
  }
  {
    grpc::ClientContext context;
    v1::GetSearchJobRequest request;
    request.set_name(job.name());
    ASSERT_TRUE(search->GetSearchJob(&context, request, &job).ok());
  }
  {
    grpc::ClientContext context;
    v1::CancelSearchJobRequest request;
    request.set_name("searchJobs/77");
    EXPECT_FALSE(search->CancelSearchJob(&context, request, &job).ok());
  }
  const auto artifacts = v1::ArtifactService::NewStub(WithToken(tokens_["work"]));
  const std::string sha256 = Sha256Hex("a file");
  {
    grpc::ClientContext context;
    v1::Artifact artifact;
    const auto writer = artifacts->UploadArtifact(&context, &artifact);
    v1::UploadArtifactRequest request;
    request.set_sha256(sha256);
    request.set_size_bytes(6);
    request.set_content("a file");
    writer->Write(request);
    writer->WritesDone();
    EXPECT_TRUE(writer->Finish().ok());
  }
  {
    const auto fleet = v1::FleetService::NewStub(WithToken(tokens_["submit"]));
    grpc::ClientContext context;
    v1::DrainWorkerRequest request;
    request.set_name("workers/w");
    v1::Worker worker;
    EXPECT_EQ(fleet->DrainWorker(&context, request, &worker).error_code(),
              grpc::StatusCode::PERMISSION_DENIED);
  }
  CallRaw(WithToken(""), kReflection, "\x3a\x01*");

  const std::vector<nlohmann::json> lines = AuditLines();
  ASSERT_THAT(lines, SizeIs(5));
  const auto expect = [&](size_t at, const std::string& who, const std::string& method,
                          const std::string& resource, const std::string& outcome) {
    EXPECT_EQ(lines[at]["who"], who);
    EXPECT_EQ(lines[at]["method"], method);
    EXPECT_EQ(lines[at]["resource"], resource);
    EXPECT_EQ(lines[at]["outcome"], outcome);
  };
  expect(0, "token:submit", "SearchService.SubmitSearchJob", "searchJobs/1", "OK");
  expect(1, "token:submit", "SearchService.CancelSearchJob", "searchJobs/77", "NOT_FOUND");
  expect(2, "token:work", "ArtifactService.UploadArtifact", sha256, "OK");
  expect(3, "token:submit", "FleetService.DrainWorker", "workers/w", "PERMISSION_DENIED");
  expect(4, "", kReflection, "", "UNAUTHENTICATED");
  EXPECT_EQ(lines[3]["role"], "submit");
  for (int at = 0; at < 4; ++at) {
    EXPECT_THAT(lines[at]["peer"].get<std::string>(), HasSubstr("127.0.0.1")) << at;
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(directory_ / "audit.jsonl"));
  for (const auto& [name, token] : tokens_) EXPECT_THAT(text, Not(HasSubstr(token)));
}

}  // namespace
}  // namespace forall
