// SPDX-License-Identifier: Apache-2.0
#include "supernet/safetensors.h"

#include <cstring>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::string Length(uint64_t n) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(n >> (8 * i)));
  return bytes;
}

std::string FileOf(const std::string& header, size_t data_bytes) {
  return Length(header.size()) + header + std::string(data_bytes, '\x3f');
}

std::vector<float> Floats(const SafetensorsFile& file, const char* name) {
  const SafetensorsView* view = file.Find(name);
  if (view == nullptr) return {};
  std::vector<float> values(static_cast<size_t>(view->elements()));
  EXPECT_THAT(CopyAsFloats(*view, absl::MakeSpan(values)), testing::IsOk());
  return values;
}

TEST(SafetensorsTest, WritesWhatItReads) {
  const std::vector<float> a = {1.5f, -2.0f, 3.25f, 0.0f, 1e-8f, 3e38f};
  const std::vector<float> b = {0.5f, 65504.0f, -0.25f};
  const std::vector<SafetensorsEntry> entries = {
      {"half", SafetensorsType::kF16, {3}, b},
      {"zeta", SafetensorsType::kF32, {2, 3}, a},
      {"empty", SafetensorsType::kF32, {0, 4}, {}},
      {"scalar", SafetensorsType::kF32, {}, absl::MakeConstSpan(a).subspan(0, 1)}};
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string bytes,
                              SerializeSafetensors(entries, {{"who", "\"tester\""}}));
  testing::TempDir dir;
  FORALL_ASSERT_OK(WriteFileAtomically(dir / "w.safetensors", bytes));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto file, SafetensorsFile::Open(dir / "w.safetensors"));
  EXPECT_THAT(file->metadata(), ElementsAre(Pair("who", "\"tester\"")));
  EXPECT_EQ(file->tensors().size(), 4u);
  EXPECT_EQ(Floats(*file, "zeta"), a);
  EXPECT_EQ(Floats(*file, "half"), b);
  EXPECT_EQ(Floats(*file, "scalar"), std::vector<float>{1.5f});
  EXPECT_EQ(file->Find("empty")->shape, (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(file->Find("nobody"), nullptr);
}

TEST(SafetensorsTest, BytesAreDeterministicAndAligned) {
  const std::vector<float> values = {1, 2, 3};
  const SafetensorsEntry a{"a", SafetensorsType::kF16, {3}, values};
  const SafetensorsEntry b{"b", SafetensorsType::kF32, {3}, values};
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string one, SerializeSafetensors({a, b}, {}));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string two, SerializeSafetensors({b, a}, {}));
  EXPECT_EQ(one, two);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto file, SafetensorsFile::Parse(one, "x"));
  const size_t data = file->bytes().size() - 3 * 4 - 3 * 2;
  EXPECT_EQ(data % 8, 0u);
  EXPECT_EQ(file->tensors()[0].name, "b");  // wide elements first: both stay aligned
}

// The format's own example of a header, byte by byte, so that reader and writer do not agree on a
// format of their own.
TEST(SafetensorsTest, ReadsHandMadeBytes) {
  const std::string header =
      R"({"t":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"n":{"dtype":"I64","shape":[],)"
      R"("data_offsets":[10,18]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[8,10]}})";
  const std::string data("\x00\x00\x80\x3f\x00\x00\x00\xc0\x40\x40\x07\x00\x00\x00\x00\x00\x00\x00",
                         18);
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto file, SafetensorsFile::Parse(Length(header.size()) + header + data, "hand"));
  EXPECT_EQ(Floats(*file, "t"), (std::vector<float>{1.0f, -2.0f}));
  EXPECT_EQ(Floats(*file, "b"), (std::vector<float>{3.0f}));
  ASSERT_NE(file->Find("n"), nullptr);
  std::vector<float> one(1);
  EXPECT_THAT(CopyAsFloats(*file->Find("n"), absl::MakeSpan(one)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("I64")));
}

struct Corruption {
  const char* name;
  std::string bytes;
  absl::StatusCode code;
  const char* message;
};

std::vector<Corruption> Corruptions() {
  const absl::StatusCode bad = absl::StatusCode::kInvalidArgument;
  const absl::StatusCode lost = absl::StatusCode::kDataLoss;
  const auto one = [](const std::string& fields, size_t data) {
    return FileOf(absl::StrCat(R"({"w":{)", fields, "}}"), data);
  };
  const std::string f32 = R"("dtype":"F32",)";
  return {
      {"empty", "", lost, "8 bytes"},
      {"shorter than the length", "\x01\x02", lost, "8 bytes"},
      {"no header", Length(10), lost, "cut short"},
      {"header past the end", Length(100) + "{}", lost, "cut short"},
      {"absurd length", Length(std::numeric_limits<uint64_t>::max()) + "{}", bad, "at most"},
      {"length above the cap", Length(kMaxSafetensorsHeader + 1) + "{}", bad, "at most"},
      {"not JSON", FileOf("{nonsense", 0), bad, "JSON"},
      {"a list", FileOf("[]", 0), bad, "JSON"},
      {"text after the object", FileOf("{} {}", 0), bad, "JSON"},
      {"invalid UTF-8", FileOf("{\"\xff\":1}", 0), bad, "JSON"},
      {"deep nesting", FileOf(std::string(100000, '['), 0), bad, "nested"},
      {"tensor is a number", FileOf(R"({"w":3})", 0), bad, "'w'"},
      {"no dtype", one(R"("shape":[1],"data_offsets":[0,4])", 4), bad, "dtype"},
      {"unknown dtype", one(R"("dtype":"Q7","shape":[1],"data_offsets":[0,4])", 4), bad, "Q7"},
      {"no shape", one(f32 + R"("data_offsets":[0,4])", 4), bad, "shape"},
      {"negative extent", one(f32 + R"("shape":[-1],"data_offsets":[0,4])", 4), bad,
       "non-negative"},
      {"fractional extent", one(f32 + R"("shape":[1.5],"data_offsets":[0,4])", 4), bad, "integers"},
      {"extent beyond int64", one(f32 + R"("shape":[9223372036854775808],"data_offsets":[0,4])", 4),
       bad, "integers"},
      {"too many axes",
       one(f32 + R"("shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4])", 4), bad,
       "at most 16"},
      {"no offsets", one(f32 + R"("shape":[1])", 4), bad, "data_offsets"},
      {"three offsets", one(f32 + R"("shape":[1],"data_offsets":[0,4,8])", 4), bad, "data_offsets"},
      {"negative offset", one(f32 + R"("shape":[1],"data_offsets":[-4,0])", 4), bad,
       "data_offsets"},
      {"offsets backwards", one(f32 + R"("shape":[1],"data_offsets":[4,0])", 4), bad, "backwards"},
      {"offsets past the end", one(f32 + R"("shape":[2],"data_offsets":[0,8])", 4), lost,
       "cut short"},
      {"offsets near 2^64",
       one(f32 + R"("shape":[1],"data_offsets":[18446744073709551611,18446744073709551615])", 4),
       lost, "cut short"},
      {"size is not the shape's", one(f32 + R"("shape":[2],"data_offsets":[0,4])", 4), bad,
       "need 8"},
      {"product overflows", one(f32 + R"("shape":[4294967296,4294967296],"data_offsets":[0,4])", 4),
       bad, "2^64"},
      {"product overflows to zero",
       one(f32 + R"("shape":[4611686018427387904],"data_offsets":[0,0])", 0), bad, "2^64"},
      {"unknown field", one(f32 + R"("shape":[1],"data_offsets":[0,4],"x":1)", 4), bad, "field"},
      {"field twice", one(f32 + f32 + R"("shape":[1],"data_offsets":[0,4])", 4), bad, "twice"},
      {"tensor twice",
       FileOf(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
              R"("w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
              2),
       bad, "'w' is given twice"},
      {"overlap",
       FileOf(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
              R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
              6),
       bad, "'b': its bytes begin at 2, where 4 was expected: tensors overlap"},
      {"the same bytes twice",
       FileOf(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
              R"("b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
              4),
       bad, "overlap"},
      {"gap",
       FileOf(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
              R"("b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}})",
              4),
       bad, "leave a gap"},
      {"bytes of nobody", one(f32 + R"("shape":[1],"data_offsets":[0,4])", 5), bad, "no tensor"},
      {"metadata is a list", FileOf(R"({"__metadata__":[]})", 0), bad, "__metadata__"},
      {"metadata value is a number", FileOf(R"({"__metadata__":{"k":1}})", 0), bad, "'k'"},
      {"metadata key twice", FileOf(R"({"__metadata__":{"k":"1","k":"2"}})", 0), bad, "'k'"},
      {"unprintable name", FileOf("{\"\\u0007\":3}", 0), bad, "'?'"},
  };
}

TEST(SafetensorsTest, RefusesWhatIsNotWellFormed) {
  for (const Corruption& corruption : Corruptions()) {
    SCOPED_TRACE(corruption.name);
    EXPECT_THAT(
        SafetensorsFile::Parse(corruption.bytes, "some.file"),
        StatusIs(corruption.code, AllOf(HasSubstr("some.file"), HasSubstr(corruption.message))));
  }
}

TEST(SafetensorsTest, NamesTheFileOnDisk) {
  testing::TempDir dir;
  EXPECT_THAT(SafetensorsFile::Open(dir / "none"), StatusIs(absl::StatusCode::kNotFound));
  FORALL_ASSERT_OK(WriteFileAtomically(dir / "bad", Length(3) + "{}"));
  EXPECT_THAT(SafetensorsFile::Open(dir / "bad"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr(dir / "bad")));
  FORALL_ASSERT_OK(WriteFileAtomically(dir / "empty", ""));
  EXPECT_THAT(SafetensorsFile::Open(dir / "empty"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr(dir / "empty")));
}

// Every cut of a good file, and thousands of flipped bytes: a status, never anything else.
TEST(SafetensorsTest, SurvivesCutsAndFlips) {
  const std::vector<float> values = {1, 2, 3, 4};
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string good,
                              SerializeSafetensors({{"a", SafetensorsType::kF32, {4}, values},
                                                    {"b", SafetensorsType::kF16, {2, 2}, values}},
                                                   {{"k", "v"}}));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(SafetensorsFile::Parse(good.substr(0, size), "cut").ok()) << size;
  }
  Random random(1);
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = good;
    for (int flips = 0; flips < 3; ++flips) {
      bytes[random.Uniform(bytes.size() - 24)] = static_cast<char>(random.Uniform(256));
    }
    const auto file = SafetensorsFile::Parse(bytes, "flip");
    if (!file.ok()) continue;
    for (const SafetensorsView& view : (*file)->tensors()) {
      EXPECT_LE(view.bytes.size(), good.size());
    }
  }
}

TEST(SafetensorsTest, ManyTensorsAreReadInGoodTime) {
  // 200,000 entries of nothing: a quadratic reader would need minutes, and the test's time limit
  // would tell.
  std::string header = "{";
  for (int i = 0; i < 200000; ++i) {
    absl::StrAppend(&header, i == 0 ? "" : ",", "\"t", i,
                    R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})");
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto file,
                              SafetensorsFile::Parse(FileOf(header + "}", 0), "x"));
  EXPECT_EQ(file->tensors().size(), 200000u);
}

TEST(SafetensorsTest, WriterRefusesWhatCannotBeRead) {
  const std::vector<float> values = {1, 70000};
  const auto write = [&](SafetensorsEntry entry) {
    return SerializeSafetensors({std::move(entry)}, {}).status();
  };
  EXPECT_THAT(write({"a", SafetensorsType::kF16, {2}, values}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too large for F16")));
  EXPECT_THAT(write({"a", SafetensorsType::kF32, {3}, values}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("2 values")));
  EXPECT_THAT(write({"a", SafetensorsType::kF32, {-2, -1}, values}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("shape")));
  EXPECT_THAT(write({"a", SafetensorsType::kI64, {2}, values}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("F32 and F16")));
  EXPECT_THAT(write({"__metadata__", SafetensorsType::kF32, {2}, values}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no name")));
  const SafetensorsEntry a{"a", SafetensorsType::kF32, {2}, values};
  EXPECT_THAT(SerializeSafetensors({a, a}, {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("twice")));
}

}  // namespace
}  // namespace forall
