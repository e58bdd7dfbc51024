// SPDX-License-Identifier: Apache-2.0
#include "latency/child/child_wire.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::json;

constexpr absl::Duration kPollInterval = absl::Milliseconds(20);

absl::Status Gone() { return absl::UnavailableError("the other process is gone"); }

absl::Status Receive(int fd, char* data, size_t size, int64_t deadline_ns,
                     const std::function<bool()>& cancelled) {
  Clock* const clock = Clock::Real();
  size_t have = 0;
  while (have < size) {
    if (cancelled && cancelled()) return absl::CancelledError("measurement cancelled");
    const absl::Duration left = absl::Nanoseconds(deadline_ns - clock->SteadyNanos());
    if (left <= absl::ZeroDuration()) return absl::DeadlineExceededError("no answer in time");
    struct pollfd wait = {fd, POLLIN, 0};
    const absl::Duration step = cancelled ? std::min(left, kPollInterval) : left;
    const int64_t milliseconds = absl::ToInt64Milliseconds(step) + 1;
    if (poll(&wait, 1, static_cast<int>(std::min<int64_t>(milliseconds, 1000))) <= 0) continue;
    const ssize_t got = recv(fd, data + have, size - have, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Gone();
    have += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status SendAll(int fd, const char* data, size_t size, int64_t deadline_ns) {
  while (size > 0) {
    const ssize_t sent = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (Clock::Real()->SteadyNanos() >= deadline_ns) {
        return absl::DeadlineExceededError("the other process does not read");
      }
      struct pollfd wait = {fd, POLLOUT, 0};
      poll(&wait, 1, static_cast<int>(absl::ToInt64Milliseconds(kPollInterval)));
      continue;
    }
    if (sent <= 0) return Gone();
    data += sent;
    size -= static_cast<size_t>(sent);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SendFrame(int fd, absl::string_view payload, absl::Duration timeout) {
  const int64_t deadline = Clock::Real()->SteadyNanos() + absl::ToInt64Nanoseconds(timeout);
  std::array<char, 8> length;
  for (size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<char>(static_cast<uint64_t>(payload.size()) >> (8 * i));
  }
  FORALL_RETURN_IF_ERROR(SendAll(fd, length.data(), length.size(), deadline));
  return SendAll(fd, payload.data(), payload.size(), deadline);
}

absl::StatusOr<std::string> ReceiveFrame(int fd, absl::Duration timeout,
                                         const std::function<bool()>& cancelled,
                                         int64_t max_bytes) {
  // A year is for ever.
  const absl::Duration patience = std::min(timeout, absl::Hours(24 * 365));
  const int64_t deadline = Clock::Real()->SteadyNanos() + absl::ToInt64Nanoseconds(patience);
  std::array<char, 8> length;
  FORALL_RETURN_IF_ERROR(Receive(fd, length.data(), length.size(), deadline, cancelled));
  const uint64_t size = LittleEndianInteger(absl::string_view(length.data(), length.size()));
  if (size > static_cast<uint64_t>(max_bytes)) {
    return absl::DataLossError(
        absl::StrCat("a frame of ", size, " bytes, where ", max_bytes, " is the most"));
  }
  std::string payload(size, '\0');
  FORALL_RETURN_IF_ERROR(Receive(fd, payload.data(), size, deadline, cancelled));
  return payload;
}

std::string ProfileToJson(const Profile& profile) {
  return Json{{"name", profile.name},
              {"target_half_width", profile.target_half_width},
              {"min_runs", profile.min_runs},
              {"max_runs", profile.max_runs},
              {"min_duration_ns", absl::ToInt64Nanoseconds(profile.min_duration)},
              {"max_duration_ns", absl::ToInt64Nanoseconds(profile.max_duration)},
              {"few_runs_duration_ns", absl::ToInt64Nanoseconds(profile.few_runs_duration)},
              {"sessions", profile.sessions},
              {"fresh", profile.fresh},
              {"cold_cache", profile.cold_cache}}
      .dump();
}

absl::StatusOr<Profile> ProfileFromJson(absl::string_view text) {
  try {
    const Json json = Json::parse(text.begin(), text.end());
    Profile profile;
    profile.name = json.at("name").get<std::string>();
    profile.target_half_width = json.at("target_half_width").get<double>();
    profile.min_runs = json.at("min_runs").get<int>();
    profile.max_runs = json.at("max_runs").get<int>();
    profile.min_duration = absl::Nanoseconds(json.at("min_duration_ns").get<int64_t>());
    profile.max_duration = absl::Nanoseconds(json.at("max_duration_ns").get<int64_t>());
    profile.few_runs_duration = absl::Nanoseconds(json.at("few_runs_duration_ns").get<int64_t>());
    profile.sessions = json.at("sessions").get<int>();
    profile.fresh = json.at("fresh").get<bool>();
    profile.cold_cache = json.at("cold_cache").get<bool>();
    return profile;
  } catch (const Json::exception& e) {
    return absl::DataLossError(absl::StrCat("no latency profile: ", e.what()));
  }
}

std::string SamplesToJson(const SessionSamples& samples) {
  return Json{{"candidate_ns", samples.candidate_ns},
              {"reference_ns", samples.reference_ns},
              {"candidate_parts_ns", samples.candidate_parts_ns},
              {"reference_parts_ns", samples.reference_parts_ns},
              {"warmup_runs", samples.warmup_runs},
              {"warmup_stable", samples.warmup_stable},
              {"notes", samples.notes},
              {"process_time_ns", absl::ToInt64Nanoseconds(samples.other_process_time)}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<SessionSamples> SamplesFromJson(absl::string_view text) {
  try {
    const Json json = Json::parse(text.begin(), text.end());
    SessionSamples samples;
    samples.candidate_ns = json.at("candidate_ns").get<std::vector<double>>();
    samples.reference_ns = json.at("reference_ns").get<std::vector<double>>();
    samples.candidate_parts_ns = json.at("candidate_parts_ns").get<std::vector<double>>();
    samples.reference_parts_ns = json.at("reference_parts_ns").get<std::vector<double>>();
    samples.warmup_runs = json.at("warmup_runs").get<int>();
    samples.warmup_stable = json.at("warmup_stable").get<bool>();
    samples.notes = json.at("notes").get<std::map<std::string, std::string>>();
    samples.other_process_time = absl::Nanoseconds(json.at("process_time_ns").get<int64_t>());
    return samples;
  } catch (const Json::exception& e) {
    return absl::DataLossError(absl::StrCat("no samples of a session: ", e.what()));
  }
}

std::string LoneRequestToJson(const LoneRequest& request) {
  return Json{{"load", request.load}, {"duration_ns", absl::ToInt64Nanoseconds(request.duration)}}
      .dump();
}

absl::StatusOr<LoneRequest> LoneRequestFromJson(absl::string_view text) {
  try {
    const Json json = Json::parse(text.begin(), text.end());
    LoneRequest request;
    request.load = json.at("load").get<bool>();
    request.duration = absl::Nanoseconds(json.at("duration_ns").get<int64_t>());
    return request;
  } catch (const Json::exception& e) {
    return absl::DataLossError(absl::StrCat("no request for a lone model: ", e.what()));
  }
}

std::string LoneAnswerToJson(const LoneAnswer& answer) {
  return Json{{"inferences", answer.inferences},
              {"process_time_ns", absl::ToInt64Nanoseconds(answer.process_time)},
              {"peak_bytes", answer.peak_bytes},
              {"no_memory", answer.no_memory}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<LoneAnswer> LoneAnswerFromJson(absl::string_view text) {
  try {
    const Json json = Json::parse(text.begin(), text.end());
    LoneAnswer answer;
    answer.inferences = json.at("inferences").get<int64_t>();
    answer.process_time = absl::Nanoseconds(json.at("process_time_ns").get<int64_t>());
    answer.peak_bytes = json.at("peak_bytes").get<int64_t>();
    answer.no_memory = json.at("no_memory").get<std::string>();
    return answer;
  } catch (const Json::exception& e) {
    return absl::DataLossError(absl::StrCat("no answer of a lone model: ", e.what()));
  }
}

}  // namespace forall
