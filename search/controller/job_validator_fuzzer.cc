// SPDX-License-Identifier: Apache-2.0
// Any bytes as a job: parsed, judged, and used if accepted. Nothing may crash.
#include <cstddef>
#include <cstdint>

#include "base/log.h"
#include "search/controller/job_plan.h"
#include "search/controller/job_validator.h"
#include "space/family.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* const family =
      new std::shared_ptr<const forall::Family>(forall::FindFamily("fashion_mnist").value());
  forall::v1::SearchJobSpec spec;
  if (!spec.ParseFromArray(data, static_cast<int>(size))) return 0;
  if (!forall::ValidateSearchJobSpec(spec).ok()) return 0;
  forall::FillDefaults("fashion_mnist", &spec);
  FORALL_CHECK(forall::CheckStoredSpec(spec).ok());
  // What is accepted stays acceptable with its defaults, and can be planned.
  FORALL_CHECK(forall::ValidateSearchJobSpec(spec).ok());
  if (!forall::CheckFeasible(spec, **family).ok()) return 0;
  FORALL_CHECK(forall::JobPlan::Create(spec, *family).ok());
  return 0;
}
