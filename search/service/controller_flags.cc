// SPDX-License-Identifier: Apache-2.0
#include "search/service/controller_flags.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/identifier.h"
#include "base/long_duration.h"
#include "base/status_macros.h"

namespace forall {
namespace {

// NAME=WEIGHT
absl::Status AddTenantWeight(const std::string& value, std::map<std::string, double>* weights) {
  const size_t equals = value.find('=');
  const std::string name = value.substr(0, equals);
  double weight = 0;
  if (equals == std::string::npos || !absl::SimpleAtod(value.substr(equals + 1), &weight) ||
      !(weight >= 0.01 && weight <= 100)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--tenant-weight: want NAME=WEIGHT, the name of a token and 0.01 to 100, e.g. ",
        "nightly=0.5, got ", value));
  }
  if (!IsIdentifier(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--tenant-weight: \"", name, "\" is no token's name: ", kIdentifierRule));
  }
  if (!weights->emplace(name, weight).second) {
    return absl::InvalidArgumentError(absl::StrCat("--tenant-weight: ", name, " is given twice"));
  }
  return absl::OkStatus();
}

absl::Status Apply(const std::string& name, const std::string& value, ControllerFlags* flags) {
  if (name == "--db") {
    flags->db = value;
  } else if (name == "--artifacts") {
    flags->artifacts = value;
  } else if (name == "--listen") {
    flags->listen = value;
  } else if (name == "--port-file") {
    flags->port_file = value;
  } else if (name == "--metrics-listen") {
    flags->metrics_listen = value;
  } else if (name == "--supernet") {
    flags->supernets.push_back(value);
  } else if (name == "--tls-cert") {
    flags->tls_certificate = value;
  } else if (name == "--tls-key") {
    flags->tls_key = value;
  } else if (name == "--tls-client-ca") {
    flags->tls_client_authorities = value;
  } else if (name == "--tenant-weight") {
    return AddTenantWeight(value, &flags->tenant_weights);
  } else if (name == "--heartbeat") {
    if (!absl::ParseDuration(value, &flags->heartbeat) ||
        flags->heartbeat < absl::Milliseconds(10) || flags->heartbeat > absl::Hours(1)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--heartbeat: want a duration from 10ms to 1h, e.g. 5s, got ", value));
    }
  } else if (name == "--keep-raw-samples") {
    FORALL_ASSIGN_OR_RETURN(flags->keep_raw_samples, ParseKeepRawSamples(value));
  } else if (name == "--max-workers") {
    if (!absl::SimpleAtoi(value, &flags->max_workers) || flags->max_workers < 1 ||
        flags->max_workers > 1'000'000) {
      return absl::InvalidArgumentError(
          absl::StrCat("--max-workers: want a number from 1 to 1000000, got ", value));
    }
  } else {
    return absl::InvalidArgumentError(absl::StrCat("unknown flag ", name, "; --help lists them"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<absl::Duration> ParseKeepRawSamples(const std::string& text) {
  const std::optional<absl::Duration> keep = ParseLongDuration(text);
  // A slip must not take what was measured a moment ago.
  if (keep.has_value() && *keep >= absl::Hours(1)) return *keep;
  return absl::InvalidArgumentError(absl::StrCat(
      "--keep-raw-samples: want for how long, 1h or more, e.g. 90d or 36h, got ", text));
}

absl::StatusOr<ControllerFlags> ParseControllerFlags(const std::vector<std::string>& arguments) {
  ControllerFlags flags;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      flags.help = true;
      return flags;
    }
    if (argument == "--version") {
      flags.version = true;
      return flags;
    }
    if (!absl::StartsWith(argument, "--")) {
      return absl::InvalidArgumentError(
          absl::StrCat("unexpected argument ", argument, "; --help lists the flags"));
    }
    const size_t equals = argument.find('=');
    std::string value;
    if (equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    } else {
      return absl::InvalidArgumentError(absl::StrCat(argument, ": a value is missing"));
    }
    if (absl::Status applied = Apply(argument.substr(0, equals), value, &flags); !applied.ok()) {
      return applied;
    }
  }
  if (flags.db.empty()) {
    return absl::InvalidArgumentError(
        "--db: required, the file that holds everything, e.g. --db forall.db (it is made when "
        "missing)");
  }
  if (flags.artifacts.empty()) {
    flags.artifacts = flags.db == ":memory:" ? "forall.artifacts" : flags.db + ".artifacts";
  }
  return flags;
}

std::string ControllerHelp() {
  return R"(forall-controller: runs architecture searches. It proposes subnets, hands tasks to workers,
keeps every measurement in one SQLite file, and answers clients.

  forall-controller --db forall.db --supernet supernets/fashion_mnist

then, in other terminals:

  forall-worker --controller 127.0.0.1:7411        one per machine with hardware
  forall submit --help                              to start a search

Flags
  --db FILE            Required. Jobs, trials, measurements; made when missing. One controller at a
                       time. Never copy the file of a running one: see backup below.
  --artifacts DIR      Supernets and exported models, by hash. Default: FILE.artifacts
  --listen HOST:PORT   Default 127.0.0.1:7411. Port 0 takes a free one, which is printed.
  --port-file FILE     Writes the port there once it serves: for scripts.
  --metrics-listen HOST:PORT
                       Serves metrics for Prometheus at http://HOST:PORT/metrics, on 127.0.0.1
                       only. Port 0 takes a free one, which is printed. Default: none.
  --supernet [ID=]PATH A supernet package (directory or weights file) to offer, as supernets/ID.
                       May be repeated. Default ID: the name of its search space.
  --heartbeat DURATION How often workers report; a lease lives three of these. Default 5s.
  --tenant-weight NAME=WEIGHT
                       A share of the workers other than 1, from 0.01 to 100, for the jobs that the
                       token of that name submits (docs/jobs.md). May be repeated.
  --max-workers N      Registered at once; more are refused, and those not heard of for an hour do
                       not count. Default 20000.
  --keep-raw-samples AGE
                       Drops raw samples of latencies that were measured longer ago, e.g. 90d, a few
                       every second; numbers, intervals and verdicts stay (docs/operations.md).
                       Default: all are kept.
  --tls-cert FILE      Its certificate and those above it up to the authority, PEM, and
  --tls-key FILE       the private key: needed on an address that other machines reach. Files that
                       change are read again.
  --tls-client-ca FILE Lets workers identify themselves by certificates of these authorities, PEM.

  forall-controller token --help     who may do what, on an address that other machines reach, and
                                     on loopback once there is a token (docs/security.md)

SIGTERM and SIGINT stop it in order; kill -9 loses no result that a worker was told is stored.

Commands on a store, also while a controller runs on it (each with --help)
  forall-controller backup FILE --db FILE   copies the store and what it refers to
  forall-controller check --db FILE         says whether it is whole, and what to do if not
  forall-controller gc --db FILE            removes artifacts that nothing refers to; stop it first
  forall-controller compact --db FILE       makes the file smaller; stop it first
)";
}

}  // namespace forall
