// The corpus of real and damaged evidence beside the checkout, read in place; each of its folders says in expected.json
// what a correct reader finds. Where it is absent, tests on it are skipped with `no_corpus` as the reason.
//
//   if (!corpus_is_there()) GTEST_SKIP() << no_corpus;
//   for (const auto& item : corpus_items("ima", "ima")) ... corpus_file("ima/" + text(item, "file")) ...
#pragma once

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <charconv>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"

namespace gatehouse::testing {

namespace json = boost::json;

inline const std::string corpus = GATEHOUSE_SHARED "/corpus/";
inline constexpr std::string_view no_corpus = "../shared/corpus is absent: the tests on real files are left out";

inline bool corpus_is_there() { return std::filesystem::exists(corpus + "PROVENANCE.md"); }

inline ByteVector corpus_file(const std::string& path) {
  auto bytes = read_file(corpus + path, std::size_t(64) << 20);
  if (!bytes) throw std::runtime_error(bytes.error().text());
  return *std::move(bytes);
}

// The items of a folder that are of this kind.
inline std::vector<json::object> corpus_items(const std::string& folder, std::string_view kind) {
  const ByteVector bytes = corpus_file(folder + "/expected.json");
  const json::value all = json::parse(as_text(bytes));
  std::vector<json::object> out;
  for (const json::value& item : all.as_object().at("items").as_array())
    if (item.as_object().at("kind").as_string() == kind) out.push_back(item.as_object());
  return out;
}

inline std::string text(const json::object& item, std::string_view name) {
  return std::string(item.at(name).as_string());
}

inline bool exit_code_is(const json::object& item, std::int64_t code) {
  const json::value& wanted = item.at("exit");
  return wanted.is_int64() && wanted.as_int64() == code;
}

// "offset 853: truncated digest", the words of the independent script that made a malformed item: 853.
inline std::size_t offset_of(const json::object& item) {
  const std::string words = text(item, "replay");
  std::size_t out = 0;
  std::from_chars(words.data() + 7, words.data() + words.size(), out);
  return out;
}

}  // namespace gatehouse::testing
