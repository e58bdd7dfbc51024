// SPDX-License-Identifier: Apache-2.0
#include "search/service/testing/http_get.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <cmath>
#include <set>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace forall::testing {
namespace {

// The family that a sample belongs to: a histogram's or summary's are named after it.
std::string FamilyOf(const std::string& name, const std::set<std::string>& histograms) {
  for (const char* suffix : {"_bucket", "_sum", "_count"}) {
    if (!absl::EndsWith(name, suffix)) continue;
    const std::string family = name.substr(0, name.size() - std::string(suffix).size());
    if (histograms.count(family) > 0) return family;
  }
  return name;
}

}  // namespace

absl::StatusOr<std::string> HttpGet(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::UnavailableError("socket");
  const auto close_it = absl::MakeCleanup([fd] { close(fd); });
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return absl::UnavailableError(absl::StrCat("nobody listens on port ", port));
  }
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
  for (size_t sent = 0; sent < request.size();) {
    const ssize_t count = send(fd, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return absl::UnavailableError("send");
    sent += static_cast<size_t>(count);
  }
  std::string answer;
  char buffer[65536];
  while (true) {
    const ssize_t count = recv(fd, buffer, sizeof(buffer), 0);
    if (count < 0) return absl::UnavailableError("recv");
    if (count == 0) break;
    answer.append(buffer, static_cast<size_t>(count));
  }
  const size_t body = answer.find("\r\n\r\n");
  const std::string first = answer.substr(0, answer.find("\r\n"));
  if (body == std::string::npos || !absl::StrContains(first, " 200 ")) {
    return absl::UnavailableError(absl::StrCat("port ", port, " answers: ", first));
  }
  return answer.substr(body + 4);
}

absl::StatusOr<std::map<std::string, double>> ParseExposition(const std::string& text) {
  std::map<std::string, double> samples;
  std::set<std::string> families;
  std::set<std::string> histograms;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const auto wrong = [&line](absl::string_view why) {
      return absl::InvalidArgumentError(absl::StrCat(why, ": ", line));
    };
    if (line.empty() || absl::StartsWith(line, "# HELP ")) continue;
    if (absl::StartsWith(line, "# TYPE ")) {
      const std::vector<std::string> words = absl::StrSplit(line, ' ');
      if (words.size() != 4) return wrong("no TYPE line");
      if (!families.insert(words[2]).second) return wrong("a family comes twice");
      if (words[3] == "histogram" || words[3] == "summary") histograms.insert(words[2]);
      continue;
    }
    const size_t space = line.rfind(' ');
    if (space == absl::string_view::npos) return wrong("no sample");
    const std::string sample(line.substr(0, space));
    const std::string name = sample.substr(0, sample.find('{'));
    if (families.count(FamilyOf(name, histograms)) == 0) return wrong("a sample without TYPE");
    double value = 0;
    if (!absl::SimpleAtod(line.substr(space + 1), &value)) return wrong("no number");
    if (!samples.emplace(sample, value).second) return wrong("a sample comes twice");
  }
  return samples;
}

}  // namespace forall::testing
