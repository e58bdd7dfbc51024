// SPDX-License-Identifier: Apache-2.0
// An adb server with one device, which is this machine: the real adb client talks to it. Speaks the
// client's side of the protocol (AOSP packages/modules/adb: OVERVIEW.TXT, SERVICES.TXT, SYNC.TXT,
// shell_protocol.h) as far as shell, push and pull need it.
#ifndef FORALL_LATENCY_TESTING_ADB_STAND_IN_H_
#define FORALL_LATENCY_TESTING_ADB_STAND_IN_H_

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/thread.h"

namespace forall::testing {

// Thread-safe.
class AdbStandIn {
 public:
  struct Options {
    std::string serial = "stand-in";
    // False: a device before Android 7, with one stream through a terminal and no exit codes.
    bool shell_v2 = true;
    // Of commands on the device; "": this process's.
    std::string path = {};
  };
  explicit AdbStandIn(Options options);
  ~AdbStandIn();

  // 0: it could not listen.
  int port() const { return port_; }
  // So many of the next commands lose their connection after they were begun.
  void DropNext(int commands) { drops_ = commands; }
  // What the server says of the device instead of reaching it, e.g. "device offline"; "": nothing.
  void SayInstead(const std::string& words);
  int pushes() const { return pushes_; }
  int commands() const { return commands_; }

 private:
  void Serve(int listener);
  void Talk(int fd);
  void Service(int fd, const std::string& service);
  void Shell(int fd, const std::string& command, bool v2);
  void Sync(int fd);
  void Receive(int fd, const std::string& path_and_mode);
  void Send(int fd, const std::string& path);

  const Options options_;
  int port_ = 0;
  int listener_ = -1;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> drops_ = 0;
  std::atomic<int> pushes_ = 0;
  std::atomic<int> commands_ = 0;
  Mutex mu_;
  std::string instead_ ABSL_GUARDED_BY(mu_);
  std::vector<Thread> connections_;  // The server thread's.
  Thread server_;
};

}  // namespace forall::testing

#endif  // FORALL_LATENCY_TESTING_ADB_STAND_IN_H_
