// SPDX-License-Identifier: Apache-2.0
#include "cli/job_file.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "cli/expressions.h"
#include "yaml-cpp/yaml.h"

namespace forall {
namespace {

// A job is a page of text; anything larger is a mistake, and aliases could make it explode.
constexpr size_t kMaxBytes = 1 << 20;
constexpr size_t kMaxListItems = 64;

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row.back();
}

using FieldParser = std::function<absl::Status(const YAML::Node&, const std::string& path)>;
using Fields = std::map<std::string, FieldParser>;

absl::Status Error(const std::string& path, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", message));
}

absl::Status UnknownField(const std::string& path, const std::string& name, const Fields& fields) {
  const auto nearest =
      std::min_element(fields.begin(), fields.end(), [&](const auto& a, const auto& b) {
        return EditDistance(name, a.first) < EditDistance(name, b.first);
      });
  return Error(path, absl::StrCat("unknown field; did you mean \"", nearest->first, "\"?"));
}

absl::Status ParseMap(const YAML::Node& node, const std::string& prefix, const Fields& fields) {
  if (!node.IsMap()) return Error(prefix.empty() ? "job" : prefix, "must be a map of fields");
  std::set<std::string> seen;
  for (const auto& entry : node) {
    const std::string name = entry.first.as<std::string>("");
    const std::string path = prefix.empty() ? name : absl::StrCat(prefix, ".", name);
    if (!seen.insert(name).second) return Error(path, "is there twice");
    const auto field = fields.find(name);
    if (field == fields.end()) return UnknownField(path, name, fields);
    FORALL_RETURN_IF_ERROR(field->second(entry.second, path));
  }
  return absl::OkStatus();
}

template <typename Setter>
FieldParser Text(Setter set) {
  return [set](const YAML::Node& node, const std::string& path) {
    if (!node.IsScalar()) return Error(path, "must be text");
    set(node.Scalar());
    return absl::OkStatus();
  };
}

template <typename Setter>
FieldParser Integer(Setter set) {
  return [set](const YAML::Node& node, const std::string& path) {
    int64_t value = 0;
    if (!node.IsScalar() || !absl::SimpleAtoi(node.Scalar(), &value)) {
      return Error(path, "must be a whole number");
    }
    set(value);
    return absl::OkStatus();
  };
}

// A proto int32 field must not wrap round silently.
template <typename Setter>
FieldParser Integer32(Setter set) {
  return [set](const YAML::Node& node, const std::string& path) {
    int32_t value = 0;
    if (!node.IsScalar() || !absl::SimpleAtoi(node.Scalar(), &value)) {
      return Error(path, "must be a whole number below 2^31");
    }
    set(value);
    return absl::OkStatus();
  };
}

template <typename Setter>
FieldParser Real(Setter set) {
  return [set](const YAML::Node& node, const std::string& path) {
    double value = 0;
    if (!node.IsScalar() || !absl::SimpleAtod(node.Scalar(), &value)) {
      return Error(path, "must be a number");
    }
    set(value);
    return absl::OkStatus();
  };
}

template <typename Setter>
FieldParser Flag(Setter set) {
  return [set](const YAML::Node& node, const std::string& path) {
    bool value = false;
    if (!node.IsScalar() || !YAML::convert<bool>::decode(node, value)) {
      return Error(path, "must be true or false");
    }
    set(value);
    return absl::OkStatus();
  };
}

// A list of expressions, each parsed by `parse` and given to `add`.
template <typename Parse, typename Add>
FieldParser Expressions(Parse parse, Add add) {
  return [parse, add](const YAML::Node& node, const std::string& path) {
    if (!node.IsSequence()) return Error(path, "must be a list");
    if (node.size() > kMaxListItems) {
      return Error(path, absl::StrCat("has ", node.size(), " items, at most ", kMaxListItems,
                                      " are allowed"));
    }
    for (size_t i = 0; i < node.size(); ++i) {
      const std::string item = absl::StrCat(path, "[", i, "]");
      if (!node[i].IsScalar()) return Error(item, "must be text");
      auto parsed = parse(node[i].Scalar());
      if (!parsed.ok()) return WithContext(parsed.status(), item);
      add(*parsed);
    }
    return absl::OkStatus();
  };
}

FieldParser Counts(std::function<void(int32_t)> add) {
  return [add = std::move(add)](const YAML::Node& node, const std::string& path) {
    if (!node.IsSequence()) return Error(path, "must be a list");
    if (node.size() > kMaxListItems) {
      return Error(path, absl::StrCat("has ", node.size(), " items, at most ", kMaxListItems,
                                      " are allowed"));
    }
    const FieldParser item = Integer32(add);
    for (size_t i = 0; i < node.size(); ++i) {
      FORALL_RETURN_IF_ERROR(item(node[i], absl::StrCat(path, "[", i, "]")));
    }
    return absl::OkStatus();
  };
}

Fields SamplerFields(v1::SamplerSpec* sampler) {
  return {
      {"algorithm", Text([=](const std::string& v) { sampler->set_algorithm(v); })},
      {"population_size", Integer32([=](int32_t v) { sampler->set_population_size(v); })},
      {"mutation_probability", Real([=](double v) { sampler->set_mutation_probability(v); })},
  };
}

// E.g. 90s, 30m, 2h.
FieldParser PositiveDuration(std::function<google::protobuf::Duration*()> mutable_field) {
  return [field = std::move(mutable_field)](const YAML::Node& node, const std::string& path) {
    absl::Duration duration;
    if (!node.IsScalar() || !absl::ParseDuration(node.Scalar(), &duration) ||
        duration == absl::InfiniteDuration() || duration <= absl::ZeroDuration()) {
      return Error(path, "must be a positive duration such as 90s, 30m or 2h");
    }
    google::protobuf::Duration* const value = field();
    value->set_seconds(absl::ToInt64Seconds(duration));
    value->set_nanos(static_cast<int32_t>(
        (duration - absl::Seconds(absl::ToInt64Seconds(duration))) / absl::Nanoseconds(1)));
    return absl::OkStatus();
  };
}

Fields BudgetFields(v1::Budget* budget) {
  return {
      {"max_trials", Integer32([=](int32_t v) { budget->set_max_trials(v); })},
      {"plateau_trials", Integer32([=](int32_t v) { budget->set_plateau_trials(v); })},
      {"plateau_improvement", Real([=](double v) { budget->set_plateau_improvement(v); })},
      {"max_duration", PositiveDuration([=] { return budget->mutable_max_duration(); })},
  };
}

// `rules` gives the message to write to: one that nothing is written to stays absent.
FieldParser LatencyRules(std::function<v1::LatencyProfile*()> rules) {
  return [rules = std::move(rules)](const YAML::Node& node, const std::string& path) {
    if (node.IsScalar()) {  // "standard"
      rules()->set_base(node.Scalar());
      return absl::OkStatus();
    }
    const Fields fields = {
        {"base", Text([&](const std::string& v) { rules()->set_base(v); })},
        {"target_half_width", Real([&](double v) { rules()->set_target_half_width(v); })},
        {"min_runs", Integer32([&](int32_t v) { rules()->set_min_runs(v); })},
        {"max_runs", Integer32([&](int32_t v) { rules()->set_max_runs(v); })},
        {"max_duration", PositiveDuration([&] { return rules()->mutable_max_duration(); })},
        {"sessions", Integer32([&](int32_t v) { rules()->set_sessions(v); })},
        {"fresh", Flag([&](bool v) { rules()->set_fresh(v); })},
    };
    return ParseMap(node, path, fields);
  };
}

Fields FidelityFields(v1::Fidelity* fidelity) {
  return {
      {"screening_images", Integer32([=](int32_t v) { fidelity->set_screening_images(v); })},
      {"final_images", Integer32([=](int32_t v) { fidelity->set_final_images(v); })},
      {"calibration_images", Integer32([=](int32_t v) { fidelity->set_calibration_images(v); })},
      {"calibration_seed", Integer([=](int64_t v) { fidelity->set_calibration_seed(v); })},
      {"tiers", Counts([=](int32_t v) { fidelity->add_tiers(v); })},
      {"part_images", Integer32([=](int32_t v) { fidelity->set_part_images(v); })},
      {"test_split", Flag([=](bool v) { fidelity->set_test_split(v); })},
      {"screening_latency", LatencyRules([=] { return fidelity->mutable_screening_latency(); })},
      {"final_latency", LatencyRules([=] { return fidelity->mutable_final_latency(); })},
  };
}

FieldParser Nested(Fields fields) {
  return [fields = std::move(fields)](const YAML::Node& node, const std::string& path) {
    return ParseMap(node, path, fields);
  };
}

Fields JobFields(v1::SearchJobSpec* spec) {
  return {
      {"name", Text([=](const std::string& v) { spec->set_display_name(v); })},
      {"supernet",
       Text([=](const std::string& v) { spec->set_supernet(WithCollection("supernets", v)); })},
      {"objectives", Expressions([](const std::string& v) { return ParseObjective(v); },
                                 [=](const v1::Objective& v) { *spec->add_objectives() = v; })},
      {"constraints", Expressions([](const std::string& v) { return ParseConstraint(v); },
                                  [=](const v1::Constraint& v) { *spec->add_constraints() = v; })},
      {"sampler", Nested(SamplerFields(spec->mutable_sampler()))},
      {"budget", Nested(BudgetFields(spec->mutable_budget()))},
      {"fidelity", Nested(FidelityFields(spec->mutable_fidelity()))},
      {"seed", Integer([=](int64_t v) { spec->set_seed(v); })},
      {"dataset", Text([=](const std::string& v) { spec->set_dataset(v); })},
      {"parallelism", Integer32([=](int32_t v) { spec->set_parallelism(v); })},
      {"priority", Integer32([=](int32_t v) { spec->set_priority(v); })},
      {"weight", Real([=](double v) { spec->set_weight(static_cast<float>(v)); })},
      {"accuracy_predictor", Text([=](const std::string& v) { spec->set_accuracy_predictor(v); })},
      {"cold_start", Flag([=](bool v) { spec->set_cold_start(v); })},
      {"latency_tables",
       Expressions([](const std::string& v) -> absl::StatusOr<std::string> { return v; },
                   [=](const std::string& v) { spec->add_latency_tables(v); })},
      {"recipe", Text([=](const std::string& v) { spec->set_recipe(v); })},
  };
}

}  // namespace

absl::StatusOr<v1::SearchJobSpec> ParseJobFile(absl::string_view text) {
  if (text.size() > kMaxBytes) {
    return absl::InvalidArgumentError("a job file is at most 1 MiB");
  }
  // No other text can be sent.
  if (const size_t good = Utf8PrefixLength(text); good < text.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("line ", 1 + std::count(text.begin(), text.begin() + good, '\n'),
                     ": is not UTF-8; save the file in that encoding"));
  }
  // yaml-cpp reports by exceptions; they end here.
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    v1::SearchJobSpec spec;
    FORALL_RETURN_IF_ERROR(ParseMap(root, "", JobFields(&spec)));
    return spec;
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("line ", error.mark.line + 1, ": ", error.msg));
  }
}

}  // namespace forall
