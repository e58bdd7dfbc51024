// SPDX-License-Identifier: Apache-2.0
// forall-controller: parses flags, builds the store, the controller and the server, waits for a
// signal.
#include <signal.h>
#include <stdlib.h>

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/library_locks.h"
#include "base/log.h"
#include "base/long_duration.h"
#include "base/status_macros.h"
#include "search/controller/controller.h"
#include "search/service/access/token_command.h"
#include "search/service/access/token_file.h"
#include "search/service/controller_flags.h"
#include "search/service/controller_tools.h"
#include "search/service/metrics_server.h"
#include "search/service/rpc_metrics.h"
#include "search/service/server.h"
#include "search/service/supernet_loader.h"
#include "search/store/artifact_store.h"
#include "search/store/sqlite_result_store.h"

namespace forall {
namespace {

// Blocked before any thread starts, so that every thread inherits it and only sigwait sees them.
sigset_t BlockStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

absl::Status Serve(const ControllerFlags& flags, const sigset_t& signals) {
  const bool in_memory = flags.db == ":memory:";
  SqliteResultStore::Options store_options;
  store_options.path = flags.db;
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<SqliteResultStore> store,
                          SqliteResultStore::Create(store_options));
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<ArtifactStore> artifacts,
                          ArtifactStore::Create({.folder = flags.artifacts}));
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<Controller> controller,
                          Controller::Create({.store = store.get(),
                                              .artifacts = artifacts.get(),
                                              .heartbeat_interval = flags.heartbeat,
                                              .max_workers = flags.max_workers,
                                              .tenant_weights = flags.tenant_weights,
                                              .keep_raw_samples = flags.keep_raw_samples}));
  for (const std::string& supernet : flags.supernets) {
    FORALL_RETURN_IF_ERROR(AddSupernet(supernet, *artifacts, controller.get()));
  }
  RpcMetrics rpc_metrics;
  const bool with_metrics = !flags.metrics_listen.empty();
  FORALL_ASSIGN_OR_RETURN(
      std::unique_ptr<ControllerServer> server,
      ControllerServer::Start({.listen = flags.listen,
                               .tls_certificate = flags.tls_certificate,
                               .tls_key = flags.tls_key,
                               .tls_client_authorities = flags.tls_client_authorities,
                               .tokens = in_memory ? "" : TokenPathOf(flags.db),
                               .audit_log = in_memory ? "" : flags.db + ".audit.jsonl",
                               .rpc_metrics = with_metrics ? &rpc_metrics : nullptr},
                              controller.get(), artifacts.get()));
  if (server->nobody_may_call()) {
    FORALL_LOG(WARNING)
        << "nobody may call yet: make a token with forall-controller token add --db " << flags.db
        << " (docs/security.md)";
  }
  std::unique_ptr<MetricsServer> metrics;
  if (with_metrics) {
    FORALL_ASSIGN_OR_RETURN(
        metrics, MetricsServer::Start(flags.metrics_listen, [&rpc_metrics, raw = controller.get(),
                                                             server = server.get()] {
          std::vector<MetricFamily> all = raw->CollectMetrics();
          all.push_back(rpc_metrics.Collect());
          all.push_back(server->audit().Collect());
          all.push_back(server->CollectCertificates());
          return all;
        }));
    std::cout << "forall-controller serves metrics on port " << metrics->port() << std::endl;
  }
  const std::string host = flags.listen.substr(0, flags.listen.rfind(':'));
  FORALL_LOG(INFO) << "serving listen=" << host << ":" << server->port() << " db=" << flags.db
                   << " artifacts=" << flags.artifacts
                   << " heartbeat=" << absl::FormatDuration(flags.heartbeat) << " keep_raw_samples="
                   << (flags.keep_raw_samples == absl::InfiniteDuration()
                           ? "all"
                           : LongDurationText(flags.keep_raw_samples))
                   << " tls=" << (flags.tls_key.empty() ? "no" : "yes");
  std::cout << "forall-controller listens on " << host << ":" << server->port() << std::endl;
  if (!flags.port_file.empty()) {
    FORALL_RETURN_IF_ERROR(
        WriteFileAtomically(flags.port_file, absl::StrCat(server->port(), "\n")));
  }
  int signal = 0;
  sigwait(&signals, &signal);
  FORALL_LOG(INFO) << "stopping signal=" << signal;
  controller->Stop();
  server->Shutdown();
  metrics.reset();
  store->Stop();
  return absl::OkStatus();
}

int Main(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && arguments[0] == "token") {
    return RunTokenCommand({arguments.begin() + 1, arguments.end()}, Clock::Real()->Now(),
                           std::cout, std::cerr);
  }
  if (IsControllerTool(arguments)) return RunControllerTool(arguments, std::cout, std::cerr);
  const absl::StatusOr<ControllerFlags> flags = ParseControllerFlags(arguments);
  if (!flags.ok()) {
    std::cerr << "forall-controller: " << flags.status().message() << "\n";
    return 2;
  }
  if (flags->help || flags->version) {
    std::cout << (flags->help ? ControllerHelp() : "forall-controller " FORALL_VERSION "\n");
    return 0;
  }
  StopOrderingLibraryLocks();
  // gRPC's own lines say nothing that our messages do not say better.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  const sigset_t signals = BlockStopSignals();
  const absl::Status served = Serve(*flags, signals);
  if (served.ok()) return 0;
  std::cerr << "forall-controller: " << served.message() << "\n";
  return 1;
}

}  // namespace
}  // namespace forall

int main(int argc, char** argv) {
  return forall::Main(std::vector<std::string>(argv + 1, argv + argc));
}
