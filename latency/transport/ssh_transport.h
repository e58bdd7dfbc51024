// SPDX-License-Identifier: Apache-2.0
// A device reached by the OpenSSH client (ssh_config(5) documents the options). Host keys are
// checked and never learned; nothing is asked at a terminal, so keys must do without a passphrase
// or be held by an agent.
#ifndef FORALL_LATENCY_TRANSPORT_SSH_TRANSPORT_H_
#define FORALL_LATENCY_TRANSPORT_SSH_TRANSPORT_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/child_process.h"
#include "base/mutex.h"
#include "latency/transport/client_folder.h"
#include "latency/transport/shell_transport.h"

namespace forall {

// Thread-safe. One connection, which everything goes through: a master process in the foreground
// (ControlMaster, with ControlPath in a private folder) that belongs to this object and is stopped
// with it, rather than one that ControlPersist leaves behind. Started by the first use, and anew
// once it was lost.
class SshTransport : public ShellTransport {
 public:
  struct Options {
    ShellOptions shell = {};
    // A name, an address or a Host of the user's ssh_config.
    std::string host = {};
    std::string user = {};  // "": as ssh_config says.
    int port = 0;           // 0: as ssh_config says.
    // The only file of known hosts; "": ssh's own.
    std::string known_hosts = {};
    // The only private key; "": ssh's own and the agent's.
    std::string identity = {};
    absl::Duration connect_timeout = absl::Seconds(10);
    std::string program = "ssh";
  };
  // InvalidArgument for options that cannot be meant. Connects to nothing yet.
  static absl::StatusOr<std::unique_ptr<Transport>> Create(const Options& options);
  ~SshTransport() override;

  TransportDescription Describe() const override;

 protected:
  absl::StatusOr<ProgramOutput> RunClient(const Script& script) override;
  absl::Status ClientError(const ProgramOutput& output) override;

 private:
  SshTransport(Options options, std::unique_ptr<ClientFolder> folder);
  std::vector<std::string> Argv(const std::vector<std::string>& more,
                                const std::string& script) const;
  absl::Status Connect();
  // Why the master ended.
  absl::Status MasterError() const;

  const Options options_;
  const std::unique_ptr<ClientFolder> folder_;
  Mutex mu_;
  std::unique_ptr<ChildProcess> master_ ABSL_GUARDED_BY(mu_);
};

}  // namespace forall

#endif  // FORALL_LATENCY_TRANSPORT_SSH_TRANSPORT_H_
