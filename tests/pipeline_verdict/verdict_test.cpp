// The verdict object of the contract: members, order, escapes, and reading our own records back.
#include "pipeline/verdict/verdict.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace gatehouse::testing {
namespace {

using pipeline::Finding;
using pipeline::Status;
using pipeline::Verdict;

Verdict full() {
  Verdict v;
  v.session = "20261124-1";
  v.device = "abc\xff";
  v.product = "Debian 12 x86_64";
  v.generation = 7;
  v.recommendation = pipeline::Recommendation::isolate;
  v.evaluation = pipeline::Evaluation::minor;
  v.quote = {Status::ok, "rsassa", "sha256", "00ff"};
  v.boot_given = v.ima_given = true;
  v.boot = {136, 136, 0, 0, 0, 0};
  v.ima = {1732, 1624, 107, 1, 0, 2};
  v.summary = summary_line(v);
  v.checks = {{"Q1", Status::ok}, {"L6", Status::failed}};
  Finding f;
  f.component = "ima";
  f.entry = 42;
  f.pcr = 10;
  f.path = std::string("/usr/bin/\n\xc3\xa4\xff", 13);
  f.status = Status::differ;
  f.reason = "the file's content is none of the references";
  f.package = "dash";
  f.version = "0.5";
  f.expected = {"sha256:aa"};
  f.measured_template = "sha256:bb";
  f.measured_file = "sha256:cc";
  v.findings = {f, Finding{}};
  v.findings[1].component = "boot";
  v.findings_total = 108;
  v.warnings = {"event log: padding"};
  v.claims = {"product \x1b[31mx"};
  v.pcrs["sha256"] = {{0, "aa"}, {10, "bb"}};
  return v;
}

TEST(Verdict, MembersOfTheContract) {
  const auto o = boost::json::parse(to_json(full())).as_object();
  EXPECT_EQ(o.at("device").as_string(), "abc\\xFF");
  EXPECT_EQ(o.at("generation").to_number<int>(), 7);
  EXPECT_EQ(o.at("recommendation").as_string(), "isolate");
  EXPECT_EQ(o.at("evaluation").as_string(), "minor");
  EXPECT_EQ(boost::json::serialize(o.at("boot")), R"({"processed":136,"ok":136,"unknown":0,"differ":0,"failed":0})");
  EXPECT_EQ(boost::json::serialize(o.at("ima")), R"({"processed":1732,"ok":1624,"unknown":107,"differ":1,"failed":0,"violations":2})");
  EXPECT_EQ(boost::json::serialize(o.at("quote")), R"({"status":"ok","scheme":"rsassa","hash":"sha256","pcr_digest":"00ff"})");
  EXPECT_EQ(o.at("checks").as_object().size(), 28U);
  EXPECT_EQ(o.at("checks").at("Q11").as_string(), "absent");
  EXPECT_EQ(o.at("checks").at("L6").as_string(), "failed");
  const auto& f = o.at("findings").at(0).as_object();
  EXPECT_EQ(f.at("path").as_string(), "/usr/bin/\\x0A\xc3\xa4\\xFF");
  EXPECT_EQ(boost::json::serialize(f.at("measured")), R"({"template":"sha256:bb","file":"sha256:cc"})");
  EXPECT_EQ(o.at("claims").at(0).as_string(), "product \\x1B[31mx");
  EXPECT_EQ(to_json(full()).find('\n'), std::string::npos);
}

// As a JSON library would: nothing in it is a matter of taste.
TEST(Verdict, IsWrittenAsALibraryWritesIt) {
  Verdict v = full();
  v.findings.push_back(v.findings.front());
  for (int c = 0; c < 256; ++c) v.findings.back().path += char(c);
  v.summary = "\"quoted\" \\ \x01\x1f";
  v.pcrs["sha1"] = {};
  for (const Verdict& one : {v, Verdict{}}) {
    const std::string text = to_json(one);
    EXPECT_EQ(boost::json::serialize(boost::json::parse(text)), text);
  }
}

// Wherever in a text of whatever length it is.
TEST(Verdict, WhatHasToBeEscapedIsFound) {
  Verdict v = full();
  std::string& path = v.findings[0].path;
  for (std::size_t size = 1; size <= 24; ++size)
    for (std::size_t at = 0; at < size; ++at)
      for (const char c : {'\x01', '\x1f', '"', '\\', '\x7f', '\x80', '\xff', ' ', '!', '~', '['}) {
        path = std::string(size, 'a');
        path[at] = c;
        const std::string text = to_json(v);
        ASSERT_EQ(boost::json::serialize(boost::json::parse(text)), text) << size << ' ' << at << ' ' << int(c);
      }
}

TEST(Verdict, AbsentPartsSaySo) {
  const auto o = boost::json::parse(to_json(Verdict{})).as_object();
  EXPECT_EQ(o.at("boot").as_string(), "absent");
  EXPECT_EQ(o.at("ima").as_string(), "absent");
  EXPECT_EQ(o.at("quote").at("status").as_string(), "absent");
  EXPECT_TRUE(o.at("generation").is_null());
  EXPECT_EQ(o.at("recommendation").as_string(), "none");
}

TEST(Verdict, ReadBackIsTheSame) {
  Verdict v = full();
  v.findings[0].path = std::string(4096, '\x01');  // as long as a name may be, every byte escaped
  const std::string text = to_json(v);
  const auto again = pipeline::verdict_from_json(text);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(to_json(*again), text);
  for (const char* bad : {"", "[]", "{}", "{\"recommendation\":\"allow\"}", "{\"recommendation\":\"perhaps\",\"evaluation\":\"minor\"}", "nonsense"})
    EXPECT_FALSE(pipeline::verdict_from_json(bad).has_value()) << bad;
}

TEST(Verdict, SummaryIsTheFieldsSentence) {
  Verdict v;
  EXPECT_EQ(summary_line(v), "");
  v.ima_given = true;
  EXPECT_EQ(summary_line(v), "no IMA file evidence measurements");
  v.ima = {1732, 1625, 107, 0, 0, 0};
  v.boot_given = true;
  v.boot = {136, 136, 0, 0, 0, 0};
  EXPECT_EQ(summary_line(v),
            "processed 1732 IMA file evidence measurements: 1625 ok, 107 unknown, 0 differ, 0 failed; 136 BIOS evidence measurements are ok");
  v.ima_given = false;
  v.boot = {136, 130, 0, 6, 0, 0};
  EXPECT_EQ(summary_line(v), "6 of 136 BIOS evidence measurements differ");
  v.boot = {136, 0, 136, 0, 0, 0};
  EXPECT_EQ(summary_line(v), "136 BIOS evidence measurements have no approved baseline");
}

}  // namespace
}  // namespace gatehouse::testing
