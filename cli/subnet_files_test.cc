// SPDX-License-Identifier: Apache-2.0
#include "cli/subnet_files.h"

#include <memory>
#include <string>

#include "base/file.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "space/net_config.h"
#include "supernet/onnx/exporter.h"
#include "supernet/onnx/model_reader.h"
#include "supernet/standalone.h"
#include "supernet/testing/tiny_supernet.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::HasSubstr;

// A package of random weights for fashion_mnist, and a spec, an architecture and a net.config of
// it.
class SubnetFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    family_ = *FindFamily("fashion_mnist");
    supernet_ = testing::RandomSupernet(*family_);
    Random random(2);
    architecture_ = family_->search_space().Sample(&random);
    network_ = *family_->Describe(architecture_);
    weights_ = *ExtractWeights(*supernet_, network_);
    Write("arch.json", family_->search_space().ToJson(architecture_));
    Write("net.config", *WriteNetConfig(network_));
    Write("net.safetensors", *BuildStandaloneFile(network_, weights_, {}));
  }
  std::string Write(const std::string& name, const std::string& content) {
    FORALL_EXPECT_OK(WriteFileAtomically(directory_ / name, content));
    return directory_ / name;
  }
  SubnetRequest Request(const std::string& file) {
    SubnetRequest request;
    request.subject = directory_ / file;
    request.weights = directory_ / "net.safetensors";
    request.family = "fashion_mnist";
    return request;
  }

  const TempDir directory_;
  std::shared_ptr<const Family> family_;
  std::shared_ptr<const Supernet> supernet_;
  Architecture architecture_;
  Network network_;
  SubnetWeights weights_;
};

TEST(SubnetFormatTest, IsNamedOrToldByTheFile) {
  for (const SubnetFormatInfo& info : SubnetFormats()) {
    FORALL_ASSERT_OK_AND_ASSIGN(const SubnetFormat named, SubnetFormatOf(info.name, "x"));
    EXPECT_EQ(named, info.format);
    if (info.format == SubnetFormat::kOnnxHalf) continue;
    FORALL_ASSERT_OK_AND_ASSIGN(const SubnetFormat told, SubnetFormatOf("", info.file));
    EXPECT_EQ(told, info.format) << info.file;
  }
  EXPECT_THAT(SubnetFormatOf("", "winner"), StatusIs(absl::StatusCode::kInvalidArgument,
                                                     HasSubstr("say --format onnx, onnx-fp16")));
  EXPECT_THAT(SubnetFormatOf("tflite", "x.onnx"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("unknown format \"tflite\"")));
}

TEST_F(SubnetFilesTest, APublishedNetworkWithItsOwnWeightsComesOutAsItWentIn) {
  SubnetRequest request = Request("net.config");
  request.resolution = static_cast<int32_t>(network_.input.height);
  EXPECT_TRUE(IsLocal(request));
  FORALL_ASSERT_OK_AND_ASSIGN(FoundSubnet found, FindSubnet(request, nullptr));
  EXPECT_EQ(found.architecture, architecture_);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string onnx,
                              SubnetFile(SubnetFormat::kOnnx, &found, nullptr));
  EXPECT_EQ(Sha256Hex(onnx), found.sha256);
  OnnxExportOptions options;
  FORALL_ASSERT_OK_AND_ASSIGN(const auto metadata, ReadOnnxMetadata(onnx));
  options.metadata.assign(metadata.begin(), metadata.end());
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string expected,
                              BuildOnnxModel(network_, weights_, options));
  EXPECT_EQ(Sha256Hex(onnx), Sha256Hex(expected));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string config,
                              SubnetFile(SubnetFormat::kNetConfig, &found, nullptr));
  EXPECT_EQ(config, *WriteNetConfig(network_));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string weights,
                              SubnetFile(SubnetFormat::kSafetensors, &found, nullptr));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto file, SafetensorsFile::Parse(weights, "out"));
  EXPECT_EQ(file->metadata().at("net.config"), config);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto in, SafetensorsFile::Open(directory_ / "net.safetensors"));
  ASSERT_EQ(file->tensors().size(), in->tensors().size());
  for (const SafetensorsView& tensor : in->tensors()) {
    ASSERT_NE(file->Find(tensor.name), nullptr);
    EXPECT_EQ(file->Find(tensor.name)->bytes, tensor.bytes) << tensor.name;
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string half,
                              SubnetFile(SubnetFormat::kOnnxHalf, &found, nullptr));
  EXPECT_LT(half.size(), onnx.size() * 6 / 10);
}

TEST_F(SubnetFilesTest, WhatIsMissingOrWrongIsSaid) {
  const auto error = [&](const SubnetRequest& request) {
    return FindSubnet(request, nullptr).status();
  };
  EXPECT_THAT(error(Request("net.config")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--resolution")));
  SubnetRequest request = Request("arch.json");
  request.weights.clear();
  EXPECT_THAT(error(request), StatusIs(absl::StatusCode::kInvalidArgument,
                                       HasSubstr("either --supernet or --weights")));
  request = Request("arch.json");
  request.family.clear();
  EXPECT_THAT(error(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--family")));
  request = Request("absent.json");
  EXPECT_THAT(error(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("there is no file")));
  EXPECT_FALSE(IsLocal(request));
  request = Request("arch.json");
  request.family = "ofa_mbv3_w1.0";
  EXPECT_THAT(error(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("arch.json: search_space")));
  Write("other.json", family_->search_space().ToJson(family_->search_space().Smallest()));
  EXPECT_THAT(error(Request("other.json")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("of another shape")));
  Write("bad.json", "{");
  EXPECT_THAT(error(Request("bad.json")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bad.json")));
}

}  // namespace
}  // namespace forall
