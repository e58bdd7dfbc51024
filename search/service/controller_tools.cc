// SPDX-License-Identifier: Apache-2.0
#include "search/service/controller_tools.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "proto/forall/v1/resources.pb.h"
#include "search/service/controller_flags.h"
#include "search/store/store_backup.h"
#include "search/store/store_check.h"
#include "search/store/store_compact.h"
#include "search/store/store_garbage.h"

namespace forall {
namespace {

constexpr char kBackupHelp[] =
    R"(forall-controller backup FILE --db DB: copies a store, also while a controller runs on it.

The database is copied as it is at one moment, and checked, before it gets the name FILE, which must
not exist. Every artifact that it refers to then comes into FILE.artifacts: as a hard link where that
is the same file system (free, and no help when that disk dies), as a copy elsewhere. Together they
are a store: forall-controller --db FILE runs on them.

  --db DB              Required. The store to copy.
  --artifacts DIR      Its artifacts. Default: DB.artifacts
  --no-artifacts       Copies the database alone.

Exit code: 0 all is there; 1 it failed, or an artifact is missing (each is named); 2 wrong usage.
)";

constexpr char kCheckHelp[] =
    R"(forall-controller check --db DB: says whether a store is whole. Changes nothing; a controller may
run on it meanwhile.

Looks at the pages of the file, the schema, all references, the rules that the content keeps (one
measurement per task, metric and condition; logs without gaps; what is done has its result; ...), and
whether every artifact is there with its size.

  --db DB              Required. The store, or a backup of one.
  --artifacts DIR      Its artifacts. Default: DB.artifacts
  --deep               Also reads every artifact and compares its hash, and every piece of evidence.

Exit code: 0 nothing was found; 1 something was (a line each), or it cannot be checked; 2 wrong usage.
)";

constexpr char kGarbageHelp[] =
    R"(forall-controller gc --db DB: removes artifacts that nothing refers to and that are older than a
day: uploads that no job used, files that a killed controller left. Models that were exported,
supernets, and what a job's spec names always stay. Stop the controller first.

  --db DB              Required.
  --artifacts DIR      Its artifacts. Default: DB.artifacts
  --dry-run            Only lists them. A controller may run meanwhile.

Exit code: 0 done; 1 it failed; 2 wrong usage.
)";

constexpr char kCompactHelp[] =
    R"(forall-controller compact --db DB: makes a store's file smaller. Stop the controller first.

Rewrites the file without its free pages, which deleted jobs, supernets and samples leave. With
--keep-raw-samples it first drops the raw samples of latencies that were measured longer ago; numbers,
intervals, verdicts, reasons, settings and baselines stay, and so does every frontier, ledger and
report. What is dropped cannot be had again, but from a backup. Accuracies keep which images were
right.

  --db DB              Required.
  --keep-raw-samples AGE
                       90d, 36h: 1h or more. Without it no samples are dropped.
  --dry-run            Only says what would be dropped. A controller may run meanwhile.

The disk of DB must have room for about the file once more, twice while it is rewritten; SQLITE_TMPDIR
names another folder for one of both. What interrupts it loses nothing: repeat the command.

Exit code: 0 done; 1 it failed; 2 wrong usage.
)";

struct Tool {
  std::vector<std::string> values;    // flags that take one
  std::vector<std::string> switches;  // flags that do not
  size_t operands = 0;
  const char* help = "";
};

const std::map<std::string, Tool>& Tools() {
  static const auto* const tools = new std::map<std::string, Tool>{
      {"backup", {{"--db", "--artifacts"}, {"--no-artifacts"}, 1, kBackupHelp}},
      {"gc", {{"--db", "--artifacts"}, {"--dry-run"}, 0, kGarbageHelp}},
      {"check", {{"--db", "--artifacts"}, {"--deep"}, 0, kCheckHelp}},
      {"compact", {{"--db", "--keep-raw-samples"}, {"--dry-run"}, 0, kCompactHelp}},
  };
  return *tools;
}

struct Arguments {
  std::map<std::string, std::string> flags;  // switches are there, without a value
  std::vector<std::string> operands;
  bool help = false;

  std::string Value(const std::string& name) const {
    const auto it = flags.find(name);
    return it == flags.end() ? "" : it->second;
  }
  bool Has(const std::string& name) const { return flags.count(name) > 0; }
};

absl::StatusOr<Arguments> Parse(const Tool& tool, const std::vector<std::string>& words) {
  Arguments parsed;
  const auto lists = [](const std::vector<std::string>& names, const std::string& name) {
    return std::count(names.begin(), names.end(), name) > 0;
  };
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--help" || word == "-h") {
      parsed.help = true;
      return parsed;
    }
    if (!absl::StartsWith(word, "--")) {
      parsed.operands.push_back(word);
      continue;
    }
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    if (lists(tool.switches, name) && equals == std::string::npos) {
      parsed.flags[name];
    } else if (!lists(tool.values, name)) {
      return absl::InvalidArgumentError(absl::StrCat("unknown flag ", word));
    } else if (equals != std::string::npos) {
      parsed.flags[name] = word.substr(equals + 1);
    } else if (i + 1 < words.size()) {
      parsed.flags[name] = words[++i];
    } else {
      return absl::InvalidArgumentError(absl::StrCat(word, ": a value is missing"));
    }
  }
  if (parsed.operands.size() < tool.operands) {
    return absl::InvalidArgumentError("the file to write is missing");
  }
  if (parsed.operands.size() > tool.operands) {
    return absl::InvalidArgumentError(
        absl::StrCat("unexpected argument ", parsed.operands[tool.operands]));
  }
  if (parsed.Value("--db").empty()) {
    return absl::InvalidArgumentError("--db: required, the store's file");
  }
  if (parsed.Has("--keep-raw-samples")) {
    FORALL_RETURN_IF_ERROR(ParseKeepRawSamples(parsed.Value("--keep-raw-samples")).status());
  }
  if (parsed.Value("--artifacts").empty()) {
    parsed.flags["--artifacts"] = parsed.Value("--db") + ".artifacts";
  }
  return parsed;
}

absl::StatusOr<int> BackUp(const Arguments& arguments, std::ostream& out, std::ostream& err) {
  const std::string& file = arguments.operands[0];
  BackupOptions options;
  options.db = arguments.Value("--db");
  options.artifacts = arguments.Value("--artifacts");
  options.file = file;
  options.with_artifacts = !arguments.Has("--no-artifacts");
  FORALL_ASSIGN_OR_RETURN(const BackupSummary summary, BackUpStore(options));
  out << file << ": " << summary.jobs << " jobs, " << summary.measurements << " measurements, "
      << summary.bytes << " bytes\n";
  if (!options.with_artifacts) {
    out << "artifacts: left out, as asked; copy " << options.artifacts
        << " as well: its files never change, so copy them after the database, in any order\n";
    return 0;
  }
  out << file << ".artifacts: " << summary.linked + summary.copied + summary.present
      << " artifacts, " << summary.artifact_bytes << " bytes (" << summary.linked << " hard links, "
      << summary.copied << " copies, " << summary.present << " were there already)\n";
  if (summary.linked > 0) {
    out << "note: hard links share their bytes with " << options.artifacts
        << "; against the loss of the disk, back up to another one, or copy the backup there\n";
  }
  for (const std::string& sha256 : summary.missing) {
    err << "missing: artifact " << sha256 << " is not whole in " << options.artifacts
        << "; look for it in older backups (forall-controller check says more)\n";
  }
  return summary.missing.empty() ? 0 : 1;
}

absl::StatusOr<int> Check(const Arguments& arguments, std::ostream& out, std::ostream& /*err*/) {
  CheckOptions options;
  options.db = arguments.Value("--db");
  options.artifacts = arguments.Value("--artifacts");
  options.deep = arguments.Has("--deep");
  FORALL_ASSIGN_OR_RETURN(const CheckReport report, CheckStore(options));
  for (const Finding& finding : report.findings) {
    out << "finding: " << finding.what << "; what to do: " << finding.advice << "\n";
  }
  out << options.db << ": " << report.findings.size() << " findings; " << report.jobs << " jobs, "
      << report.measurements << " measurements, " << report.artifacts << " artifacts"
      << (options.deep ? " (contents compared)\n" : "\n");
  return report.findings.empty() ? 0 : 1;
}

std::vector<std::string> NamedBySpec(const std::string& bytes) {
  v1::SearchJobSpec spec;
  // One that cannot be read names nothing that a controller could look for.
  if (!spec.ParseFromString(bytes)) return {};
  std::vector<std::string> hashes(spec.latency_tables().begin(), spec.latency_tables().end());
  hashes.push_back(spec.accuracy_predictor());
  return hashes;
}

absl::StatusOr<int> RemoveGarbage(const Arguments& arguments, std::ostream& out,
                                  std::ostream& /*err*/) {
  GarbageOptions options;
  options.db = arguments.Value("--db");
  options.artifacts = arguments.Value("--artifacts");
  options.dry_run = arguments.Has("--dry-run");
  options.named_by_spec = NamedBySpec;
  FORALL_ASSIGN_OR_RETURN(const GarbageReport report, CollectGarbage(options));
  for (const std::string& sha256 : report.removed) {
    out << (options.dry_run ? "would remove " : "removed ") << sha256 << "\n";
  }
  out << options.artifacts << ": " << report.removed.size() << " artifacts, " << report.bytes
      << (options.dry_run ? " bytes would be removed; " : " bytes removed; ") << report.kept
      << " are in use, " << report.young << " are younger than a day\n";
  return 0;
}

absl::Duration Rounded(absl::Duration duration) {
  return absl::Trunc(duration, absl::Milliseconds(1));
}

absl::StatusOr<int> Compact(const Arguments& arguments, std::ostream& out, std::ostream& err) {
  CompactOptions options;
  options.db = arguments.Value("--db");
  options.dry_run = arguments.Has("--dry-run");
  if (arguments.Has("--keep-raw-samples")) {
    FORALL_ASSIGN_OR_RETURN(options.keep_raw_samples,
                            ParseKeepRawSamples(arguments.Value("--keep-raw-samples")));
  }
  // Where there is room for the file there is room for it once more, rather than in /var/tmp.
  const std::string folder = std::filesystem::absolute(options.db).parent_path().string();
  setenv("SQLITE_TMPDIR", folder.c_str(), /*overwrite=*/0);
  FORALL_ASSIGN_OR_RETURN(const CompactReport report, CompactStore(options));
  if (arguments.Has("--keep-raw-samples")) {
    out << options.db << ": raw samples of " << report.dropped << " latencies, "
        << report.sample_bytes
        << (options.dry_run ? " bytes, would be dropped\n" : " bytes, dropped\n");
  }
  if (options.dry_run) {
    out << options.db << ": " << report.bytes_before << " bytes, " << report.free_bytes
        << " of them free already\n";
    return 0;
  }
  out << options.db << ": " << report.bytes_before << " bytes before, " << report.bytes_after
      << " now; longest transaction " << absl::FormatDuration(Rounded(report.longest_slice))
      << ", rewritten in " << absl::FormatDuration(Rounded(report.rewriting)) << "\n";
  if (report.still_read) {
    err << "note: another program reads the store: the file gets smaller once that has ended and "
           "this command is repeated\n";
  }
  return 0;
}

}  // namespace

bool IsControllerTool(const std::vector<std::string>& arguments) {
  return !arguments.empty() && Tools().count(arguments[0]) > 0;
}

int RunControllerTool(const std::vector<std::string>& arguments, std::ostream& out,
                      std::ostream& err) {
  const std::string& command = arguments[0];
  const Tool& tool = Tools().at(command);
  const absl::StatusOr<Arguments> parsed = Parse(tool, arguments);
  if (!parsed.ok()) {
    err << "forall-controller " << command << ": " << parsed.status().message()
        << "; --help explains it\n";
    return 2;
  }
  if (parsed->help) {
    out << tool.help;
    return 0;
  }
  const absl::StatusOr<int> code = command == "backup"    ? BackUp(*parsed, out, err)
                                   : command == "check"   ? Check(*parsed, out, err)
                                   : command == "compact" ? Compact(*parsed, out, err)
                                                          : RemoveGarbage(*parsed, out, err);
  if (code.ok()) return *code;
  err << "forall-controller " << command << ": " << code.status().message() << "\n";
  return 1;
}

}  // namespace forall
