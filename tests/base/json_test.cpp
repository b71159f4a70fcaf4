// JSON errors name the place; getters hold values to their type and range.
#include "base/json.h"

#include "checkpoint/scratch.h"

namespace galago {
namespace {

using test::error_of;
using test::expect_says;

std::string refusal(std::string_view text) {
  return error_of(ErrorCode::model, [&] { parse_json(text, "c.json"); });
}

TEST(Json, SaysWhereItIsMalformed) {
  expect_says(refusal("{\"a\": 1,\n \"b\" 2}"), "c.json: line 2, column 6: malformed JSON");
  expect_says(refusal("{\"a\": 1e999}"), "c.json");
  expect_says(refusal("\"\xff\""), "malformed JSON");
  expect_says(refusal(std::string(1000000, '[')), "line 1, column 65");
  EXPECT_NO_THROW(parse_json("\"" + std::string(1000, '[') + "\\\"[\"", "c.json"));
}

TEST(Json, RefusesRepeatedKeysWhereAskedTo) {
  EXPECT_EQ(parse_json(R"({"a":1,"a":2})", "c.json").at("a"), 2);
  const auto strict = [](std::string_view text) { return parse_json(text, "c.json", RepeatedKeys::refuse); };
  expect_says(error_of(ErrorCode::model, [&] { strict(R"({"b":{"a":1,"a":2}})"); }),
              "the name a appears twice");
  EXPECT_EQ(strict(R"({"a":{"a":1},"b":[{"a":1},{"a":2}]})").size(), 2u);
}

TEST(Json, GettersNameTheKeyAndWhatTheyExpect) {
  const Json json =
      parse_json(R"({"a":{"n":5,"big":18446744073709551615,"f":0.5,"t":true,"s":"x"}})", "c.json");
  EXPECT_EQ(get_int(json, "a.n", 0, 5, "c.json"), 5);
  EXPECT_EQ(get_number(json, "a.f", 0, 1, "c.json"), 0.5);
  EXPECT_TRUE(get_bool(json, "a.t", "c.json"));
  EXPECT_EQ(get_string(json, "a.s", "c.json"), "x");
  const auto refused = [&](std::string_view key, std::int64_t min, std::int64_t max) {
    return error_of(ErrorCode::model, [&] { get_int(json, key, min, max, "c.json"); });
  };
  expect_says(refused("a.n", 6, 9), "c.json: a.n is the number 5, expected an integer from 6 to 9");
  expect_says(refused("a.big", -1, INT64_MAX), "a.big is the number 18446744073709551615");
  expect_says(refused("a.big", -9, -1), "a.big");
  expect_says(refused("a.s", 0, 9), "the string \"x\"");
  expect_says(refused("a.x", 0, 9), "a.x is missing");
  expect_says(refused("a.n.deeper", 0, 9), "is missing");
  EXPECT_THROW(get_number(json, "a.s", 0, 1, "c.json"), Error);
  EXPECT_THROW(get_bool(json, "a.n", "c.json"), Error);
  EXPECT_THROW(get_string(json, "a.n", "c.json"), Error);
}

}  // namespace
}  // namespace galago
