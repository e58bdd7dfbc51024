// SPDX-License-Identifier: Apache-2.0
#include "search/service/access/token_file.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/identifier.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "search/store/file_lock.h"

namespace forall {
namespace {

constexpr char kHeader[] = "# forall tokens 1: name role worker created sha256";
constexpr char kSuffix[] = ".tokens";
constexpr char kAnyWorker[] = "-";
constexpr size_t kSecretBytes = 32;
constexpr uint64_t kMaxFileBytes = 16 << 20;

absl::StatusOr<TokenRecord> ParseLine(absl::string_view line) {
  const std::vector<std::string> words = absl::StrSplit(line, ' ');
  if (words.size() != 5) return absl::InvalidArgumentError("want five words");
  TokenRecord record;
  record.name = words[0];
  FORALL_ASSIGN_OR_RETURN(record.role, ParseRole(words[1]));
  if (words[2] != kAnyWorker) {
    record.worker = words[2];
    FORALL_RETURN_IF_ERROR(CheckWorkerPattern(record.worker));
  }
  record.sha256 = words[4];
  std::string error;
  if (!IsIdentifier(record.name) || !IsSha256Hex(record.sha256) ||
      !absl::ParseTime(absl::RFC3339_sec, words[3], &record.created, &error)) {
    return absl::InvalidArgumentError("want name, role, worker, time and SHA-256");
  }
  return record;
}

std::string LineOf(const TokenRecord& record) {
  return absl::StrCat(record.name, " ", RoleName(record.role), " ",
                      record.worker.empty() ? kAnyWorker : record.worker, " ",
                      absl::FormatTime(absl::RFC3339_sec, record.created, absl::UTCTimeZone()), " ",
                      record.sha256, "\n");
}

// Whose the file is when root writes it: whose it was, or else whose the database is, or the folder
// that it will be in. A controller that cannot read it goes on with the tokens of before.
std::string OwnedLike(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) return path;
  const std::string db(absl::StripSuffix(path, kSuffix));
  if (std::filesystem::exists(db, ignored)) return db;
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// Two commands at once would lose what one of them did.
absl::StatusOr<std::unique_ptr<FileLock>> LockTokens(const std::string& path) {
  absl::StatusOr<std::unique_ptr<FileLock>> lock =
      FileLock::Acquire(path + ".lock", OwnedLike(path));
  if (absl::IsFailedPrecondition(lock.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is being changed by another command; try again"));
  }
  return lock;
}

absl::Status WriteTokens(const std::string& path, const std::vector<TokenRecord>& tokens) {
  std::string text = absl::StrCat(kHeader, "\n");
  for (const TokenRecord& record : tokens) absl::StrAppend(&text, LineOf(record));
  // Nobody else may read it at any moment.
  return WriteFileAtomically(path, text, 0600, OwnedLike(path));
}

}  // namespace

std::string TokenPathOf(const std::string& db) { return absl::StrCat(db, kSuffix); }

absl::StatusOr<std::vector<TokenRecord>> ReadTokens(const std::string& path) {
  FORALL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  if (lines[0] != kHeader) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": no file of tokens, or of another version of forall-controller"));
  }
  std::vector<TokenRecord> tokens;
  for (size_t i = 1; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    absl::StatusOr<TokenRecord> record = ParseLine(lines[i]);
    if (!record.ok()) return WithContext(record.status(), absl::StrCat(path, ":", i + 1));
    tokens.push_back(*std::move(record));
  }
  return tokens;
}

absl::StatusOr<std::string> AddToken(const std::string& path, const std::string& name, Role role,
                                     const std::string& worker, absl::Time now) {
  if (!IsIdentifier(name)) {
    return absl::InvalidArgumentError(absl::StrCat("--name: ", kIdentifierRule));
  }
  if (!worker.empty()) {
    if (role != Role::kWork) {
      return absl::InvalidArgumentError("--worker: goes with --role work only");
    }
    FORALL_RETURN_IF_ERROR(WithContext(CheckWorkerPattern(worker), "--worker"));
  }
  FORALL_ASSIGN_OR_RETURN(const auto lock, LockTokens(path));
  absl::StatusOr<std::vector<TokenRecord>> tokens = ReadTokens(path);
  if (absl::IsNotFound(tokens.status())) tokens.emplace();
  FORALL_RETURN_IF_ERROR(tokens.status());
  for (const TokenRecord& record : *tokens) {
    if (record.name != name) continue;
    return absl::AlreadyExistsError(absl::StrCat(
        "--name: ", name, " has a token already; revoke it first, or take another name"));
  }
  std::string token =
      absl::StrCat(kTokenPrefix, absl::WebSafeBase64Escape(SecretBytes(kSecretBytes)));
  tokens->push_back({name, role, worker, now, Sha256Hex(token)});
  FORALL_RETURN_IF_ERROR(WriteTokens(path, *tokens));
  return token;
}

absl::Status RevokeToken(const std::string& path, const std::string& name) {
  FORALL_ASSIGN_OR_RETURN(const auto lock, LockTokens(path));
  FORALL_ASSIGN_OR_RETURN(std::vector<TokenRecord> tokens, ReadTokens(path));
  const size_t erased =
      std::erase_if(tokens, [&](const TokenRecord& record) { return record.name == name; });
  if (erased == 0) {
    return absl::NotFoundError(
        absl::StrCat("--name: there is no token ", name, "; token list shows those there are"));
  }
  return WriteTokens(path, tokens);
}

absl::Status CheckWorkerPattern(absl::string_view pattern) {
  absl::ConsumeSuffix(&pattern, "*");
  if (IsIdentifier(pattern)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("want a worker's id, or the beginning of ids and a *; ids: ", kIdentifierRule));
}

bool MatchesWorker(absl::string_view pattern, absl::string_view worker_id) {
  return absl::ConsumeSuffix(&pattern, "*") ? absl::StartsWith(worker_id, pattern)
                                            : worker_id == pattern;
}

absl::StatusOr<std::unique_ptr<TokenBook>> TokenBook::Create(Options options) {
  std::unique_ptr<TokenBook> book(new TokenBook(std::move(options)));
  if (book->options_.path.empty()) return book;
  MutexLock lock(&book->mu_);
  const absl::Status loaded = book->Load();
  if (!loaded.ok() && !absl::IsNotFound(loaded)) return loaded;
  return book;
}

absl::Status TokenBook::Load() {
  // Before the content: a change in between is then seen the next time. What could not be read is
  // tried again.
  const std::optional<FileStamp> stamp = StampOf(options_.path);
  there_ = there_ || stamp.has_value();
  absl::StatusOr<std::vector<TokenRecord>> tokens = ReadTokens(options_.path);
  FORALL_RETURN_IF_ERROR(tokens.status());
  stamp_ = stamp;
  tokens_ = std::make_shared<const std::vector<TokenRecord>>(*std::move(tokens));
  return absl::OkStatus();
}

TokenBook::Tokens TokenBook::Current() {
  if (options_.path.empty()) return nullptr;
  MutexLock lock(&mu_);
  const int64_t now = options_.clock->SteadyNanos();
  if (now < next_check_ns_) return tokens_;
  next_check_ns_ = now + absl::ToInt64Nanoseconds(options_.recheck);
  const std::optional<FileStamp> stamp = StampOf(options_.path);
  if (stamp == stamp_) return tokens_;
  const absl::Status loaded = Load();
  // Once for each trouble, not twice a second.
  if (!loaded.ok() && loaded == trouble_) return tokens_;
  trouble_ = loaded;
  if (loaded.ok()) {
    FORALL_LOG(INFO) << "tokens read again tokens=" << tokens_->size() << " file=" << options_.path;
  } else {
    FORALL_LOG(ERROR) << "the tokens of before go on counting: " << loaded.message();
  }
  return tokens_;
}

bool TokenBook::exists() {
  if (Current() != nullptr) return true;
  MutexLock lock(&mu_);
  return there_;
}

std::optional<TokenRecord> TokenBook::Find(absl::string_view token) {
  const Tokens tokens = Current();
  if (tokens == nullptr) return std::nullopt;
  const std::string sha256 = Sha256Hex(token);
  const TokenRecord* found = nullptr;
  for (const TokenRecord& record : *tokens) {
    if (EqualsInConstantTime(record.sha256, sha256)) found = &record;
  }
  if (found == nullptr) return std::nullopt;
  return *found;
}

}  // namespace forall
