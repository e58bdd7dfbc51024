// SPDX-License-Identifier: Apache-2.0
#include "supernet/importer/pickle.h"

#include <string>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

using Kind = PickleValue::Kind;

std::string Text(const char* text) {
  const std::string value(text);
  return "X" + std::string(1, static_cast<char>(value.size())) + std::string(3, '\0') + value;
}

TEST(PickleTest, ReadsPlainValues) {
  // {"a": (1, -2, 70000, 1.5, True, None), "b": [[], 258]}, and bytes after it.
  const std::string bytes = "\x80\x02}(" + Text("a") + "(K\x01J\xfe\xff\xff\xffJ" +
                            std::string("\x70\x11\x01\0", 4) + "G" +
                            std::string("\x3f\xf8\0\0\0\0\0\0", 8) + "\x88Nt" + Text("b") +
                            "](]M\x02\x01"
                            "eu.rest";
  FORALL_ASSERT_OK_AND_ASSIGN(const auto pickle, Pickle::Parse(bytes));
  EXPECT_EQ(pickle->size(), bytes.size() - 4);
  EXPECT_FALSE(pickle->is_torch_magic());
  const PickleValue* a = FindKey(pickle->root(), "a");
  ASSERT_NE(a, nullptr);
  ASSERT_EQ(a->items.size(), 6u);
  EXPECT_EQ(a->items[0]->integer, 1);
  EXPECT_EQ(a->items[1]->integer, -2);
  EXPECT_EQ(a->items[2]->integer, 70000);
  EXPECT_EQ(a->items[3]->real, 1.5);
  EXPECT_EQ(a->items[4]->kind, Kind::kBool);
  EXPECT_EQ(a->items[5]->kind, Kind::kNone);
  const PickleValue* b = FindKey(pickle->root(), "b");
  ASSERT_NE(b, nullptr);
  ASSERT_EQ(b->items.size(), 2u);
  EXPECT_EQ(b->items[1]->integer, 258);
  EXPECT_EQ(FindKey(pickle->root(), "c"), nullptr);
}

TEST(PickleTest, LongIntegersAreSigned) {
  const auto value = [](const std::string& digits) {
    const auto pickle = Pickle::Parse(
        "\x80\x02\x8a" + std::string(1, static_cast<char>(digits.size())) + digits + ".");
    return pickle.ok() ? (*pickle)->root().integer : 12345;
  };
  EXPECT_EQ(value(""), 0);
  EXPECT_EQ(value("\xff"), -1);
  EXPECT_EQ(value(std::string("\xff\0", 2)), 255);
  EXPECT_EQ(value(std::string("\0\0\0\0\0\x01", 6)), int64_t{1} << 40);
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto seed, Pickle::Parse(std::string("\x80\x02\x8a\x09\1\1\1\1\1\1\1\1\1.", 14)));
  EXPECT_EQ(seed->root().kind, Kind::kOpaque) << "a 64-bit seed without a sign is no tensor";
}

TEST(PickleTest, RememberedValuesAreShared) {
  // x = []; (x, x) with x appended to after it was remembered.
  FORALL_ASSERT_OK_AND_ASSIGN(const auto pickle, Pickle::Parse(std::string("\x80\x02]q\x05K\x07"
                                                                           "ah\x05\x86.",
                                                                           12)));
  ASSERT_EQ(pickle->root().items.size(), 2u);
  EXPECT_EQ(pickle->root().items[0], pickle->root().items[1]);
  EXPECT_EQ(pickle->root().items[0]->items[0]->integer, 7);
}

TEST(PickleTest, NamesTheConstructorItDoesNotAllow) {
  EXPECT_THAT(Pickle::Parse("\x80\x02"
                            "cos\nsystem\nX\x02\0\0\0ls\x85R."),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("os.system")));
  // By the opcode of protocol 4, which takes the name from the stack.
  EXPECT_THAT(Pickle::Parse("\x80\x04\x8c\x08"
                            "builtins\x8c\x04"
                            "eval\x93."),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("builtins.eval")));
}

TEST(PickleTest, RefusesWhatIsMalformed) {
  struct Case {
    std::string bytes;
    absl::StatusCode code;
    const char* expected;
  };
  const Case cases[] = {
      {"", absl::StatusCode::kDataLoss, "cut short"},
      {"\x80\x02", absl::StatusCode::kDataLoss, "cut short"},
      {"\x80\x09.", absl::StatusCode::kInvalidArgument, "protocol 9"},
      {"N", absl::StatusCode::kDataLoss, "cut short"},
      {".", absl::StatusCode::kInvalidArgument, "empty stack"},
      {"NN.", absl::StatusCode::kInvalidArgument, "left over"},
      {"(.", absl::StatusCode::kInvalidArgument, "empty stack"},
      {"}Ns.", absl::StatusCode::kInvalidArgument, "on the stack"},
      {"}(Nu.", absl::StatusCode::kInvalidArgument, "key without a value"},
      {"Nu.", absl::StatusCode::kInvalidArgument, "no mark"},
      {"Na.", absl::StatusCode::kInvalidArgument, "a list on the stack"},
      {"h\x01.", absl::StatusCode::kInvalidArgument, "never remembered"},
      {"q\x01.", absl::StatusCode::kInvalidArgument, "not there"},
      {"NNR.", absl::StatusCode::kInvalidArgument, "it calls None"},
      {"ctorch\nFloatStorage\n)R.", absl::StatusCode::kInvalidArgument, "torch.FloatStorage"},
      {"ctorch._utils\n_rebuild_tensor_v2\n)R.", absl::StatusCode::kInvalidArgument, "storage"},
      {"X\xff\xff\xff\x7f"
       "ab",
       absl::StatusCode::kDataLoss, "cut short"},
      {"cos", absl::StatusCode::kDataLoss, "inside a name"},
      {"I42\n.", absl::StatusCode::kInvalidArgument, "opcode 0x49 at byte 0"},
      {"Nb.", absl::StatusCode::kInvalidArgument, "a dict"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(Pickle::Parse(c.bytes).status(), StatusIs(c.code, HasSubstr(c.expected)))
        << c.bytes;
  }
}

TEST(PickleTest, CopyingAListAgainAndAgainHasAnEnd) {
  // A list of 200 pairs, which OrderedDict(list) is asked to copy 200 times.
  std::string bytes = "\x80\x02](";
  for (int i = 0; i < 200; ++i) bytes += "NN\x86";
  bytes += "eq";
  bytes.push_back('\0');
  for (int i = 0; i < 200; ++i)
    bytes += "ccollections\nOrderedDict\nh" + std::string(1, '\0') + "\x85R";
  EXPECT_THAT(Pickle::Parse(bytes + "."),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("copies more than it holds")));
}

TEST(PickleTest, PlainObjectsOfOthersAreNotLookedInto) {
  // {"best": numpy scalar(dtype("f8"), bytes), "count": Counter(...)}
  const std::string bytes = "\x80\x02}(" + Text("best") +
                            "cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n" + Text("f8") +
                            "\x85R" + Text("bytes") + "\x86R" + Text("count") +
                            "ccollections\nCounter\n)R" + Text("a") + "K\x01su.";
  FORALL_ASSERT_OK_AND_ASSIGN(const auto pickle, Pickle::Parse(bytes));
  EXPECT_EQ(FindKey(pickle->root(), "best")->kind, Kind::kOpaque);
  EXPECT_EQ(FindKey(pickle->root(), "count")->text, "collections.Counter");
}

TEST(PickleTest, HoldsABoundedNumberOfValues) {
  for (const char* opcode : {"]", "N", "(", ")"}) {
    std::string bytes = "\x80\x02";
    for (size_t i = 0; i < kMaxPickleValues + 10; ++i) bytes += opcode;
    EXPECT_THAT(Pickle::Parse(bytes + "."), StatusIs(absl::StatusCode::kResourceExhausted));
  }
  // One value, recalled again and again.
  std::string recalls("\x80\x02Nq\0(", 6);
  for (size_t i = 0; i < kMaxPickleValues + 10; ++i) recalls += std::string("h\0", 2);
  EXPECT_THAT(Pickle::Parse(recalls + "t."), StatusIs(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace forall
