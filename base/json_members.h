// SPDX-License-Identifier: Apache-2.0
// A JSON object that somebody wrote, read member by member with errors that name them.
#ifndef FORALL_BASE_JSON_MEMBERS_H_
#define FORALL_BASE_JSON_MEMBERS_H_

#include <cstdint>
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
// as it should be gives `otherwise`, and Finish the first complaint; so does a value that is no
// object. Thread-compatible.
class JsonMembers {
 public:
  using Json = nlohmann::ordered_json;
  static constexpr uint64_t kMostCount = uint64_t{1} << 62;

  // InvalidArgument for a text that is no JSON object: "WHAT is a JSON object".
  static absl::StatusOr<Json> ParseObject(absl::string_view text, absl::string_view what);

  // `path` comes before a member's name in errors, e.g. "transport.". `json` must outlive this.
  JsonMembers(const Json& json, std::string path);

  std::string Text(const char* name, const std::string& otherwise = "");
  int Number(const char* name, int most, int otherwise, int least = 1);
  bool Flag(const char* name, bool otherwise);
  // An object of texts; numbers and flags in it are taken as JSON writes them.
  std::map<std::string, std::string> Texts(const char* name);
  // nullptr when absent.
  const Json* Find(const char* name);

  // As above of members that must be there; `out` keeps its value where they are not.
  const Json* Require(const char* name);
  void RequireReal(const char* name, double* out);  // finite
  void RequireFlag(const char* name, bool* out);
  // From 0 to kMostCount.
  template <typename Integer>
  void RequireCount(const char* name, Integer* out) {
    const Json* const value = Require(name);
    if (value == nullptr) return;
    if (value->is_number_unsigned() && value->get<uint64_t>() <= kMostCount) {
      *out = value->get<Integer>();
    } else {
      Complain(name, "must be a count");
    }
  }

  void Complain(const std::string& name, const std::string& what);
  // Of now; Finish asks for members that are too many as well.
  const absl::Status& status() const { return status_; }
  absl::Status Finish();

 private:
  const Json& json_;
  const std::string path_;
  std::set<std::string> known_;
  absl::Status status_;
};

}  // namespace forall

#endif  // FORALL_BASE_JSON_MEMBERS_H_
