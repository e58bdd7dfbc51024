// SPDX-License-Identifier: Apache-2.0
// A JSON object of a device file, read member by member with errors that name them.
#ifndef FORALL_LATENCY_DEVICE_JSON_MEMBERS_H_
#define FORALL_LATENCY_DEVICE_JSON_MEMBERS_H_

#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace forall {

// What was not asked for before Finish is no member that the object may have. A member that is not
// as it should be gives `otherwise`, and Finish the first complaint. Thread-compatible.
class JsonMembers {
 public:
  using Json = nlohmann::ordered_json;

  // InvalidArgument for a text that is no JSON object.
  static absl::StatusOr<Json> ParseObject(absl::string_view text);

  // `path` comes before a member's name in errors, e.g. "transport.". `json` must outlive this.
  JsonMembers(const Json& json, std::string path) : json_(json), path_(std::move(path)) {}

  std::string Text(const char* name, const std::string& otherwise = "");
  int Number(const char* name, int most, int otherwise, int least = 1);
  bool Flag(const char* name, bool otherwise);
  // An object of texts; numbers and flags in it are taken as JSON writes them.
  std::map<std::string, std::string> Texts(const char* name);
  // nullptr when absent.
  const Json* Find(const char* name);
  void Complain(const std::string& name, const std::string& what);
  absl::Status Finish();

 private:
  const Json& json_;
  const std::string path_;
  std::set<std::string> known_;
  absl::Status status_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_DEVICE_JSON_MEMBERS_H_
