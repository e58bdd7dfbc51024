// SPDX-License-Identifier: Apache-2.0
#include "latency/child/child_sessions.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "latency/child/child_wire.h"

namespace forall {
namespace {

// However short the profile.
constexpr absl::Duration kLongestWarmUp = absl::Seconds(5);

ChildLink::Options LinkOptions(const ChildSessions::Options& options) {
  ChildLink::Options link;
  link.command = options.command;
  link.configuration = options.configuration;
  link.reference_model = options.reference_model;
  link.prepare_limit = options.prepare_limit;
  link.memory_bytes = options.memory_bytes;
  link.confinement = options.confinement;
  return link;
}

class ChildLoneModel : public LoneModel {
 public:
  ChildLoneModel(const ChildSessions::Options& options, ChildLink::Options link)
      : prepare_limit_(options.prepare_limit),
        run_limit_(options.run_limit),
        link_(std::move(link)) {}

  absl::Status Load(absl::string_view model, const std::function<bool()>& cancelled) {
    FORALL_RETURN_IF_ERROR(link_.Start(cancelled));
    FORALL_RETURN_IF_ERROR(link_.Send(LoneRequestToJson({.load = true}), model));
    FORALL_ASSIGN_OR_RETURN(
        const std::string answer,
        link_.Receive(prepare_limit_, cancelled, "it was not loaded", kLoneAnswer));
    FORALL_ASSIGN_OR_RETURN(loaded_, LoneAnswerFromJson(answer));
    return absl::OkStatus();
  }

  absl::StatusOr<LoneRun> RunFor(absl::Duration duration,
                                 const std::function<bool()>& cancelled) override {
    FORALL_RETURN_IF_ERROR(link_.Send(LoneRequestToJson({.duration = duration}), ""));
    FORALL_ASSIGN_OR_RETURN(
        const std::string answer,
        link_.Receive(duration + run_limit_, cancelled, "a run did not end", kLoneAnswer));
    FORALL_ASSIGN_OR_RETURN(const LoneAnswer told, LoneAnswerFromJson(answer));
    return LoneRun{told.inferences, told.process_time};
  }

  absl::StatusOr<int64_t> PeakMemoryBytes() const override {
    if (!loaded_.no_memory.empty()) return absl::UnavailableError(loaded_.no_memory);
    return loaded_.peak_bytes;
  }

 private:
  const absl::Duration prepare_limit_;
  const absl::Duration run_limit_;
  ChildLink link_;
  LoneAnswer loaded_;
};

}  // namespace

ChildSessions::ChildSessions(Options options)
    : options_(std::move(options)), link_(LinkOptions(options_)) {}

absl::Status ChildSessions::Check() { return link_.Start({}); }

absl::StatusOr<SessionSamples> ChildSessions::Run(absl::string_view model, const Profile& profile,
                                                  const std::function<bool()>& cancelled) {
  // A session that shares nothing: not even what an earlier model left behind.
  const bool fresh = profile.fresh;
  if (fresh) link_.End();
  absl::StatusOr<SessionSamples> samples = RunOnce(model, profile, cancelled);
  if (IsChildCrash(samples.status())) {
    // Perhaps an earlier model's fault, or a machine that stood still: once more, in a process that
    // has seen no other.
    samples = RunOnce(model, profile, cancelled);
  }
  if (fresh) link_.End();
  return samples;
}

absl::StatusOr<SessionSamples> ChildSessions::RunOnce(absl::string_view model,
                                                      const Profile& profile,
                                                      const std::function<bool()>& cancelled) {
  FORALL_RETURN_IF_ERROR(link_.Start(cancelled));
  FORALL_RETURN_IF_ERROR(link_.Send(ProfileToJson(profile), model));
  const absl::Duration run_limit = std::max(profile.max_duration, kLongestWarmUp) +
                                   std::max(profile.max_duration, profile.few_runs_duration) +
                                   options_.run_limit;
  std::string samples;
  for (const bool prepared : {false, true}) {
    FORALL_ASSIGN_OR_RETURN(
        samples, prepared ? link_.Receive(run_limit, cancelled, "a session did not end", "samples")
                          : link_.Receive(options_.prepare_limit, cancelled, "it was not loaded",
                                          "samples"));
  }
  return SamplesFromJson(samples);
}

absl::StatusOr<std::unique_ptr<LoneModel>> ChildSessions::LoadAlone(
    absl::string_view model, const std::function<bool()>& cancelled) {
  ChildLink::Options link = LinkOptions(options_);
  link.reference_model.clear();
  auto lone = std::make_unique<ChildLoneModel>(options_, std::move(link));
  FORALL_RETURN_IF_ERROR(lone->Load(model, cancelled));
  return std::unique_ptr<LoneModel>(std::move(lone));
}

}  // namespace forall
