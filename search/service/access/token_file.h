// SPDX-License-Identifier: Apache-2.0
// The tokens of a controller: a small text file of which a thief learns none. A token is 32 random
// bytes, so that one SHA-256 of it hides it as well as any slower hash.
#ifndef FORALL_SEARCH_SERVICE_ACCESS_TOKEN_FILE_H_
#define FORALL_SEARCH_SERVICE_ACCESS_TOKEN_FILE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/file_stamp.h"
#include "base/mutex.h"
#include "search/service/access/access_rules.h"

namespace forall {

// What a token is known by, to people and to programs that look for secrets in the wrong place.
inline constexpr char kTokenPrefix[] = "forall_";

// One line of the file.
struct TokenRecord {
  std::string name;  // an identifier (base/identifier.h), unique
  Role role = Role::kSubmit;
  // WORK only: the one worker it may act as, or all whose id begins so when it ends in '*'. "":
  // any.
  std::string worker;
  absl::Time created;
  std::string sha256;  // of the token, hex

  friend bool operator==(const TokenRecord&, const TokenRecord&) = default;
};

// Where the tokens of the controller with that database are.
std::string TokenPathOf(const std::string& db);

// NotFound when there is no file. InvalidArgument names the line that cannot be understood.
absl::StatusOr<std::vector<TokenRecord>> ReadTokens(const std::string& path);

// Adds a token and returns it: nobody can get at it again. The file is made when it is missing,
// readable for its owner alone: whoever has the database, also when root writes it. AlreadyExists:
// the name has one. InvalidArgument: name, worker, or a worker with another role than WORK.
// FailedPrecondition: somebody else changes the file now.
absl::StatusOr<std::string> AddToken(const std::string& path, const std::string& name, Role role,
                                     const std::string& worker, absl::Time now);
// NotFound: there is none of that name.
absl::Status RevokeToken(const std::string& path, const std::string& name);

// OK for a worker's id, or the beginning of ids and a '*'. InvalidArgument otherwise.
absl::Status CheckWorkerPattern(absl::string_view pattern);
bool MatchesWorker(absl::string_view pattern, absl::string_view worker_id);

// The tokens that count now: looks whether the file has changed, at most every `recheck`. A file
// that has become unreadable or has vanished changes nothing but the log, and is tried again.
// Thread-safe.
class TokenBook {
 public:
  struct Options {
    std::string path;  // "": there are no tokens and never will be
    absl::Duration recheck = absl::Milliseconds(500);
    Clock* clock = Clock::Real();  // not owned, must outlive
  };
  // An error of ReadTokens, except that the file may be missing.
  static absl::StatusOr<std::unique_ptr<TokenBook>> Create(Options options);

  // False as long as no file was ever seen: one without tokens, or that cannot be read, is a closed
  // door.
  bool exists();
  // The record of a token, or none. Takes the same time for every token of one length.
  std::optional<TokenRecord> Find(absl::string_view token);

 private:
  using Tokens = std::shared_ptr<const std::vector<TokenRecord>>;
  explicit TokenBook(Options options) : options_(std::move(options)) {}

  absl::Status Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // nullptr while there is no file.
  Tokens Current();

  const Options options_;
  Mutex mu_;
  Tokens tokens_ ABSL_GUARDED_BY(mu_);
  std::optional<FileStamp> stamp_ ABSL_GUARDED_BY(mu_);  // of what was read
  bool there_ ABSL_GUARDED_BY(mu_) = false;              // a file was seen
  absl::Status trouble_ ABSL_GUARDED_BY(mu_);            // of the last time it was read
  int64_t next_check_ns_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_ACCESS_TOKEN_FILE_H_
