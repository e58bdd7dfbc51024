// SPDX-License-Identifier: Apache-2.0
// Rows that no forall has written, in a store that is well otherwise: `check` reports, and a
// controller that is started on it says what is wrong, or goes on and answers whatever it is asked.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "base/testing/temp_dir.h"
#include "nlohmann/json.hpp"
#include "proto/forall/v1/fleet_service.pb.h"
#include "proto/forall/v1/search_service.pb.h"
#include "search/controller/testing/controller_harness.h"
#include "search/store/sqlite_result_store.h"
#include "search/store/store_check.h"
#include "search/store/testing/pack_bytes.h"
#include "search/testing/message_mutator.h"
#include "supernet/testing/tiny_supernet.h"

// Freed megabytes are not kept.
extern "C" const char* __asan_default_options() {
  return "malloc_context_size=3:quarantine_size_mb=16";
}

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t capacity);

namespace {

using ::forall::Controller;
using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::MessageMutator;
using ::google::protobuf::Descriptor;
using ::google::protobuf::DescriptorPool;
using ::google::protobuf::DynamicMessageFactory;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::FileDescriptor;
using ::google::protobuf::FileDescriptorProto;
using ::google::protobuf::Message;
using ::google::protobuf::Reflection;

// One input: what becomes of which cells. Indexes wrap round. Spec and task are of a job and a
// task, whatever table and column say; event is a member of an event's payload; evidence unpacks to
// one of several sizes, and may say it were another.
constexpr char kSchema[] = R"pb(
  name: "damage.proto"
  package: "forall.testing"
  syntax: "proto3"
  dependency: "proto/forall/v1/fleet_service.proto"
  dependency: "proto/forall/v1/resources.proto"
  message_type {
    name: "Damage"
    field {
      name: "edits"
      number: 1
      type: TYPE_MESSAGE
      label: LABEL_REPEATED
      type_name: ".forall.testing.Edit"
    }
  }
  message_type {
    name: "Edit"
    oneof_decl { name: "value" }
    field { name: "table" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }
    field { name: "row" number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL }
    field { name: "column" number: 3 type: TYPE_INT32 label: LABEL_OPTIONAL }
    field { name: "integer" number: 4 type: TYPE_INT64 label: LABEL_OPTIONAL oneof_index: 0 }
    field { name: "real" number: 5 type: TYPE_DOUBLE label: LABEL_OPTIONAL oneof_index: 0 }
    field { name: "text" number: 6 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
    field { name: "blob" number: 7 type: TYPE_BYTES label: LABEL_OPTIONAL oneof_index: 0 }
    field {
      name: "spec"
      number: 8
      type: TYPE_MESSAGE
      label: LABEL_OPTIONAL
      type_name: ".forall.v1.SearchJobSpec"
      oneof_index: 0
    }
    field {
      name: "task"
      number: 9
      type: TYPE_MESSAGE
      label: LABEL_OPTIONAL
      type_name: ".forall.v1.Task"
      oneof_index: 0
    }
    field {
      name: "event"
      number: 10
      type: TYPE_MESSAGE
      label: LABEL_OPTIONAL
      type_name: ".forall.testing.Member"
      oneof_index: 0
    }
    field {
      name: "evidence"
      number: 11
      type: TYPE_MESSAGE
      label: LABEL_OPTIONAL
      type_name: ".forall.testing.Evidence"
      oneof_index: 0
    }
    field { name: "remove" number: 12 type: TYPE_BOOL label: LABEL_OPTIONAL oneof_index: 0 }
  }
  message_type {
    name: "Member"
    oneof_decl { name: "value" }
    field { name: "name" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }
    field { name: "integer" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL oneof_index: 0 }
    field { name: "real" number: 3 type: TYPE_DOUBLE label: LABEL_OPTIONAL oneof_index: 0 }
    field { name: "text" number: 4 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
    field { name: "json" number: 5 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
    field { name: "remove" number: 6 type: TYPE_BOOL label: LABEL_OPTIONAL oneof_index: 0 }
  }
  message_type {
    name: "Evidence"
    field { name: "column" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }
    field { name: "claimed" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL }
    field { name: "size" number: 3 type: TYPE_INT32 label: LABEL_OPTIONAL }
  }
)pb";

constexpr int kMostEdits = 8;
constexpr size_t kMostMessage = 4096;

// Members of events, and texts that damage them.
constexpr const char* kMembers[] = {
    "trial",          "trial_id", "task",      "target",     "state",      "stopped_by",
    "last",           "reused",   "choices",   "split",      "artifact",   "measurements",
    "fidelity",       "device",   "worker",    "reason",     "message",    "warnings",
    "accuracy_known", "values",   "latencies", "expected",   "deviations", "subnets",
    "hypervolume",    "frontier", "profile",   "fingerprint"};

struct DamageTypes {
  DamageTypes() : pool(DescriptorPool::generated_pool()), factory(&pool) {
    factory.SetDelegateToGeneratedFactory(true);
    // The generated pool knows its files by being asked.
    FORALL_CHECK(forall::v1::Task::descriptor() != nullptr &&
                 forall::v1::SearchJobSpec::descriptor() != nullptr);
    FileDescriptorProto file;
    FORALL_CHECK(google::protobuf::TextFormat::ParseFromString(kSchema, &file));
    const FileDescriptor* const built = pool.BuildFile(file);
    FORALL_CHECK(built != nullptr);
    damage = factory.GetPrototype(built->FindMessageTypeByName("Damage"));
  }
  DescriptorPool pool;
  DynamicMessageFactory factory;
  const Message* damage = nullptr;
};

DamageTypes& Types() {
  static auto& types = *new DamageTypes();
  return types;
}

// SQLite without the store's rules.
class RawDb {
 public:
  explicit RawDb(const std::string& path) {
    FORALL_CHECK(sqlite3_open(path.c_str(), &db_) == SQLITE_OK);
  }
  ~RawDb() { sqlite3_close(db_); }

  // Errors are ignored: what SQLite itself refuses cannot be in a store.
  void Run(const std::string& sql) { sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr); }
  std::vector<std::string> Texts(const std::string& sql) {
    std::vector<std::string> texts;
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK) {
      while (sqlite3_step(statement) == SQLITE_ROW) {
        const auto* const bytes = static_cast<const char*>(sqlite3_column_blob(statement, 0));
        texts.emplace_back(bytes == nullptr ? "" : bytes, sqlite3_column_bytes(statement, 0));
      }
    }
    sqlite3_finalize(statement);
    return texts;
  }
  // `bind` binds ?1.
  template <typename Bind>
  void Set(const std::string& sql, Bind bind) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK) {
      bind(statement);
      sqlite3_step(statement);
    }
    sqlite3_finalize(statement);
  }

 private:
  sqlite3* db_ = nullptr;
};

struct Table {
  std::string name;
  std::vector<std::string> columns;
  std::string key;  // its columns, "a, b"
  int64_t rows = 0;
};

// A store of every kind of row, and its artifacts.
struct Base {
  Base() {
    {
      // A small family: every start describes all networks of the log.
      ControllerHarness harness({.path = path}, forall::testing::TinyFamily());
      harness.Register("w");
      harness.RunToEnd(harness.Submit(ControllerHarness::Spec(3)).value().name());
      // One that is under way, with parts of accuracies, and another that waits.
      forall::v1::SearchJobSpec parts = ControllerHarness::Spec(4);
      parts.mutable_sampler()->set_algorithm("guided");
      parts.mutable_fidelity()->set_screening_images(1280);
      parts.mutable_fidelity()->set_part_images(640);
      FORALL_CHECK(harness.Submit(parts).ok());
      for (int i = 0; i < 40 && (i < 6 || harness.sqlite()->LoadParts().value().empty()); ++i) {
        harness.Step("w");
      }
      FORALL_CHECK(harness.Submit(ControllerHarness::Spec(2)).ok());
      std::filesystem::copy(harness.artifacts_path(), folder / "artifacts",
                            std::filesystem::copy_options::recursive);
    }
    // A start enters all events in event_runs.
    FORALL_CHECK(forall::SqliteResultStore::Create({.path = path}).ok());
    RawDb db(path);
    db.Run("PRAGMA wal_checkpoint(TRUNCATE)");
    for (const std::string& name : db.Texts(
             "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")) {
      Table table{name, db.Texts(absl::StrCat("SELECT name FROM pragma_table_info('", name, "')")),
                  absl::StrJoin(db.Texts(absl::StrCat("SELECT name FROM pragma_table_info('", name,
                                                      "') WHERE pk > 0 ORDER BY pk")),
                                ", "),
                  std::stoll(db.Texts(absl::StrCat("SELECT '' || count(*) FROM ", name))[0])};
      if (table.rows > 0) tables.push_back(std::move(table));
    }
    triggers = db.Texts("SELECT sql FROM sqlite_schema WHERE type = 'trigger'");
    for (const char* name :
         {"accuracy_parts", "evidence", "latencies", "job_events", "event_runs", "exports"}) {
      FORALL_CHECK(std::any_of(tables.begin(), tables.end(),
                               [&](const Table& table) { return table.name == name; }))
          << "the base has no " << name;
    }
    image = forall::ReadFile(path).value();
  }
  const Table& Named(const std::string& name) const {
    return *std::find_if(tables.begin(), tables.end(),
                         [&](const Table& table) { return table.name == name; });
  }

  forall::testing::TempDir folder;
  const std::string path = folder / "store.db";
  std::vector<Table> tables;
  std::vector<std::string> triggers;
  std::string image;
};

const Base& TheBase() {
  static const auto& base = *new Base();
  return base;
}

size_t Wrap(int32_t index, size_t size) { return static_cast<uint32_t>(index) % size; }

std::string Where(const Table& table, int32_t row) {
  return absl::StrCat(" WHERE (", table.key, ") = (SELECT ", table.key, " FROM ", table.name,
                      " ORDER BY ", table.key, " LIMIT 1 OFFSET ",
                      Wrap(row, static_cast<size_t>(table.rows)), ")");
}

void SetBlob(RawDb* db, const Table& table, const std::string& column, int32_t row,
             const std::string& bytes, bool text) {
  db->Set(absl::StrCat("UPDATE ", table.name, " SET ", column, " = ?1", Where(table, row)),
          [&](sqlite3_stmt* statement) {
            if (text) {
              sqlite3_bind_text(statement, 1, bytes.data(), static_cast<int>(bytes.size()),
                                SQLITE_STATIC);
            } else {
              sqlite3_bind_blob(statement, 1, bytes.data(), static_cast<int>(bytes.size()),
                                SQLITE_STATIC);
            }
          });
}

void EditEvent(RawDb* db, int32_t row, const Message& member) {
  const Table& table = TheBase().Named("job_events");
  const Reflection& reflection = *member.GetReflection();
  const Descriptor& type = *member.GetDescriptor();
  const FieldDescriptor* const value =
      reflection.GetOneofFieldDescriptor(member, type.oneof_decl(0));
  const std::vector<std::string> old =
      db->Texts(absl::StrCat("SELECT payload FROM job_events", Where(table, row)));
  if (old.empty() || value == nullptr) return;
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(old[0], nullptr, false);
  if (!json.is_object()) return;
  const std::string name =
      kMembers[Wrap(reflection.GetInt32(member, type.field(0)), std::size(kMembers))];
  if (value->name() == "integer") {
    json[name] = reflection.GetInt64(member, value);
  } else if (value->name() == "real") {
    json[name] = reflection.GetDouble(member, value);
  } else if (value->name() == "text") {
    json[name] = reflection.GetString(member, value);
  } else if (value->name() == "remove") {
    json.erase(name);
  } else {
    nlohmann::ordered_json other =
        nlohmann::ordered_json::parse(reflection.GetString(member, value), nullptr, false);
    if (!other.is_discarded()) json[name] = std::move(other);
  }
  SetBlob(db, table, "payload", row, json.dump(), true);
}

void EditEvidence(RawDb* db, int32_t row, const Message& evidence) {
  const Reflection& reflection = *evidence.GetReflection();
  const Descriptor& type = *evidence.GetDescriptor();
  static constexpr const char* kColumns[] = {"samples", "reference_samples", "top1_bitmap",
                                             "environment"};
  const size_t column = Wrap(reflection.GetInt32(evidence, type.field(0)), std::size(kColumns));
  const auto claimed = static_cast<uint64_t>(reflection.GetInt64(evidence, type.field(1)));
  // Packed once: megabytes take long.
  static const auto& packed = *new std::vector<std::string>([] {
    std::vector<std::string> all;
    for (const size_t size : {size_t{0}, size_t{10}, size_t{1000}, size_t{100'000},
                              size_t{8'000'000}, size_t{70'000'000}}) {
      all.push_back(forall::testing::PackBytes(std::string(size, 'e')));
    }
    return all;
  }());
  std::string bytes = packed[Wrap(reflection.GetInt32(evidence, type.field(2)), packed.size())];
  if (claimed != 0) {
    bytes.resize(std::max<size_t>(bytes.size(), 8));
    for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>((claimed >> (8 * i)) & 0xff);
  }
  SetBlob(db, TheBase().Named("evidence"), kColumns[column], row, bytes, false);
}

void Apply(RawDb* db, const Message& edit) {
  const Reflection& reflection = *edit.GetReflection();
  const Descriptor& type = *edit.GetDescriptor();
  const FieldDescriptor* const value = reflection.GetOneofFieldDescriptor(edit, type.oneof_decl(0));
  if (value == nullptr) return;
  const Table& table =
      TheBase().tables[Wrap(reflection.GetInt32(edit, type.field(0)), TheBase().tables.size())];
  const int32_t row = reflection.GetInt32(edit, type.field(1));
  const std::string& column =
      table.columns[Wrap(reflection.GetInt32(edit, type.field(2)), table.columns.size())];
  const std::string update =
      absl::StrCat("UPDATE ", table.name, " SET ", column, " = ?1", Where(table, row));
  const auto message = [&]() -> const Message& { return reflection.GetMessage(edit, value); };
  if (value->name() == "integer") {
    db->Set(update, [&](sqlite3_stmt* statement) {
      sqlite3_bind_int64(statement, 1, reflection.GetInt64(edit, value));
    });
  } else if (value->name() == "real") {
    db->Set(update, [&](sqlite3_stmt* statement) {
      sqlite3_bind_double(statement, 1, reflection.GetDouble(edit, value));
    });
  } else if (value->name() == "text") {
    SetBlob(db, table, column, row, reflection.GetString(edit, value), true);
  } else if (value->name() == "blob") {
    SetBlob(db, table, column, row, reflection.GetString(edit, value), false);
  } else if (value->name() == "spec") {
    SetBlob(db, TheBase().Named("jobs"), "spec", row, message().SerializeAsString(), false);
  } else if (value->name() == "task") {
    SetBlob(db, TheBase().Named("tasks"), "payload", row, message().SerializeAsString(), false);
  } else if (value->name() == "event") {
    EditEvent(db, row, message());
  } else if (value->name() == "evidence") {
    EditEvidence(db, row, message());
  } else {
    db->Run(absl::StrCat("DELETE FROM ", table.name, Where(table, row)));
  }
}

void CheckError(const absl::Status& status) {
  FORALL_CHECK(!status.message().empty() && status.message().size() <= kMostMessage)
      << status.message().size() << " bytes: " << status.message().substr(0, kMostMessage);
}

// Whatever is asked of what was loaded has an answer.
void Use(Controller* controller, forall::ArtifactStore* artifacts) {
  forall::v1::ListSearchJobsRequest list;
  list.set_page_size(10);
  const auto jobs = CallAndWait(controller, &Controller::ListSearchJobs, list);
  FORALL_CHECK(jobs.ok()) << jobs.status();
  for (const forall::v1::SearchJob& job : jobs->search_jobs()) {
    forall::v1::ListTrialsRequest trials;
    trials.set_parent(job.name());
    CallAndWait(controller, &Controller::ListTrials, trials).status().IgnoreError();
    forall::v1::QueryParetoFrontierRequest frontier;
    frontier.set_parent(job.name());
    CallAndWait(controller, &Controller::QueryParetoFrontier, frontier).status().IgnoreError();
    forall::v1::GetPredictionLedgerRequest ledger;
    ledger.set_name(job.name());
    CallAndWait(controller, &Controller::GetPredictionLedger, ledger).status().IgnoreError();
    controller->GetSnapshot(job.name(), [](const absl::StatusOr<Controller::JobSnapshot>&) {});
  }
  controller->CollectMetrics();
  CallAndWait(controller, &Controller::RegisterWorker, ControllerHarness::Registration("w"))
      .status()
      .IgnoreError();
  for (int i = 0; i < 4; ++i) {
    forall::v1::LeaseTasksRequest lease;
    lease.set_worker("w");
    lease.set_max_tasks(1);
    absl::StatusOr<forall::v1::LeaseTasksResponse> leased;
    controller->LeaseTasks(lease, [&](const auto& answer) { leased = answer; });
    if (!leased.ok() || leased->tasks().empty()) break;
    forall::v1::CompleteTasksRequest complete;
    complete.set_worker("w");
    *complete.add_results() = forall::testing::EvaluateTask(leased->tasks(0), *artifacts);
    CallAndWait(controller, &Controller::CompleteTasks, complete).status().IgnoreError();
    controller->Tick();
  }
}

// Whether a controller could be started on it.
bool Run(const Message& damage) {
  const Base& base = TheBase();
  static const std::string& path = *new std::string(base.folder / "damaged.db");
  static auto& artifacts =
      *forall::ArtifactStore::Create({.folder = base.folder / "artifacts"}).value().release();
  for (const char* suffix : {"", "-wal", "-shm"}) std::remove((path + suffix).c_str());
  std::ofstream(path, std::ios::binary) << base.image;
  {
    RawDb db(path);
    db.Run(
        "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; "
        "PRAGMA synchronous = OFF; DROP TRIGGER job_events_keep_rows; "
        "DROP TRIGGER job_events_keep_content; BEGIN");
    const Reflection& reflection = *damage.GetReflection();
    const FieldDescriptor* const edits = damage.GetDescriptor()->field(0);
    const int count = std::min(kMostEdits, reflection.FieldSize(damage, edits));
    for (int i = 0; i < count; ++i) Apply(&db, reflection.GetRepeatedMessage(damage, edits, i));
    db.Run("COMMIT");
    for (const std::string& trigger : base.triggers) db.Run(trigger);
  }
  const auto report =
      forall::CheckStore({.db = path, .artifacts = base.folder / "artifacts", .deep = true});
  if (!report.ok()) CheckError(report.status());
  auto store = forall::SqliteResultStore::Create({.path = path});
  if (!store.ok()) {
    CheckError(store.status());
    return false;
  }
  forall::FakeClock clock(absl::FromUnixSeconds(1'700'100'000));
  auto controller = Controller::Create(
      {.store = store->get(), .artifacts = &artifacts, .clock = &clock, .background = false});
  if (!controller.ok()) {
    CheckError(controller.status());
    return false;
  }
  Use(controller->get(), &artifacts);
  return true;
}

std::unique_ptr<Message> NewDamage() { return std::unique_ptr<Message>(Types().damage->New()); }

MessageMutator NewMutator(unsigned seed) {
  static const auto& words = *new std::vector<std::string>{"supernets/fashion_mnist",
                                                           "fashion_mnist",
                                                           "accuracy_top1",
                                                           "latency_ms",
                                                           "macs",
                                                           "devices/pc",
                                                           "searchJobs/1",
                                                           "searchJobs/1/trials/1",
                                                           "validation",
                                                           "test",
                                                           "final",
                                                           "screening",
                                                           "fp32",
                                                           "w",
                                                           "proposed",
                                                           "measured",
                                                           "decided",
                                                           "state",
                                                           "known",
                                                           "bound",
                                                           "retracted",
                                                           "failed",
                                                           "part",
                                                           "exported",
                                                           "submitted",
                                                           "finalizing",
                                                           "{}",
                                                           "[]",
                                                           "[1,2,3]",
                                                           "[[[0,0],[1,1]]]",
                                                           "null",
                                                           "1e999",
                                                           "-1",
                                                           "99999999999999999999",
                                                           "true",
                                                           "\"a\"",
                                                           "[null]",
                                                           "{\"a\":{\"a\":[]}}",
                                                           std::string(5000, '['),
                                                           "0,1,2",
                                                           "0,,1",
                                                           "-1,-1",
                                                           "prediction",
                                                           std::string(64, 'a')};
  return MessageMutator(seed, {.words = words, .mutate_bytes = LLVMFuzzerMutate});
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  forall::SetLogLevel(static_cast<forall::LogLevel>(4));  // Trouble is what this is about.
  FORALL_CHECK(Run(*NewDamage())) << "the undamaged store is not well";
  const auto report = forall::CheckStore(
      {.db = TheBase().path, .artifacts = TheBase().folder / "artifacts", .deep = true});
  FORALL_CHECK(report.ok() && report->findings.empty())
      << (report.ok() ? report->findings[0].what : report.status().ToString());
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t capacity,
                                          unsigned seed) {
  MessageMutator mutator = NewMutator(seed);
  const std::unique_ptr<Message> damage = NewDamage();
  return forall::testing::MutateSerialized(&mutator, *Types().damage, damage.get(), data, size,
                                           capacity);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data1, size_t size1,
                                            const uint8_t* data2, size_t size2, uint8_t* out,
                                            size_t capacity, unsigned seed) {
  const std::unique_ptr<Message> into = NewDamage();
  const std::unique_ptr<Message> from = NewDamage();
  if (!into->ParseFromArray(data1, static_cast<int>(size1)) ||
      !from->ParseFromArray(data2, static_cast<int>(size2))) {
    return 0;
  }
  NewMutator(seed).CrossOver(*from, into.get());
  const std::string bytes = into->SerializeAsString();
  if (bytes.size() > capacity) return 0;
  std::copy(bytes.begin(), bytes.end(), out);
  return bytes.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::unique_ptr<Message> damage = NewDamage();
  if (damage->ParseFromArray(data, static_cast<int>(size))) Run(*damage);
  return 0;
}
