// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/flaky_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"

namespace forall::testing {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

// The peer sees a reset, as of a connection that a router has dropped.
void CloseHard(int socket) {
  const linger hard{1, 0};
  setsockopt(socket, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  close(socket);
}

void PassAtOnce(int socket) {
  const int yes = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK);
}

}  // namespace

absl::StatusOr<std::unique_ptr<FlakyProxy>> FlakyProxy::Start(const Options& options) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0) return absl::UnavailableError("no socket");
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener, 16) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    close(listener);
    return absl::UnavailableError("no free port");
  }
  return absl::WrapUnique(new FlakyProxy(options, listener, ntohs(address.sin_port)));
}

FlakyProxy::FlakyProxy(const Options& options, int listener, int port)
    : options_(options), listener_(listener), port_(port), random_(options.seed) {
  thread_ = Thread("flaky-proxy", [this] { Loop(); });
}

FlakyProxy::~FlakyProxy() {
  stopping_ = true;
  thread_.Join();
  CutAll();
  close(listener_);
}

std::string FlakyProxy::address() const { return absl::StrCat("127.0.0.1:", port_); }

void FlakyProxy::CutAll() {
  for (const Connection& connection : connections_) {
    CloseHard(connection.client);
    CloseHard(connection.server);
    ++cuts_;
  }
  connections_.clear();
}

void FlakyProxy::ChangeWeather(int64_t now_ns) {
  if (now_ns < change_ns_) return;
  const double trouble_ns =
      random_.Double() * static_cast<double>(absl::ToInt64Nanoseconds(options_.longest_trouble));
  const double calm_ns = -std::log(1 - random_.Double()) *
                         static_cast<double>(absl::ToInt64Nanoseconds(options_.mean_calm));
  double lasts_ns = calm_ns;
  if (weather_ != Weather::kCalm || change_ns_ == 0) {
    weather_ = Weather::kCalm;
  } else {
    switch (troubles_++ % 3) {
      case 0:
        CutAll();
        break;
      case 1:
        weather_ = Weather::kStopped;
        ++stops_;
        lasts_ns = trouble_ns;
        break;
      default:
        CutAll();
        weather_ = Weather::kRefusing;
        lasts_ns = trouble_ns;
    }
  }
  change_ns_ = now_ns + static_cast<int64_t>(lasts_ns);
}

void FlakyProxy::Accept() {
  const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(options_.target_port);
  if (weather_ == Weather::kRefusing || server < 0 ||
      connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    CloseHard(client);
    if (server >= 0) close(server);
    return;
  }
  PassAtOnce(client);
  PassAtOnce(server);
  Connection& connection = connections_.emplace_back();
  connection.client = client;
  connection.server = server;
  connection.ways[0] = {client, server, "", 0, false};
  connection.ways[1] = {server, client, "", 0, false};
}

void FlakyProxy::Move(Connection* connection, int64_t now_ns) {
  for (Way& way : connection->ways) {
    if (way.piece.empty() && !way.ended) {
      char data[4096];
      const ssize_t size = recv(way.from, data, sizeof(data), 0);
      if (size > 0) {
        way.piece.assign(data, static_cast<size_t>(size));
        way.ready_ns =
            now_ns + static_cast<int64_t>(
                         random_.Double() *
                         static_cast<double>(absl::ToInt64Nanoseconds(options_.longest_delay)));
      } else if (size == 0) {
        way.ended = true;
        shutdown(way.to, SHUT_WR);
      } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        connection->broken = true;
      }
    }
    if (!way.piece.empty() && now_ns >= way.ready_ns) {
      const ssize_t sent = send(way.to, way.piece.data(), way.piece.size(), MSG_NOSIGNAL);
      if (sent > 0) {
        way.piece.erase(0, static_cast<size_t>(sent));
      } else if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        connection->broken = true;
      }
    }
  }
  if (connection->ways[0].ended && connection->ways[1].ended) connection->broken = true;
}

void FlakyProxy::Loop() {
  while (!stopping_) {
    std::vector<pollfd> waited = {{listener_, POLLIN, 0}};
    bool delayed = false;
    if (weather_ != Weather::kStopped) {
      for (const Connection& connection : connections_) {
        for (const Way& way : connection.ways) {
          delayed = delayed || !way.piece.empty();
          if (way.piece.empty() && !way.ended) waited.push_back({way.from, POLLIN, 0});
        }
      }
    }
    poll(waited.data(), waited.size(), delayed ? 1 : 10);
    const int64_t now_ns = Clock::Real()->SteadyNanos();
    ChangeWeather(now_ns);
    Accept();
    if (weather_ == Weather::kStopped) continue;
    for (auto it = connections_.begin(); it != connections_.end();) {
      Move(&*it, now_ns);
      if (it->broken) {
        CloseHard(it->client);
        CloseHard(it->server);
        it = connections_.erase(it);
      } else {
        ++it;
      }
    }
  }
}

}  // namespace forall::testing
