// SPDX-License-Identifier: Apache-2.0
#include "search/report/method_section.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/util/json_util.h"
#include "search/report/html_text.h"

namespace forall {
namespace {

std::string Code(absl::string_view text) {
  return absl::StrCat("<pre><code>", EscapeHtml(text), "</code></pre>");
}

std::string SpecJson(const v1::SearchJobSpec& spec) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string json;
  // Fails only on text that is not UTF-8, which the wire does not let in.
  if (!google::protobuf::util::MessageToJsonString(spec, &json, options).ok()) return "";
  return json;
}

// A name that a shell takes as one plain word; anything else is left for the reader to fill in.
std::string ShellWord(absl::string_view name, absl::string_view otherwise) {
  const bool plain = !name.empty() && name.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789._-/") == absl::string_view::npos;
  return std::string(plain && name[0] != '-' ? name : otherwise);
}

std::string Commands(const ReportInput& input) {
  const std::string job = ShellWord(LastSegment(input.job.name()), "JOB");
  const std::string supernet = ShellWord(LastSegment(input.job.spec().supernet()), "SUPERNET");
  std::string text = absl::StrCat(
      "# The job below as a file. The same seed and the same results give the same proposals.\n",
      "forall add-supernet ", supernet, " weights.safetensors\n", "forall submit job.json\n",
      "\n# This very job, as long as its controller keeps it.\n", "forall frontier ", job,
      " --format json\n");
  for (const v1::FrontierMember& member : input.frontier.members()) {
    if (!member.knee()) continue;
    absl::StrAppend(&text, "forall export ", job, "/trials/",
                    ShellWord(LastSegment(member.trial().name()), "TRIAL"),
                    " --output model.onnx   # as `forall export ", job, "` chooses\n");
  }
  absl::StrAppend(&text, "forall report ", job, " --output report.html\n");
  return text;
}

std::string Accuracies(const v1::Fidelity& fidelity) {
  std::string text =
      "The exported ONNX file is run on held-out images with ONNX Runtime and the right answers "
      "are "
      "counted. Its BatchNorm statistics were computed anew for this very subnet";
  if (fidelity.calibration_images() > 0) {
    absl::StrAppend(&text, ", on ", FormatCount(fidelity.calibration_images()),
                    " images of the training split");
  }
  absl::StrAppend(&text, ".");
  if (!fidelity.tiers().empty()) {
    const std::string tiers = absl::StrJoin(
        fidelity.tiers(), ", ",
        [](std::string* out, int32_t images) { absl::StrAppend(out, FormatCount(images)); });
    absl::StrAppend(
        &text, " While searching, subnets race over tiers of ", tiers,
        " validation images: one that another is shown to dominate goes no further (McNemar's "
        "exact test on the images that both have seen, at most 5 % wrongly stopped). Members of "
        "the frontier are then evaluated on ",
        fidelity.final_images() > 0 ? FormatCount(fidelity.final_images()) : "all", ".");
  } else if (fidelity.screening_images() > 0) {
    absl::StrAppend(&text, " While searching, ", FormatCount(fidelity.screening_images()),
                    " validation images decide; members of the frontier are then evaluated on ",
                    fidelity.final_images() > 0 ? FormatCount(fidelity.final_images()) : "all",
                    ".");
  }
  absl::StrAppend(&text,
                  " The interval is Wilson's for 95 %: how far the figure may lie from that on all "
                  "images like these.");
  return text;
}

}  // namespace

std::string MethodHtml(const ReportInput& input) {
  const auto item = [](absl::string_view term, absl::string_view text) {
    return absl::StrCat("<div><dt>", term, "</dt><dd>", text, "</dd></div>");
  };
  return absl::StrCat(
      "<dl class=\"method\">", item("Accuracy", Accuracies(input.job.spec().fidelity())),
      item("Validation and test",
           "The search sees the validation split only, and chooses by it; a figure that was chosen "
           "by is a little flattering. The test split is never used to choose anything: where it "
           "was measured, it is the figure to quote."),
      item(
          "Latency",
          "After a warm-up until times are stable, the subnet and a fixed reference network run "
          "alternately on the device. What is kept is the ratio of the two; the latency shown is "
          "that ratio times the device's baseline for the reference, so that a machine that is a "
          "little slower today does not make a network look worse. The interval rests on the order "
          "of the samples, which assumes no distribution; from three sessions on, the scatter "
          "between them goes into it. Frontier members are timed again, in several sessions, on "
          "the very file that is exported."),
      item("Percentiles, memory, energy",
           "Where they were asked for. A percentile is of the runs that the latency rests on, and "
           "is never given of fewer runs than it needs. Peak resident memory is what the subnet "
           "adds to a process of its own that loads and runs nothing else; energy is what the "
           "device's own sensor counted while the subnet ran alone, less what the device drew at "
           "rest just before; throughput and carbon follow from latency and energy."),
      item("Costs",
           "Multiply-accumulates, parameters, size and peak activation memory are counted from the "
           "network's description: exact, of one image, in the precision of the recipe."),
      item("Verdict",
           "<b>Trusted</b>: nothing was seen that speaks against the number. <b>Noisy</b>: it was "
           "measured under the conditions named, and can make a member only contested. "
           "<b>Rejected</b> numbers never enter a frontier."),
      item("Certain or contested",
           "A member is certain when it was measured at final fidelity with every verdict trusted, "
           "and no other measured subnet would beat it even with the other's numbers at the better "
           "ends of their intervals and its own at the worse ends. Otherwise it is contested."),
      item(
          "Knee",
          "The member farthest from the line (or plane) through the frontier's extremes, with each "
          "objective scaled to the frontier's range: where giving a little on one objective stops "
          "buying much on another. Where no member lies beyond that line (two members, or a "
          "frontier that bends outwards) there is no knee, and the member is marked as suggested "
          "whose worst scaled objective is best; of two it is the first."),
      "</dl>");
}

std::string ReproduceHtml(const ReportInput& input) {
  const v1::SearchJobSpec& spec = input.job.spec();
  bool complete = true;
  const std::string job_file = JobFileJson(spec, &complete);
  std::string html = Code(Commands(input));
  absl::StrAppend(&html, "<h3>job.json</h3>", Code(job_file));
  if (!complete) {
    absl::StrAppend(&html,
                    "<p class=\"note\">Some conditions or goals of this job can only be given "
                    "through the API; the stored specification below has them.</p>");
  }
  absl::StrAppend(&html, "<details><summary>The specification as stored</summary>",
                  Code(SpecJson(spec)), "</details><dl class=\"facts\">");
  const auto fact = [&](absl::string_view name, const std::string& value) {
    absl::StrAppend(&html, "<div><dt>", name, "</dt><dd>", value, "</dd></div>");
  };
  fact("Seed", absl::StrCat(spec.seed()));
  fact("Supernet", EscapeHtml(spec.supernet()));
  fact("SHA-256 of its weights.safetensors",
       input.supernet_sha256.empty()
           ? "–"
           : absl::StrCat("<code>", EscapeHtml(input.supernet_sha256), "</code>"));
  if (input.family != nullptr) {
    fact("Search space", EscapeHtml(absl::StrCat(input.family->search_space().id(), ", revision ",
                                                 input.family->search_space().revision())));
  }
  fact("Dataset", spec.dataset().empty() ? "the supernet's own" : EscapeHtml(spec.dataset()));
  fact("Recipe", spec.recipe().empty() ? "fp32" : EscapeHtml(spec.recipe()));
  fact("Submitted", FormatUtc(input.job.create_time()));
  fact("Ended", FormatUtc(input.job.end_time()));
  return absl::StrCat(html, "</dl>",
                      "<p class=\"note\">Accuracies of one ONNX file repeat up to the last bits of "
                      "floating point; latencies repeat within their intervals on the same device, "
                      "and not at all on another.</p>");
}

}  // namespace forall
