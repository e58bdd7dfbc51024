// SPDX-License-Identifier: Apache-2.0
#include "latency/testing/adb_stand_in.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "base/child_process.h"
#include "base/file.h"

namespace forall::testing {
namespace {

constexpr absl::string_view kServerVersion = "0029";  // 41, which all clients since 2018 want.
constexpr uint32_t kMostBytes = 1 << 28;
constexpr size_t kChunk = 64 << 10;
constexpr char kStdout = 1;
constexpr char kStderr = 2;
constexpr char kExit = 3;

bool ReadFully(int fd, const std::atomic<bool>& stopping, void* data, size_t size) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    struct pollfd wait = {fd, POLLIN, 0};
    if (poll(&wait, 1, 50) == 0) {
      if (stopping) return false;
      continue;
    }
    const ssize_t got = read(fd, at, size);
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

void Write(int fd, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (wrote <= 0) return;
    text.remove_prefix(static_cast<size_t>(wrote));
  }
}

std::string Little(uint32_t value) {
  std::string bytes;
  for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}

uint32_t FromLittle(const unsigned char* bytes) {
  return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<uint32_t>(bytes[3]) << 24;
}

std::string WithLength(absl::string_view text) {
  return absl::StrCat(absl::StrFormat("%04x", text.size()), text);
}

void WritePacket(int fd, char id, absl::string_view data) {
  do {
    const absl::string_view piece = data.substr(0, kChunk);
    Write(fd, absl::StrCat(std::string(1, id), Little(static_cast<uint32_t>(piece.size())), piece));
    data.remove_prefix(piece.size());
  } while (!data.empty());
}

}  // namespace

AdbStandIn::AdbStandIn(Options options) : options_(std::move(options)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
      listen(listener_, 16) == 0 &&
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    port_ = ntohs(address.sin_port);
  }
  server_ = Thread("adb", [this, fd = listener_] { Serve(fd); });
}

AdbStandIn::~AdbStandIn() {
  stopping_ = true;
  server_.Join();
  close(listener_);
}

void AdbStandIn::SayInstead(const std::string& words) {
  MutexLock lock(&mu_);
  instead_ = words;
}

void AdbStandIn::Serve(int listener) {
  while (!stopping_) {
    struct pollfd wait = {listener, POLLIN, 0};
    if (poll(&wait, 1, 50) <= 0) continue;
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    connections_.emplace_back("adb-client", [this, fd] {
      Talk(fd);
      shutdown(fd, SHUT_RDWR);
      close(fd);
    });
  }
  for (Thread& connection : connections_) connection.Join();
}

void AdbStandIn::Talk(int fd) {
  while (!stopping_) {
    char length[5] = {};
    if (!ReadFully(fd, stopping_, length, 4)) return;
    std::string service(std::strtoul(length, nullptr, 16), '\0');
    if (!ReadFully(fd, stopping_, service.data(), service.size())) return;
    if (service == "host:version") {
      Write(fd, absl::StrCat("OKAY", WithLength(kServerVersion)));
      return;
    }
    std::string words;
    {
      MutexLock lock(&mu_);
      words = instead_;
    }
    if (words.empty() && absl::StartsWith(service, "host") &&
        !absl::StrContains(service, options_.serial)) {
      words = absl::StrCat("device '", service.substr(service.rfind(':') + 1), "' not found");
    }
    if (!words.empty()) {
      Write(fd, absl::StrCat("FAIL", WithLength(words)));
      return;
    }
    if (absl::EndsWith(service, ":features")) {
      Write(fd, absl::StrCat("OKAY", WithLength(options_.shell_v2 ? "shell_v2,cmd" : "cmd")));
      return;
    }
    if (absl::StartsWith(service, "host:tport:")) {
      Write(fd, absl::StrCat("OKAY", Little(1), Little(0)));
    } else if (absl::StartsWith(service, "host:transport")) {
      Write(fd, "OKAY");
    } else {
      Service(fd, service);
      return;
    }
  }
}

void AdbStandIn::Service(int fd, const std::string& service) {
  const size_t colon = service.find(':');
  const std::string name = service.substr(0, colon);
  if (name == "sync") {
    Write(fd, "OKAY");
    Sync(fd);
  } else if (absl::StartsWith(name, "shell")) {
    Write(fd, "OKAY");
    Shell(fd, service.substr(colon + 1), absl::StrContains(name, "v2"));
  } else {
    Write(fd, absl::StrCat("FAIL", WithLength("unknown service " + service)));
  }
}

void AdbStandIn::Shell(int fd, const std::string& command, bool v2) {
  ++commands_;
  bool drop = false;
  for (int left = drops_; left > 0 && !drop;) {
    drop = drops_.compare_exchange_weak(left, left - 1);
  }
  if (drop) {
    if (v2) WritePacket(fd, kStdout, "half of i");
    return;
  }
  ProgramOptions options;
  options.argv = {"sh", "-c", command};
  if (!options_.path.empty()) options.environment = {"PATH=" + options_.path};
  options.cancelled = [this] { return stopping_.load(); };
  if (!v2) options.argv = {"sh", "-c", absl::StrCat("{ ", command, "\n} 2>&1")};
  const absl::StatusOr<ProgramOutput> output = RunProgram(options);
  if (!output.ok()) return;
  if (!v2) {
    Write(fd, absl::StrReplaceAll(output->standard_output, {{"\n", "\r\n"}}));
    return;
  }
  WritePacket(fd, kStdout, output->standard_output);
  WritePacket(fd, kStderr, output->standard_error);
  const int code = output->end.signal == 0 ? output->end.exit_code : 128 + output->end.signal;
  WritePacket(fd, kExit, std::string(1, static_cast<char>(code)));
}

void AdbStandIn::Sync(int fd) {
  while (!stopping_) {
    unsigned char header[8];
    if (!ReadFully(fd, stopping_, header, sizeof(header))) return;
    const std::string id(reinterpret_cast<char*>(header), 4);
    const uint32_t length = FromLittle(header + 4);
    if (id == "QUIT" || length > 4096) return;
    std::string path(length, '\0');
    if (!ReadFully(fd, stopping_, path.data(), path.size())) return;
    if (id == "STAT") {
      struct stat info = {};
      if (stat(path.c_str(), &info) != 0) info = {};
      Write(fd,
            absl::StrCat("STAT", Little(info.st_mode), Little(static_cast<uint32_t>(info.st_size)),
                         Little(static_cast<uint32_t>(info.st_mtime))));
    } else if (id == "SEND") {
      Receive(fd, path);
    } else if (id == "RECV") {
      Send(fd, path);
    } else {
      Write(fd, absl::StrCat("FAIL", Little(7), "unknown"));
      return;
    }
  }
}

void AdbStandIn::Receive(int fd, const std::string& path_and_mode) {
  ++pushes_;
  const std::string path = path_and_mode.substr(0, path_and_mode.rfind(','));
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  std::string words = file < 0 ? std::strerror(errno) : "";
  while (true) {
    unsigned char header[8];
    if (!ReadFully(fd, stopping_, header, sizeof(header))) break;
    const uint32_t length = FromLittle(header + 4);
    if (std::memcmp(header, "DATA", 4) != 0 || length > kMostBytes) {
      if (words.empty()) {
        Write(fd, absl::StrCat("OKAY", Little(0)));
      } else {
        Write(fd, absl::StrCat("FAIL", Little(static_cast<uint32_t>(words.size())), words));
      }
      break;
    }
    std::string data(length, '\0');
    if (!ReadFully(fd, stopping_, data.data(), data.size())) break;
    if (file >= 0 && write(file, data.data(), data.size()) != static_cast<ssize_t>(data.size())) {
      words = std::strerror(errno);
    }
  }
  if (file >= 0) close(file);
}

void AdbStandIn::Send(int fd, const std::string& path) {
  const absl::StatusOr<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) {
    const std::string words = "No such file or directory";
    Write(fd, absl::StrCat("FAIL", Little(static_cast<uint32_t>(words.size())), words));
    return;
  }
  for (size_t at = 0; at < bytes->size(); at += kChunk) {
    const std::string piece = bytes->substr(at, kChunk);
    Write(fd, absl::StrCat("DATA", Little(static_cast<uint32_t>(piece.size())), piece));
  }
  Write(fd, absl::StrCat("DONE", Little(0)));
}

}  // namespace forall::testing
