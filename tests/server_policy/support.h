#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "server/policy/policy.h"
#include "server/policy/work_items.h"

namespace gatehouse::server::policy {

inline Result<std::string> no_file(const std::string&) { return fail(Fault::environment, "there is no file"); }

inline PolicyPtr parsed(const std::string& text, const ReadFile& read = no_file) {
  auto policy = parse_policy(text, "policy.toml", read);
  if (policy) return *policy;
  for (const Mistake& m : policy.error().list) ADD_FAILURE() << m.text();
  return built_in_policy();
}

inline std::vector<std::string> mistakes(const std::string& text, const ReadFile& read = no_file) {
  std::vector<std::string> out;
  const auto policy = parse_policy(text, "policy.toml", read);
  if (!policy)
    for (const Mistake& m : policy.error().list) out.push_back(m.text());
  return out;
}

inline std::string content(const std::string& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in) << path;
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// The first TOML block of a guide.
inline std::string toml_block(const std::string& guide) {
  const std::size_t from = guide.find("```toml\n") + 8;
  return guide.substr(from, guide.find("```", from) - from);
}

inline DeviceFacts known(const std::string& device, const std::string& product = {}) {
  DeviceFacts out;
  out.standing = Standing::authenticated;
  out.device = device;
  out.product = product;
  out.identity = "CN=" + device;
  out.identity_type = "certificate";
  out.now = 1'800'000'000'000;
  return out;
}

// "TPMRA B I,FWDEN"
inline std::string keys(const std::vector<WorkItem>& items) {
  std::string out;
  for (const WorkItem& item : items) out += (out.empty() ? "" : ",") + item.key();
  return out;
}

}  // namespace gatehouse::server::policy
