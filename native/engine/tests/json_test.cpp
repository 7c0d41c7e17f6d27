/** Owns the proof that the JSON reader takes valid text as it is and refuses everything else. */
#include <string>

#include "model/json.h"
#include "tests/check.h"

using tessera::Json;

namespace {

Json parse(const std::string& text) { return Json::parse(text, "test"); }

TEST(json_reads_every_kind_of_value) {
  const Json json = parse(R"( {"a": [1, -2.5e3, true, false, null, "x"], "b": {"c": 9007199254740993}} )");
  CHECK(json.is_object());
  const auto& list = json.find("a")->array();
  CHECK_EQUAL(list.size(), 6u);
  CHECK(list[0].is_integer());
  CHECK_EQUAL(list[0].integer(), 1);
  CHECK(!list[1].is_integer());
  CHECK_EQUAL(list[1].number(), -2500.0);
  CHECK(list[2].boolean());
  CHECK(!list[3].boolean());
  CHECK(list[4].is_null());
  CHECK_EQUAL(list[5].string(), std::string("x"));
  CHECK_EQUAL(json.find("b")->find("c")->integer(), 9007199254740993);
  CHECK(json.find("z") == nullptr);
  CHECK(list[0].find("z") == nullptr);
}

TEST(json_reads_escapes_and_utf8) {
  CHECK_EQUAL(parse(R"("\"\\\/\b\f\n\r\t")").string(), std::string("\"\\/\b\f\n\r\t"));
  CHECK_EQUAL(parse(R"("\u0041\u00e9\u20ac\ud83d\ude00")").string(), std::string("A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
  CHECK_EQUAL(parse("\"\xe4\xbd\xa0\"").string(), std::string("\xe4\xbd\xa0"));
}

TEST(json_numbers_keep_their_kind) {
  CHECK(parse("0").is_integer());
  CHECK(parse("-0").is_integer());
  CHECK_EQUAL(parse("1e-06").number(), 1e-6);
  CHECK_EQUAL(parse("9223372036854775807").integer(), INT64_MAX);
  CHECK(!parse("9223372036854775808").is_integer());
  CHECK(parse("9223372036854775808").is_number());
  CHECK(!parse("1.0").is_integer());
}

TEST(json_refuses_what_is_not_json) {
  for (const char* text :
       {"", " ", "{", "}", "[", "]", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:2}",
        "tru", "nul", "falsey", "01", "-", "+1", ".5", "1.", "1e", "1e+", "0x1", "NaN", "Infinity", "1e999", "\"",
        "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"a\nb\"",
        "'a'", "1 1", "{} x", "// 1\n1", "[1]]", "{\"a\":1,\"a\":2}"}) {
    CHECK_REFUSES("Cannot read test", parse(text));
  }
}

TEST(json_refuses_deep_nesting) {
  CHECK_REFUSES("nesting", parse(std::string(100'000, '[')));
  std::string objects;
  for (int i = 0; i < 100'000; i++) objects += "{\"a\":";
  CHECK_REFUSES("nesting", parse(objects));
  parse(std::string(60, '[') + std::string(60, ']'));
}

TEST(json_finds_duplicates_among_many) {
  std::string text = "{";
  for (int i = 0; i < 1000; i++) text += "\"k" + std::to_string(i) + "\":0,";
  parse(text + "\"last\":1}");
  CHECK_REFUSES("twice", parse(text + "\"k999\":1}"));
  CHECK_REFUSES("twice", parse(text + "\"k3\":1}"));
}

TEST(json_survives_every_cut_and_every_flip) {
  const std::string text = R"({"weights": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, "x": [-1.5e2, "\u00e9"]})";
  for (size_t i = 0; i < text.size(); i++) {
    CHECK_REFUSES("Cannot read test", parse(text.substr(0, i)));
    for (int bit = 0; bit < 8; bit++) {
      std::string flipped = text;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      tessera::tests::thrown_by([&] { parse(flipped); });
    }
  }
}

TEST(json_bounds_how_many_values_it_makes) {
  std::string text = "[0";
  for (int i = 0; i < 1 << 20; i++) text += ",0";
  CHECK_REFUSES("more than 1048576 values", Json::parse(text + "]", "it"));
}

}  // namespace
