// SPDX-License-Identifier: Apache-2.0
// A network that cannot be relied on: relays TCP to one address and, at moments that a seed
// decides, delays what passes, cuts all connections, stops passing anything for a while, and cuts
// and refuses new connections, in turn.
#ifndef FORALL_TESTS_FAULTS_FLAKY_PROXY_H_
#define FORALL_TESTS_FAULTS_FLAKY_PROXY_H_

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/random.h"
#include "base/thread.h"

namespace forall::testing {

// Thread-safe.
class FlakyProxy {
 public:
  struct Options {
    // A port of 127.0.0.1, which may come and go.
    int target_port = 0;
    uint64_t seed = 1;
    // Between two troubles.
    absl::Duration mean_calm = absl::Milliseconds(800);
    // How long a stop or a refusal lasts at most.
    absl::Duration longest_trouble = absl::Milliseconds(800);
    // Of a piece of data, at most.
    absl::Duration longest_delay = absl::Milliseconds(4);
  };
  // Unavailable: no port is free.
  static absl::StatusOr<std::unique_ptr<FlakyProxy>> Start(const Options& options);
  ~FlakyProxy();

  // HOST:PORT to connect to.
  std::string address() const;
  // Connections that were cut, and how often nothing passed.
  int64_t cuts() const { return cuts_; }
  int64_t stops() const { return stops_; }

 private:
  // One way of a connection: a piece that waits for its time.
  struct Way {
    int from = -1;
    int to = -1;
    std::string piece;
    int64_t ready_ns = 0;
    bool ended = false;
  };
  struct Connection {
    int client = -1;
    int server = -1;
    Way ways[2];
    bool broken = false;
  };
  enum class Weather { kCalm, kStopped, kRefusing };

  FlakyProxy(const Options& options, int listener, int port);
  void Loop();
  void ChangeWeather(int64_t now_ns);
  void Accept();
  void Move(Connection* connection, int64_t now_ns);
  void CutAll();

  const Options options_;
  const int listener_;
  const int port_;
  Random random_;
  Weather weather_ = Weather::kCalm;
  int64_t change_ns_ = 0;
  int64_t troubles_ = 0;
  std::list<Connection> connections_;
  std::atomic<int64_t> cuts_{0};
  std::atomic<int64_t> stops_{0};
  std::atomic<bool> stopping_{false};
  Thread thread_;
};

}  // namespace forall::testing

#endif  // FORALL_TESTS_FAULTS_FLAKY_PROXY_H_
