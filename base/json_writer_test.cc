// SPDX-License-Identifier: Apache-2.0
#include "base/json_writer.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::json;

template <typename T>
std::string Text(const T& value) {
  std::string text;
  AppendJson(value, &text);
  return text;
}

TEST(JsonWriterTest, NumbersReadAsTheSameNumbers) {
  Random random(1);
  std::vector<double> values = {0.0,  -0.0,  1.0,    -7.0,
                                0.1,  1e300, 5e-324, 123456789.0,
                                1e21, 1e-7,  2.5,    std::numeric_limits<double>::max()};
  for (int i = 0; i < 10'000; ++i) {
    values.push_back(std::ldexp(random.Double() - 0.5, static_cast<int>(i % 400) - 200));
  }
  for (const double value : values) {
    const Json read = Json::parse(Text(value));
    ASSERT_TRUE(read.is_number_float()) << Text(value);
    ASSERT_EQ(read.get<double>(), value) << Text(value);
    ASSERT_EQ(std::signbit(read.get<double>()), std::signbit(value)) << Text(value);
  }
  EXPECT_EQ(Text(std::numeric_limits<double>::infinity()), "null");
  EXPECT_EQ(Text(std::nan("")), "null");
  EXPECT_EQ(Text(std::numeric_limits<int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(Text(7), "7");
  EXPECT_EQ(Text(true), "true");
  EXPECT_EQ(Text(false), "false");
}

TEST(JsonWriterTest, TextsReadAsTheSameTexts) {
  std::vector<std::string> texts = {
      "",     "plain text",           "\"",       "\\", "a\nb\tc", std::string("\0", 1),
      "\x7f", "\xc3\xa4\xe2\x82\xac", "</script>"};
  for (int c = 0; c < 128; ++c) texts.push_back(std::string(3, static_cast<char>(c)));
  for (const std::string& text : texts) {
    EXPECT_EQ(Json::parse(Text(text)).get<std::string>(), text);
  }
  EXPECT_EQ(Json::parse(Text(std::string("a\xff"))).get<std::string>(), "a\xef\xbf\xbd");
}

TEST(JsonWriterTest, ArraysNest) {
  EXPECT_EQ(Text(std::vector<int>{}), "[]");
  EXPECT_EQ(Text(std::vector<std::vector<int64_t>>{{1, 2}, {}, {3}}), "[[1,2],[],[3]]");
  EXPECT_EQ(Text(std::vector<std::string>{"a", "b\""}), R"(["a","b\""])");
  EXPECT_EQ(Text(std::vector<double>{1, 0.5}), "[1.0,0.5]");
}

}  // namespace
}  // namespace forall
