// SPDX-License-Identifier: Apache-2.0
#include "runtime/execution_provider.h"

#include <string>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/onnx_session.h"
#include "runtime/testing/tiny_model.h"

namespace forall {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using testing::StatusIs;
using testing::TinyModel;
using ::testing::UnorderedElementsAre;

TEST(ExecutionProviderTest, OnlyASessionTellsWhatIsOffered) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto offers, TryProviders(TinyModel{}.Serialize()));
  ASSERT_EQ(offers.size(), ProviderNames().size());
  EXPECT_EQ(offers[0].name, "cpu");
  FORALL_EXPECT_OK(offers[0].status);
  for (const ProviderOffer& offer : offers) {
    // A provider that cannot be had is never the model's fault, which would be held against it.
    if (offer.status.ok()) continue;
    EXPECT_THAT(offer.status,
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(offer.name)));
  }
}

TEST(ExecutionProviderTest, NamesAreTheFieldsOwn) {
  FORALL_EXPECT_OK(CheckProviderName("TensorRT"));
  EXPECT_THAT(CheckProviderName("tensorrt"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("CUDA, TensorRT, QNN")));
}

TEST(ExecutionProviderTest, PrecisionIsTheProvidersOrRefused) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto plain, PrecisionOptions("cpu", "fp32"));
  EXPECT_THAT(plain, IsEmpty());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto half, PrecisionOptions("TensorRT", "fp16"));
  EXPECT_THAT(half, UnorderedElementsAre(Pair("trt_fp16_enable", "1")));
  EXPECT_THAT(PrecisionOptions("cpu", "fp16"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("recipe")));
  EXPECT_THAT(PrecisionOptions("CUDA", "int4"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ExecutionProviderTest, EnginesAreKeptWhereThereAreAny) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto options, EngineCacheOptions("TensorRT", "/engines/a"));
  EXPECT_EQ(options.at("trt_engine_cache_path"), "/engines/a");
  EXPECT_EQ(options.at("trt_timing_cache_enable"), "1");
  EXPECT_THAT(EngineCacheOptions("cpu", "/engines"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ExecutionProviderTest, SessionOptionsReachTheSession) {
  const std::string model = TinyModel{}.Serialize();
  FORALL_EXPECT_OK(
      OnnxSession::Create(model, {.config = {{"session.set_denormal_as_zero", "1"}}}).status());
  // ONNX Runtime reads this entry as a number: what it refuses shows that it was given.
  EXPECT_FALSE(
      OnnxSession::Create(model, {.config = {{"session.dynamic_block_base", "no number"}}}).ok());
  EXPECT_THAT(OnnxSession::Create(model, {.provider_options = {{"arena", "big"}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cpu has no options")));
}

}  // namespace
}  // namespace forall
