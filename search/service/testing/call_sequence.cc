// SPDX-License-Identifier: Apache-2.0
#include "search/service/testing/call_sequence.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/testing/temp_dir.h"
#include "latency/table/latency_table.h"
#include "latency/table/table_lint.h"
#include "proto/forall/v1/artifact_service.pb.h"
#include "proto/forall/v1/fleet_service.pb.h"
#include "proto/forall/v1/search_service.pb.h"
#include "search/controller/controller.h"
#include "search/controller/network_tasks.h"
#include "search/controller/resource_names.h"
#include "search/controller/testing/controller_harness.h"
#include "search/report/html_report.h"
#include "search/service/report_snapshot.h"
#include "search/store/artifact_store.h"
#include "search/store/sqlite_result_store.h"
#include "space/family.h"
#include "space/metric_registry.h"
#include "supernet/testing/tiny_supernet.h"

namespace forall::testing {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::DescriptorPool;
using ::google::protobuf::DescriptorProto;
using ::google::protobuf::DynamicMessageFactory;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::FieldDescriptorProto;
using ::google::protobuf::FileDescriptor;
using ::google::protobuf::FileDescriptorProto;
using ::google::protobuf::Message;
using ::google::protobuf::MethodDescriptor;
using ::google::protobuf::Reflection;
using ::google::protobuf::ServiceDescriptor;

// The largest message that the server sends.
constexpr size_t kMaxSendBytes = size_t{64} << 20;
// Those of ControllerHarness::Spec and Registration.
constexpr char kSupernet[] = "fashion_mnist";
constexpr char kDataset[] = "fashion_mnist";
// What one sequence may make the scripted workers do, and jobs propose.
constexpr int kMostTasks = 80;
constexpr int kMostTrials = 12;

std::vector<const FileDescriptor*> ServiceFiles() {
  return {v1::GetArtifactRequest::descriptor()->file(), v1::HeartbeatRequest::descriptor()->file(),
          v1::GetSearchJobRequest::descriptor()->file()};
}

std::vector<const MethodDescriptor*> Methods() {
  std::vector<const MethodDescriptor*> methods;
  for (const FileDescriptor* file : ServiceFiles()) {
    for (int s = 0; s < file->service_count(); ++s) {
      const ServiceDescriptor& service = *file->service(s);
      for (int m = 0; m < service.method_count(); ++m) methods.push_back(service.method(m));
    }
  }
  return methods;
}

std::string FieldName(const MethodDescriptor& method) {
  return absl::StrCat(method.service()->name(), "_", method.name());
}

void AddField(DescriptorProto* message, const std::string& name, int number,
              FieldDescriptorProto::Type type, const std::string& type_name = "",
              bool repeated = false) {
  FieldDescriptorProto* const field = message->add_field();
  field->set_name(name);
  field->set_number(number);
  field->set_type(type);
  field->set_label(repeated ? FieldDescriptorProto::LABEL_REPEATED
                            : FieldDescriptorProto::LABEL_OPTIONAL);
  if (!type_name.empty()) field->set_type_name(type_name);
}

// The types of a sequence. Never destroyed.
struct SequenceTypes {
  SequenceTypes() : pool(DescriptorPool::generated_pool()), factory(&pool) {
    factory.SetDelegateToGeneratedFactory(true);
    FileDescriptorProto file;
    file.set_name("call_sequence.proto");
    file.set_package("forall.testing");
    file.set_syntax("proto3");
    for (const FileDescriptor* service : ServiceFiles()) file.add_dependency(service->name());
    DescriptorProto* const sequence_type = file.add_message_type();
    sequence_type->set_name("Sequence");
    AddField(sequence_type, "calls", 1, FieldDescriptorProto::TYPE_MESSAGE, ".forall.testing.Call",
             true);
    DescriptorProto* const work = file.add_message_type();
    work->set_name("Work");
    AddField(work, "worker", 1, FieldDescriptorProto::TYPE_STRING);
    AddField(work, "tasks", 2, FieldDescriptorProto::TYPE_INT32);
    AddField(work, "overlay", 3, FieldDescriptorProto::TYPE_MESSAGE, ".forall.v1.TaskResult");
    DescriptorProto* const call = file.add_message_type();
    call->set_name("Call");
    AddField(call, "advance_ms", 1, FieldDescriptorProto::TYPE_INT64);
    AddField(call, "restart", 2, FieldDescriptorProto::TYPE_BOOL);
    AddField(call, "work", 3, FieldDescriptorProto::TYPE_MESSAGE, ".forall.testing.Work");
    for (const MethodDescriptor* method : Methods()) {
      std::string type = absl::StrCat(".", method->input_type()->full_name());
      if (method->client_streaming()) {
        DescriptorProto* const stream = file.add_message_type();
        stream->set_name(absl::StrCat(FieldName(*method), "_Stream"));
        AddField(stream, "messages", 1, FieldDescriptorProto::TYPE_MESSAGE, type, true);
        type = absl::StrCat(".forall.testing.", stream->name());
      }
      // By name, so that inputs that were kept mean the same when a method is added.
      const int number = 1000 + static_cast<int>(Fnv1a64(method->full_name()) % 100'000'000);
      AddField(call, FieldName(*method), number, FieldDescriptorProto::TYPE_MESSAGE, type);
    }
    call->add_oneof_decl()->set_name("call");
    for (FieldDescriptorProto& field : *call->mutable_field()) field.set_oneof_index(0);
    const FileDescriptor* const built = pool.BuildFile(file);
    FORALL_CHECK(built != nullptr) << "two methods share a field number";
    sequence = factory.GetPrototype(built->FindMessageTypeByName("Sequence"));
  }

  DescriptorPool pool;
  DynamicMessageFactory factory;
  const Message* sequence = nullptr;
};

const SequenceTypes& Types() {
  static const auto& types = *new SequenceTypes();
  return types;
}

// Calls `visit` for every text within the message, with the field's name. `visit` may change it.
void ForEachText(Message* message,
                 const std::function<void(const FieldDescriptor&, std::string*)>& visit) {
  const Reflection& reflection = *message->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    const int size = field->is_repeated() ? reflection.FieldSize(*message, field) : 1;
    for (int i = 0; i < size; ++i) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        ForEachText(field->is_repeated() ? reflection.MutableRepeatedMessage(message, field, i)
                                         : reflection.MutableMessage(message, field),
                    visit);
      } else if (field->type() == FieldDescriptor::TYPE_STRING) {
        const std::string old = field->is_repeated()
                                    ? reflection.GetRepeatedString(*message, field, i)
                                    : reflection.GetString(*message, field);
        std::string text = old;
        visit(*field, &text);
        if (text == old) continue;
        field->is_repeated() ? reflection.SetRepeatedString(message, field, i, std::move(text))
                             : reflection.SetString(message, field, std::move(text));
      }
    }
  }
}

// Applies and answers commits within the call, one after the other, however they nest.
class InlineStore : public FaultyStore {
 public:
  explicit InlineStore(SqliteResultStore* store) : FaultyStore(store), store_(store) {}

  void CommitAsync(StoreBatch batch, std::function<void(absl::Status)> done) override {
    queue_.push_back({std::move(batch), std::move(done)});
    if (busy_) return;
    busy_ = true;
    while (!queue_.empty()) {
      auto [next, answer] = std::move(queue_.front());
      queue_.pop_front();
      answer(store_->Commit(std::move(next)));
    }
    busy_ = false;
  }

 private:
  SqliteResultStore* const store_;
  std::deque<std::pair<StoreBatch, std::function<void(absl::Status)>>> queue_;
  bool busy_ = false;
};

// Files that requests may name. The folder is shared by all sequences of the process; what one adds
// it takes away again.
struct Files {
  Files() {
    artifacts = ArtifactStore::Create({.folder = folder / "artifacts"}).value();
    PackageOptions package;
    package.dataset = kDataset;
    weights = artifacts->Put(BuildWeightsFile(*family, RandomTensors(*family, 7), package).value())
                  .value();
    other = artifacts->Put(BuildWeightsFile(*family, RandomTensors(*family, 8), package).value())
                .value();
    LatencyTable rows;
    rows.conditions = {"pc", "runtime", 1, 1, "2020"};
    Random random(1);
    for (const int32_t resolution : {8, 12}) {
      const std::vector<std::string> keys = SpaceKeys(*family, resolution).value();
      for (const std::string& key : keys) {
        rows.resolutions[resolution][key].mean_ms = 0.01 * (1 + random.Double());
      }
    }
    table = artifacts->Put(SerializeLatencyTable(rows)).value();
    kept = {weights, other, table};
  }

  TempDir folder;
  // A controller reads its spec at every start, and every job describes its networks: a small one.
  const std::shared_ptr<const Family> family = TinyFamily();
  std::unique_ptr<ArtifactStore> artifacts;
  std::string weights;
  std::string other;
  std::string table;
  std::set<std::string> kept;
};

Files& SharedFiles() {
  static auto& files = *new Files();
  return files;
}

class Run;
using Driver = std::function<void(Run*, const Message&)>;
const std::map<std::string, Driver>& Drivers();

struct Granted {
  std::string worker;
  std::string task;
  std::string token;
};

// One sequence on one controller.
class Run {
 public:
  Run() : sqlite_(SqliteResultStore::Create({.path = ":memory:"}).value()), store_(sqlite_.get()) {
    const Files& files = SharedFiles();
    StoreBatch batch;
    batch.insert_artifacts.push_back(
        {files.weights, files.artifacts->Size(files.weights).value(), clock_.Now()});
    batch.insert_supernets.push_back(
        {kSupernet, files.weights, files.family->Spec(), kDataset, clock_.Now()});
    FORALL_CHECK(sqlite_->Commit(std::move(batch)).ok());
    Start();
  }
  ~Run() {
    controller_->Stop();
    controller_.reset();
    const Files& files = SharedFiles();
    for (const std::string& sha256 : uploaded_) {
      if (files.kept.count(sha256) > 0) continue;
      std::error_code ignored;  // It may never have come to be.
      std::filesystem::remove(files.artifacts->PathOf(sha256).value(), ignored);
    }
  }

  void Step(const Message& call) {
    const Reflection& reflection = *call.GetReflection();
    const FieldDescriptor* const field =
        reflection.GetOneofFieldDescriptor(call, call.GetDescriptor()->oneof_decl(0));
    if (field == nullptr) return;
    if (field->name() == "advance_ms") {
      // Neither backwards nor beyond a month.
      const uint64_t month_ms = 30ull * 24 * 3600 * 1000;
      const auto ms = static_cast<uint64_t>(reflection.GetInt64(call, field)) % month_ms;
      clock_.Advance(absl::Milliseconds(ms));
      controller_->Tick();
    } else if (field->name() == "restart") {
      Restart();
    } else {
      const std::unique_ptr<Message> message(reflection.GetMessage(call, field).New());
      message->CopyFrom(reflection.GetMessage(call, field));
      ForEachText(message.get(), [&](const FieldDescriptor&, std::string* text) {
        if (!absl::StartsWith(*text, "$")) return;
        if (const auto it = last_.find(text->substr(1)); it != last_.end()) *text = it->second;
      });
      if (field->name() == "work") {
        Work(*message);
      } else {
        ++result_.calls;
        Drivers().at(field->name())(this, *message);
      }
    }
    controller_->Tick();
  }

  // Everything that must hold at the end.
  void CheckInvariants(bool reopen) {
    const std::map<std::string, std::string> status = Status();
    FORALL_CHECK(status.at("commits_failed") == "0" && status.at("read_only") == "false")
        << "the store refused what the controller made of a request: "
        << (status.count("read_only_reason") > 0 ? status.at("read_only_reason") : "");
    CheckLeases();
    controller_->CollectMetrics();
    const std::map<std::string, std::string> views = Views();
    if (!reopen) return;
    Restart();
    const std::map<std::string, std::string> again = Views();
    for (const auto& [name, view] : views) {
      const auto it = again.find(name);
      FORALL_CHECK(it != again.end()) << name << " is gone after a restart";
      FORALL_CHECK(it->second == view) << name << " was\n"
                                       << view << "and after a restart is\n"
                                       << it->second;
    }
  }

  Controller* controller() { return controller_.get(); }
  SequenceResult& result() { return result_; }
  std::set<std::string>* uploaded() { return &uploaded_; }

  // Every answer comes through here.
  template <typename Response>
  void Answered(const absl::StatusOr<Response>& answer) {
    if (!answer.ok()) {
      FORALL_CHECK(answer.status().code() != absl::StatusCode::kInternal &&
                   answer.status().code() != absl::StatusCode::kDataLoss)
          << answer.status();
      return;
    }
    ++result_.answered;
    Response copy;
    const std::string bytes = answer->SerializeAsString();
    FORALL_CHECK(bytes.size() <= kMaxSendBytes) << bytes.size() << " bytes cannot be sent";
    FORALL_CHECK(copy.ParseFromString(bytes)) << "a client cannot read " << answer->DebugString();
    Note(&copy);
  }

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(void (Controller::*method)(const Request&, Done<Response>),
                                const Request& request) {
    // On the heap: should the answer come late after all, it has somewhere to go.
    const auto answer = std::make_shared<std::optional<absl::StatusOr<Response>>>();
    (controller_.get()->*method)(request, [answer](absl::StatusOr<Response> given) {
      FORALL_CHECK(!answer->has_value()) << "answered twice";
      answer->emplace(std::move(given));
    });
    FORALL_CHECK(answer->has_value()) << "never answered: " << request.DebugString();
    return **answer;
  }

  void Lease(const v1::LeaseTasksRequest& request) {
    const auto answered = std::make_shared<bool>(false);
    const int64_t poll =
        controller_->LeaseTasks(request, [this, answered, worker = request.worker()](
                                             const absl::StatusOr<v1::LeaseTasksResponse>& answer) {
          FORALL_CHECK(!*answered) << "answered twice";
          *answered = true;
          Answered(answer);
          if (answer.ok()) NoteGrants(worker, *answer);
        });
    FORALL_CHECK(poll != 0 || *answered) << "never answered: " << request.DebugString();
    // Every other client that waits goes away.
    if (poll % 2 == 1 && !*answered) controller_->CancelPoll(poll);
  }

 private:
  void Start() {
    controller_ = Controller::Create({.store = &store_,
                                      .artifacts = SharedFiles().artifacts.get(),
                                      .clock = &clock_,
                                      .heartbeat_interval = absl::Seconds(5),
                                      .background = false})
                      .value();
  }
  void Restart() {
    controller_->Stop();
    controller_.reset();
    Start();
  }

  std::map<std::string, std::string> Status() {
    const auto status = Call(&Controller::GetServerStatus, v1::GetServerStatusRequest());
    FORALL_CHECK(status.ok()) << status.status();
    return {status->values().begin(), status->values().end()};
  }

  void Work(const Message& work) {
    const Reflection& reflection = *work.GetReflection();
    const Descriptor& type = *work.GetDescriptor();
    const std::string worker = reflection.GetString(work, type.field(0));
    const int tasks = reflection.GetInt32(work, type.field(1));
    for (int i = 0; i < tasks && tasks_ < kMostTasks; ++i) {
      v1::LeaseTasksRequest lease;
      lease.set_worker(worker);
      lease.set_max_tasks(1);
      absl::StatusOr<v1::LeaseTasksResponse> leased;
      controller_->LeaseTasks(
          lease, [&](const absl::StatusOr<v1::LeaseTasksResponse>& answer) { leased = answer; });
      if (!leased.ok() || leased->tasks().empty()) return;
      ++tasks_;
      NoteGrants(worker, *leased);
      Note(&*leased);
      v1::TaskResult result = EvaluateTask(leased->tasks(0), *SharedFiles().artifacts);
      if (result.has_export_result()) {
        uploaded_.insert(result.export_result().artifact_sha256());
        last_["artifact"] = result.export_result().artifact_sha256();
      }
      if (reflection.HasField(work, type.field(2))) {
        result.MergeFrom(static_cast<const v1::TaskResult&>(
            reflection.GetMessage(work, type.field(2), &mutable_types().factory)));
      }
      v1::CompleteTasksRequest complete;
      complete.set_worker(worker);
      *complete.add_results() = std::move(result);
      Answered(Call(&Controller::CompleteTasks, complete));
    }
  }
  static SequenceTypes& mutable_types() { return const_cast<SequenceTypes&>(Types()); }

  void NoteGrants(const std::string& worker, const v1::LeaseTasksResponse& answer) {
    for (const v1::LeasedTask& leased : answer.tasks()) {
      granted_.push_back({worker, leased.task().name(), leased.lease().token()});
    }
  }

  // Remembers what later requests may name.
  void Note(Message* answer) {
    ForEachText(answer, [&](const FieldDescriptor& field, const std::string* text) {
      if (text->empty()) return;
      if (ParseTrialName(*text).ok()) {
        last_["trial"] = *text;
      } else if (ParseJobName(*text).ok()) {
        last_["job"] = *text;
      } else if (ParseTaskName(*text).ok()) {
        last_["task"] = *text;
      } else if (field.name() == "token" || field.name() == "lease_token") {
        last_["token"] = *text;
      } else if (field.name() == "next_page_token") {
        last_["page"] = *text;
      } else if (field.name() == "arch_key") {
        last_["key"] = *text;
      } else if (field.name() == "artifact_sha256" || field.name() == "sha256") {
        last_["artifact"] = *text;
      }
    });
  }

  // A task has at most one current lease, and one that is leased is open in the store.
  void CheckLeases() {
    std::map<std::string, v1::HeartbeatRequest> held;
    for (const Granted& grant : granted_) {
      v1::HeartbeatRequest& heartbeat = held[grant.worker];
      heartbeat.set_worker(grant.worker);
      v1::HeldLease* const lease = heartbeat.add_leases();
      lease->set_task(grant.task);
      lease->set_token(grant.token);
    }
    std::map<std::string, std::string> current;  // task -> worker
    for (const auto& [worker, heartbeat] : held) {
      const auto answer = Call(&Controller::Heartbeat, heartbeat);
      if (!answer.ok()) continue;
      const std::set<std::string> lost(answer->lost_tokens().begin(), answer->lost_tokens().end());
      for (const v1::HeldLease& lease : heartbeat.leases()) {
        if (lost.count(lease.token()) > 0) continue;
        const auto [it, is_new] = current.emplace(lease.task(), worker);
        FORALL_CHECK(is_new || it->second == worker)
            << lease.task() << " is leased to " << it->second << " and to " << worker;
      }
    }
    std::set<int64_t> open;
    const auto jobs = sqlite_->LoadJobs();
    FORALL_CHECK(jobs.ok()) << jobs.status();
    int64_t wanted = 0;
    for (const JobRecord& job : *jobs) {
      const auto tasks = sqlite_->LoadTasks(job.id);
      FORALL_CHECK(tasks.ok()) << tasks.status();
      for (const TaskRecord& task : *tasks) {
        if (task.state == TaskState::kOpen) open.insert(task.id);
        wanted += task.state == TaskState::kOpen && !job.end_time.has_value() ? 1 : 0;
      }
    }
    for (const auto& [name, worker] : current) {
      const int64_t task = ParseTaskName(name).value();
      FORALL_CHECK(NetworkTasks::IsNetworkTask(task) || open.count(task) > 0)
          << name << " is closed in the store and leased to " << worker;
    }
    const std::map<std::string, std::string> status = Status();
    const int64_t known =
        std::stoll(status.at("tasks_waiting")) + std::stoll(status.at("tasks_leased"));
    FORALL_CHECK(known >= wanted) << wanted << " tasks are open in the store, " << known
                                  << " are there to be leased";
  }

  // What the controller says of each job and trial, once it is checked.
  std::map<std::string, std::string> Views() {
    result_.jobs = result_.succeeded_jobs = result_.frontier_members = 0;
    std::map<std::string, std::string> views;
    v1::ListSearchJobsRequest list;
    list.set_page_size(1000);
    const auto jobs = Call(&Controller::ListSearchJobs, list);
    FORALL_CHECK(jobs.ok()) << jobs.status();
    for (v1::SearchJob job : jobs->search_jobs()) {
      ++result_.jobs;
      result_.succeeded_jobs += job.state() == v1::SearchJob::SUCCEEDED ? 1 : 0;
      const int decided = job.measured_trials() + job.infeasible_trials() + job.failed_trials();
      v1::ListTrialsRequest request;
      request.set_parent(job.name());
      request.set_page_size(1000);
      const auto trials = Call(&Controller::ListTrials, request);
      FORALL_CHECK(trials.ok()) << trials.status();
      FORALL_CHECK(trials->next_page_token().empty() && decided <= job.proposed_trials() &&
                   trials->trials_size() == job.proposed_trials())
          << job.DebugString() << trials->trials_size() << " trials";
      for (const v1::Trial& trial : trials->trials()) views[trial.name()] = trial.DebugString();
      CheckFrontier(job);
      // Workers have to come back first, and only then is more proposed.
      job.clear_waiting_reason();
      views[job.name()] = job.DebugString();
    }
    return views;
  }

  void CheckFrontier(const v1::SearchJob& job) {
    v1::QueryParetoFrontierRequest query;
    query.set_parent(job.name());
    const auto frontier = Call(&Controller::QueryParetoFrontier, query);
    FORALL_CHECK(frontier.ok()) << frontier.status();
    result_.frontier_members += frontier->members_size();
    for (const v1::FrontierMember& a : frontier->members()) {
      FORALL_CHECK(a.values_size() == frontier->objectives_size()) << a.DebugString();
      for (const double value : a.values()) {
        FORALL_CHECK(value - value == 0) << "not finite: " << a.DebugString();
      }
      for (const v1::FrontierMember& b : frontier->members()) {
        if (&a == &b) continue;
        bool no_worse = true;
        for (int i = 0; i < a.values_size(); ++i) {
          const bool up = frontier->objectives(i).goal() == v1::Objective::MAXIMIZE;
          no_worse &= up ? a.values(i) >= b.values(i) : a.values(i) <= b.values(i);
        }
        FORALL_CHECK(!no_worse) << b.trial().name() << " is dominated by or the same as "
                                << a.trial().name() << " on the frontier of " << job.name();
      }
    }
  }

  FakeClock clock_;
  const std::unique_ptr<SqliteResultStore> sqlite_;
  InlineStore store_;
  std::unique_ptr<Controller> controller_;
  std::map<std::string, std::string> last_;
  std::vector<Granted> granted_;
  std::set<std::string> uploaded_;
  int tasks_ = 0;
  SequenceResult result_;
};

// A job of which nobody wants to wait for the end.
void LimitTrials(v1::SearchJobSpec* spec) {
  const int32_t trials = spec->budget().max_trials();
  if (trials > kMostTrials && trials <= 1'000'000) {
    spec->mutable_budget()->set_max_trials(1 + trials % kMostTrials);
  }
}

template <typename Request, typename Response>
Driver Unary(void (Controller::*method)(const Request&, Done<Response>)) {
  return [method](Run* run, const Message& message) {
    Request request = static_cast<const Request&>(message);
    if constexpr (requires { request.mutable_spec()->mutable_budget(); }) {
      LimitTrials(request.mutable_spec());
    }
    run->Answered(run->Call(method, request));
  };
}

// As the reactors of search/service do it.
void Watch(Run* run, const Message& message) {
  const auto& request = static_cast<const v1::WatchSearchJobRequest&>(message);
  const absl::StatusOr<int64_t> job = ParseJobName(request.name());
  if (!job.ok()) return;
  const int64_t subscription = run->controller()->Subscribe(*job, [] {});
  int64_t after = request.after_event_sequence();
  for (bool more = true; more;) {
    more = false;
    run->controller()->GetUpdate(
        request.name(), after, [&](const absl::StatusOr<Controller::JobUpdate>& update) {
          if (!update.ok()) return run->Answered<v1::SearchJobUpdate>(update.status());
          run->Answered<v1::SearchJobUpdate>(update->update);
          FORALL_CHECK(!update->more || update->update.search_job().event_sequence() > after)
              << "a watcher is sent the same again";
          after = update->update.search_job().event_sequence();
          more = update->more;
        });
  }
  run->controller()->Unsubscribe(subscription);
}

void Report(Run* run, const Message& message) {
  const auto& request = static_cast<const v1::GetReportRequest&>(message);
  run->controller()->GetSnapshot(
      request.name(), [&](absl::StatusOr<Controller::JobSnapshot> snapshot) {
        if (!snapshot.ok()) return run->Answered<v1::ReportChunk>(snapshot.status());
        v1::ReportChunk chunk;
        chunk.set_content(
            RenderReport(ReportInputOf(*std::move(snapshot), absl::UnixEpoch(), "0")));
        run->Answered<v1::ReportChunk>(chunk);
      });
}

void GetArtifact(Run* run, const Message& message) {
  const auto& request = static_cast<const v1::GetArtifactRequest&>(message);
  const absl::StatusOr<int64_t> size = SharedFiles().artifacts->Size(request.sha256());
  v1::Artifact artifact;
  artifact.set_sha256(request.sha256());
  run->Answered(size.ok() ? absl::StatusOr<v1::Artifact>(artifact) : size.status());
}

absl::StatusOr<v1::Artifact> UploadTo(Run* run, const Message& stream) {
  const Reflection& reflection = *stream.GetReflection();
  const FieldDescriptor* const field = stream.GetDescriptor()->field(0);
  const auto message = [&](int i) -> const v1::UploadArtifactRequest& {
    return static_cast<const v1::UploadArtifactRequest&>(
        reflection.GetRepeatedMessage(stream, field, i));
  };
  const int messages = reflection.FieldSize(stream, field);
  if (messages == 0) return absl::InvalidArgumentError("the upload was empty");
  v1::Artifact artifact;
  artifact.set_sha256(message(0).sha256());
  const ArtifactStore& artifacts = *SharedFiles().artifacts;
  auto writer = artifacts.NewWriter(message(0).sha256(), message(0).size_bytes());
  if (!writer.ok()) return writer.status();
  absl::Status stored;
  for (int i = 0; i < messages && stored.ok(); ++i) {
    stored = (*writer)->Append(message(i).content());
  }
  if (stored.ok()) stored = (*writer)->Commit();
  // Bytes that are not those announced: no loss of ours.
  if (absl::IsDataLoss(stored)) return absl::AbortedError(stored.message());
  if (!stored.ok()) return stored;
  FORALL_CHECK(artifacts.Size(message(0).sha256()).value() == message(0).size_bytes());
  run->uploaded()->insert(message(0).sha256());
  run->controller()->RecordArtifact(
      message(0).sha256(), message(0).size_bytes(),
      [](const absl::StatusOr<int64_t>& done) { FORALL_CHECK(done.ok()) << done.status(); });
  return artifact;
}

void Download(Run* run, const Message& message) {
  const auto& request = static_cast<const v1::DownloadArtifactRequest&>(message);
  const auto reader = SharedFiles().artifacts->NewReader(request.sha256(), request.offset());
  if (!reader.ok()) return run->Answered<v1::DownloadArtifactResponse>(reader.status());
  for (int64_t left = (*reader)->size_bytes() - request.offset(); left >= 0;) {
    const absl::StatusOr<std::string> content = (*reader)->Read(size_t{1} << 20);
    FORALL_CHECK(content.ok()) << content.status();
    if (content->empty()) {
      FORALL_CHECK(left == 0) << left << " bytes were not sent";
      break;
    }
    left -= static_cast<int64_t>(content->size());
  }
  run->Answered<v1::DownloadArtifactResponse>(v1::DownloadArtifactResponse());
}

// By the names of the fields of Call.
const std::map<std::string, Driver>& Drivers() {
  static const auto& drivers = *new std::map<std::string, Driver>{
      {"ArtifactService_GetArtifact", GetArtifact},
      {"ArtifactService_UploadArtifact",
       [](Run* run, const Message& stream) { run->Answered(UploadTo(run, stream)); }},
      {"ArtifactService_DownloadArtifact", Download},
      {"FleetService_RegisterWorker", Unary(&Controller::RegisterWorker)},
      {"FleetService_LeaseTasks",
       [](Run* run, const Message& message) {
         run->Lease(static_cast<const v1::LeaseTasksRequest&>(message));
       }},
      {"FleetService_Heartbeat", Unary(&Controller::Heartbeat)},
      {"FleetService_CompleteTasks", Unary(&Controller::CompleteTasks)},
      {"FleetService_ReleaseTask", Unary(&Controller::ReleaseTask)},
      {"FleetService_ListWorkers", Unary(&Controller::ListWorkers)},
      {"FleetService_InspectWorker", Unary(&Controller::InspectWorker)},
      {"FleetService_DrainWorker", Unary(&Controller::DrainWorker)},
      {"FleetService_GetServerStatus", Unary(&Controller::GetServerStatus)},
      {"FleetService_RetractMeasurements", Unary(&Controller::RetractMeasurements)},
      {"SearchService_SubmitSearchJob", Unary(&Controller::SubmitSearchJob)},
      {"SearchService_EstimateSearchJob", Unary(&Controller::EstimateSearchJob)},
      {"SearchService_GetSearchJob", Unary(&Controller::GetSearchJob)},
      {"SearchService_ListSearchJobs", Unary(&Controller::ListSearchJobs)},
      {"SearchService_CancelSearchJob", Unary(&Controller::CancelSearchJob)},
      {"SearchService_DeleteSearchJob", Unary(&Controller::DeleteSearchJob)},
      {"SearchService_PauseSearchJob", Unary(&Controller::PauseSearchJob)},
      {"SearchService_ResumeSearchJob", Unary(&Controller::ResumeSearchJob)},
      {"SearchService_WatchSearchJob", Watch},
      {"SearchService_ListTrials", Unary(&Controller::ListTrials)},
      {"SearchService_GetTrial", Unary(&Controller::GetTrial)},
      {"SearchService_QueryParetoFrontier", Unary(&Controller::QueryParetoFrontier)},
      {"SearchService_GetPredictionLedger", Unary(&Controller::GetPredictionLedger)},
      {"SearchService_ExportSubnet", Unary(&Controller::ExportSubnet)},
      {"SearchService_GetReport", Report},
      {"SearchService_GetSupernet", Unary(&Controller::GetSupernet)},
      {"SearchService_ListSupernets", Unary(&Controller::ListSupernets)},
      {"SearchService_CreateSupernet", Unary(&Controller::CreateSupernet)},
      {"SearchService_DeleteSupernet", Unary(&Controller::DeleteSupernet)},
      {"SearchService_GetSearchSpace", Unary(&Controller::GetSearchSpace)},
      {"SearchService_MeasureNetworks", Unary(&Controller::MeasureNetworks)},
  };
  return drivers;
}

// Writes a sequence by hand.
class Writer {
 public:
  Writer() : sequence_(EmptyCallSequence().New()) {}

  // A request of the method; its type must be the method's.
  Writer& Add(const std::string& method, const Message& request) {
    Message* const message = Field(method);
    FORALL_CHECK(message->GetDescriptor() == request.GetDescriptor()) << method;
    message->CopyFrom(request);
    return *this;
  }
  Writer& Upload(const std::string& content) {
    Message* const stream = Field("ArtifactService_UploadArtifact");
    auto& first = static_cast<v1::UploadArtifactRequest&>(
        *stream->GetReflection()->AddMessage(stream, stream->GetDescriptor()->field(0)));
    first.set_sha256(Sha256Hex(content));
    first.set_size_bytes(static_cast<int64_t>(content.size()));
    first.set_content(content.substr(0, 1));
    static_cast<v1::UploadArtifactRequest&>(
        *stream->GetReflection()->AddMessage(stream, stream->GetDescriptor()->field(0)))
        .set_content(content.substr(1));
    return *this;
  }
  Writer& Work(const std::string& worker, int tasks, const v1::TaskResult* overlay = nullptr) {
    Message* const work = Field("work");
    const Descriptor& type = *work->GetDescriptor();
    work->GetReflection()->SetString(work, type.field(0), worker);
    work->GetReflection()->SetInt32(work, type.field(1), tasks);
    if (overlay != nullptr) {
      work->GetReflection()->MutableMessage(work, type.field(2))->CopyFrom(*overlay);
    }
    return *this;
  }
  Writer& Advance(int64_t ms) {
    Message* const call = NewCall();
    call->GetReflection()->SetInt64(call, call->GetDescriptor()->FindFieldByName("advance_ms"), ms);
    return *this;
  }
  Writer& Restart() {
    Message* const call = NewCall();
    call->GetReflection()->SetBool(call, call->GetDescriptor()->FindFieldByName("restart"), true);
    return *this;
  }
  std::unique_ptr<Message> Done() { return std::move(sequence_); }

 private:
  Message* NewCall() {
    return sequence_->GetReflection()->AddMessage(sequence_.get(),
                                                  sequence_->GetDescriptor()->field(0));
  }
  Message* Field(const std::string& name) {
    Message* const call = NewCall();
    const FieldDescriptor* const field = call->GetDescriptor()->FindFieldByName(name);
    FORALL_CHECK(field != nullptr) << name;
    return call->GetReflection()->MutableMessage(call, field);
  }

  std::unique_ptr<Message> sequence_;
};

template <typename Request>
Request Named(const std::string& name) {
  Request request;
  if constexpr (requires { request.set_parent(name); }) {
    request.set_parent(name);
  } else {
    request.set_name(name);
  }
  return request;
}

v1::SubmitSearchJobRequest Submission(v1::SearchJobSpec spec, const std::string& id = "") {
  v1::SubmitSearchJobRequest request;
  *request.mutable_spec() = std::move(spec);
  request.set_request_id(id);
  return request;
}

// Asks for everything there is to be read.
void AddReads(Writer* writer) {
  writer->Add("SearchService_GetSearchJob", Named<v1::GetSearchJobRequest>("$job"))
      .Add("SearchService_ListSearchJobs", v1::ListSearchJobsRequest())
      .Add("SearchService_ListTrials", Named<v1::ListTrialsRequest>("$job"))
      .Add("SearchService_GetTrial", Named<v1::GetTrialRequest>("$trial"))
      .Add("SearchService_QueryParetoFrontier", Named<v1::QueryParetoFrontierRequest>("$job"))
      .Add("SearchService_GetPredictionLedger", Named<v1::GetPredictionLedgerRequest>("$job"))
      .Add("SearchService_ExportSubnet", Named<v1::ExportSubnetRequest>("$job"))
      .Add("SearchService_ExportSubnet", Named<v1::ExportSubnetRequest>("$key"))
      .Add("SearchService_WatchSearchJob", Named<v1::WatchSearchJobRequest>("$job"))
      .Add("SearchService_GetReport", Named<v1::GetReportRequest>("$job"))
      .Add("FleetService_ListWorkers", v1::ListWorkersRequest())
      .Add("FleetService_InspectWorker", Named<v1::InspectWorkerRequest>("workers/w"))
      .Add("FleetService_GetServerStatus", v1::GetServerStatusRequest());
}

std::unique_ptr<Message> WholeLife() {
  Writer writer;
  writer.Add("FleetService_RegisterWorker", ControllerHarness::Registration("w"))
      .Add("SearchService_SubmitSearchJob", Submission(ControllerHarness::Spec(4), "once"))
      .Work("w", 100);
  AddReads(&writer);
  return writer.Done();
}

std::unique_ptr<Message> LeasesByHand() {
  v1::LeaseTasksRequest lease;
  lease.set_worker("workers/w");
  lease.set_max_tasks(3);
  v1::HeartbeatRequest heartbeat;
  heartbeat.set_worker("workers/w");
  heartbeat.add_leases()->set_task("$task");
  heartbeat.mutable_leases(0)->set_token("$token");
  (*heartbeat.mutable_readings())["temperature_celsius"] = "51";
  v1::CompleteTasksRequest complete;
  complete.set_worker("workers/w");
  complete.add_results()->set_task("$task");
  complete.mutable_results(0)->set_lease_token("$token");
  complete.mutable_results(0)->mutable_failure()->set_reason(v1::TaskFailure::TRANSIENT);
  v1::ReleaseTaskRequest release;
  release.set_worker("workers/w");
  release.set_task("$task");
  release.set_lease_token("$token");
  v1::LeaseTasksRequest poll = lease;
  poll.mutable_wait()->set_seconds(30);
  Writer writer;
  return writer.Add("SearchService_SubmitSearchJob", Submission(ControllerHarness::Spec(6)))
      .Add("FleetService_RegisterWorker", ControllerHarness::Registration("w"))
      .Add("FleetService_LeaseTasks", lease)
      .Add("FleetService_Heartbeat", heartbeat)
      .Add("FleetService_CompleteTasks", complete)
      .Add("FleetService_LeaseTasks", lease)
      .Add("FleetService_ReleaseTask", release)
      .Add("FleetService_LeaseTasks", poll)
      .Advance(16'000)
      .Restart()
      .Add("FleetService_RegisterWorker", ControllerHarness::Registration("w"))
      .Add("FleetService_Heartbeat", heartbeat)
      .Work("w", 20)
      .Add("FleetService_DrainWorker", Named<v1::DrainWorkerRequest>("workers/w"))
      .Add("FleetService_LeaseTasks", lease)
      .Done();
}

// Two devices, accuracies in parts and tiers, values beside the latency, estimates, retraction.
std::unique_ptr<Message> TwoDevices() {
  v1::SearchJobSpec spec = ControllerHarness::Spec(5);
  spec.mutable_sampler()->set_algorithm("guided");
  spec.mutable_objectives(1)->mutable_condition()->set_device("devices/pc");
  v1::Constraint* const limit = spec.add_constraints();
  limit->set_metric("latency_p90_ms");
  limit->mutable_condition()->set_device("devices/pi");
  limit->set_at_most(40);
  spec.mutable_fidelity()->add_tiers(640);
  spec.mutable_fidelity()->add_tiers(1280);
  spec.mutable_fidelity()->set_screening_images(640);
  spec.mutable_fidelity()->set_part_images(640);
  spec.mutable_fidelity()->set_final_images(2000);
  v1::RegisterWorkerRequest pi = ControllerHarness::Registration("v", "pi", "f2");
  (*pi.mutable_device()->mutable_properties())["measures"] = "latency_p90_ms,peak_memory_mib";
  v1::EstimateSearchJobRequest estimate;
  *estimate.mutable_spec() = spec;
  v1::RetractMeasurementsRequest retract;
  retract.set_worker("workers/v");
  retract.set_reason("its fan was broken");
  Writer writer;
  writer.Add("FleetService_RegisterWorker", ControllerHarness::Registration("w"))
      .Add("FleetService_RegisterWorker", pi)
      .Add("SearchService_EstimateSearchJob", estimate)
      .Add("SearchService_SubmitSearchJob", Submission(spec))
      .Work("w", 30)
      .Work("v", 30)
      .Add("SearchService_PauseSearchJob", Named<v1::PauseSearchJobRequest>("$job"))
      .Add("SearchService_ResumeSearchJob", Named<v1::ResumeSearchJobRequest>("$job"))
      .Work("w", 30)
      .Add("FleetService_RetractMeasurements", retract)
      .Work("v", 20)
      .Work("w", 20)
      .Work("v", 20);
  AddReads(&writer);
  return writer.Done();
}

// What needs no worker.
std::unique_ptr<Message> Predictions() {
  v1::SearchJobSpec spec = ControllerHarness::Spec(8);
  spec.clear_objectives();
  spec.add_objectives()->set_metric("params");
  spec.mutable_objectives(0)->set_goal(v1::Objective::MAXIMIZE);
  spec.add_objectives()->set_metric("predicted_latency_ms");
  spec.mutable_objectives(1)->mutable_condition()->set_device("devices/pc");
  spec.add_latency_tables(SharedFiles().table);
  v1::QueryParetoFrontierRequest overall;
  overall.set_supernet("supernets/fashion_mnist");
  overall.add_objectives()->set_metric("macs");
  Writer writer;
  writer.Add("SearchService_SubmitSearchJob", Submission(spec))
      .Add("SearchService_QueryParetoFrontier", overall)
      .Add("SearchService_CancelSearchJob", Named<v1::CancelSearchJobRequest>("$job"));
  AddReads(&writer);
  return writer.Done();
}

// A job that is deleted while another one goes on, and its work done again.
std::unique_ptr<Message> Deletion() {
  Writer writer;
  writer.Add("SearchService_SubmitSearchJob", Submission(ControllerHarness::Spec(3)))
      .Add("SearchService_CancelSearchJob", Named<v1::CancelSearchJobRequest>("$job"))
      .Add("SearchService_DeleteSearchJob", Named<v1::DeleteSearchJobRequest>("$job"))
      .Add("SearchService_SubmitSearchJob", Submission(ControllerHarness::Spec(3)))
      .Add("SearchService_ListSearchJobs", v1::ListSearchJobsRequest())
      .Add("SearchService_CancelSearchJob", Named<v1::CancelSearchJobRequest>("searchJobs/2"));
  return writer.Done();
}

std::unique_ptr<Message> FilesAndNetworks() {
  const Files& files = SharedFiles();
  v1::GetArtifactRequest get;
  get.set_sha256(files.table);
  v1::DownloadArtifactRequest download;
  download.set_sha256(files.table);
  download.set_offset(3);
  v1::CreateSupernetRequest create;
  create.set_supernet_id("other");
  create.set_sha256(files.other);
  v1::SearchJobSpec spec = ControllerHarness::Spec(3);
  spec.set_supernet("supernets/other");
  v1::MeasureNetworksRequest measure;
  measure.set_device("devices/pc");
  measure.set_spec(files.family->Spec());
  for (int part = 0; part < 3; ++part) {
    v1::NetworkSubject* const subject = measure.add_subjects();
    for (const int32_t choice : files.family->search_space().Largest().choices) {
      subject->add_choices(choice);
    }
    subject->set_part(part);
  }
  Writer writer;
  return writer.Upload("some file")
      .Add("ArtifactService_GetArtifact", get)
      .Add("ArtifactService_DownloadArtifact", download)
      .Add("SearchService_CreateSupernet", create)
      .Add("SearchService_DeleteSupernet", Named<v1::DeleteSupernetRequest>("supernets/other"))
      .Add("SearchService_CreateSupernet", create)
      .Add("SearchService_GetSupernet", Named<v1::GetSupernetRequest>("supernets/other"))
      .Add("SearchService_ListSupernets", v1::ListSupernetsRequest())
      .Add("SearchService_GetSearchSpace", Named<v1::GetSearchSpaceRequest>("searchSpaces/tiny"))
      .Add("FleetService_RegisterWorker", ControllerHarness::Registration("w"))
      .Add("SearchService_SubmitSearchJob", Submission(spec))
      .Add("SearchService_MeasureNetworks", measure)
      .Work("w", 60)
      .Add("SearchService_MeasureNetworks", measure)
      .Add("SearchService_GetReport", Named<v1::GetReportRequest>("$job"))
      .Done();
}

}  // namespace

const Message& EmptyCallSequence() { return *Types().sequence; }

std::vector<std::unique_ptr<Message>> SeedSequences() {
  std::vector<std::unique_ptr<Message>> seeds;
  seeds.push_back(WholeLife());
  seeds.push_back(LeasesByHand());
  seeds.push_back(TwoDevices());
  seeds.push_back(Predictions());
  seeds.push_back(FilesAndNetworks());
  seeds.push_back(Deletion());
  return seeds;
}

std::vector<std::string> SequenceWords() {
  const Files& files = SharedFiles();
  std::vector<std::string> words = {
      "$job",
      "$trial",
      "$task",
      "$token",
      "$artifact",
      "$key",
      "$page",
      "searchJobs/1",
      "searchJobs/2",
      "searchJobs/1/trials/1",
      "tasks/1",
      "tasks/3",
      "1-1",
      "1-2",
      "2-1",
      "workers/w",
      "workers/v",
      "w",
      "v",
      "devices/pc",
      "devices/pi",
      "pc",
      "x86-64",
      "f1",
      "p1",
      "supernets/fashion_mnist",
      "supernets/other",

      "searchSpaces/tiny",
      "fashion_mnist",
      "tiny_images",
      "tiny",
      "other",
      "validation",
      "test",
      "train",
      "fp32",
      "fp16",
      "guided",
      "nsga2",
      "evolution",
      "random",
      "screening",
      "standard",
      "final",
      "measures",
      "latency_p90_ms,energy_mj,peak_memory_mib,latency_p99_ms,throughput_ips",
      "throttled",
      "once",
      "a1-00000000",
      std::string(64, 'a'),
      files.weights,
      files.other,
      files.table,
      files.family->Spec(),
      std::string(1, '\0'),
      std::string("a\0b", 3),
      "../x",
      "\xf0\x9f\x98\x80",
      "<script>",
      "'; DROP TABLE jobs; --",
      std::string(1025, 'y')};
  for (const MetricInfo& metric : Metrics()) words.push_back(metric.id);
  return words;
}

std::vector<std::string> UndrivenMethods() {
  std::vector<std::string> missing;
  for (const MethodDescriptor* method : Methods()) {
    if (Drivers().count(FieldName(*method)) == 0) missing.push_back(method->full_name());
  }
  return missing;
}

SequenceResult RunSequence(const Message& sequence, bool reopen, int most_calls) {
  Run run;
  const Reflection& reflection = *sequence.GetReflection();
  const FieldDescriptor* const calls = sequence.GetDescriptor()->field(0);
  const int size = std::min(most_calls, reflection.FieldSize(sequence, calls));
  for (int i = 0; i < size; ++i) run.Step(reflection.GetRepeatedMessage(sequence, calls, i));
  run.CheckInvariants(reopen);
  return run.result();
}

}  // namespace forall::testing
