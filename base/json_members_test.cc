// SPDX-License-Identifier: Apache-2.0
#include "base/json_members.h"

#include <cstdint>
#include <string>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;
using testing::StatusIs;
using ::testing::UnorderedElementsAre;

TEST(JsonMembersTest, GivesWhatIsThereAndWhatIsNot) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const JsonMembers::Json json,
      JsonMembers::ParseObject(
          R"({"text": "a", "number": 3, "flag": true, "texts": {"x": "1", "y": 2}, "real": 0.5})",
          "a test"));
  JsonMembers members(json, "");
  EXPECT_EQ(members.Text("text"), "a");
  EXPECT_EQ(members.Text("absent", "b"), "b");
  EXPECT_EQ(members.Number("number", 5, 1), 3);
  EXPECT_TRUE(members.Flag("flag", false));
  EXPECT_THAT(members.Texts("texts"), UnorderedElementsAre(Pair("x", "1"), Pair("y", "2")));
  double real = 0;
  members.RequireReal("real", &real);
  EXPECT_EQ(real, 0.5);
  uint64_t count = 0;
  members.RequireCount("number", &count);
  EXPECT_EQ(count, 3u);
  FORALL_EXPECT_OK(members.Finish());
}

std::string Complaint(const std::string& text, void (*read)(JsonMembers*)) {
  const JsonMembers::Json json = JsonMembers::Json::parse(text);
  JsonMembers members(json, "at.");
  read(&members);
  return std::string(members.Finish().message());
}

TEST(JsonMembersTest, TheFirstComplaintNamesItsMember) {
  EXPECT_EQ(Complaint("[]", [](JsonMembers* m) { m->Text("a"); }), "at: must be an object");
  EXPECT_EQ(Complaint(R"({"a": 1})", [](JsonMembers* m) { m->Text("a"); }), "at.a: must be a text");
  EXPECT_EQ(Complaint(R"({"a": 6})", [](JsonMembers* m) { m->Number("a", 5, 1); }),
            "at.a: must be a whole number from 1 to 5");
  EXPECT_EQ(Complaint(R"({"a": {"b": []}})", [](JsonMembers* m) { m->Texts("a"); }),
            "at.a.b: must be a text");
  EXPECT_EQ(Complaint("{}", [](JsonMembers* m) { m->Require("a"); }), "at.a: is missing");
  EXPECT_EQ(Complaint(R"({"a": -1})",
                      [](JsonMembers* m) {
                        int64_t count = 0;
                        m->RequireCount("a", &count);
                      }),
            "at.a: must be a count");
  EXPECT_EQ(Complaint(R"({"a": "x"})",
                      [](JsonMembers* m) {
                        double real = 0;
                        m->RequireReal("a", &real);
                      }),
            "at.a: must be a number");
  EXPECT_EQ(Complaint(R"({"a": 1, "b": 2})", [](JsonMembers* m) { m->Find("a"); }),
            "at.b: unknown; known here are a");
}

TEST(JsonMembersTest, RefusesWhatIsNoObject) {
  for (const char* text : {"", "[1]", "{", "nonsense"}) {
    EXPECT_THAT(JsonMembers::ParseObject(text, "a job"),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a job is a JSON object")));
  }
}

}  // namespace
}  // namespace forall
