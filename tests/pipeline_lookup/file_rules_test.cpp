// What a policy's rules make of files that the references don't know, that differ, were written while they were measured,
// or are superseded.
#include "pipeline/lookup/file_rules.h"

#include <gtest/gtest.h>

#include "pipeline/lookup/lookup.h"
#include "tests/pipeline_graph/fake_view.h"
#include "tests/pipeline_lookup/text.h"

namespace gatehouse::testing::file_rules {  // files of tests are compiled together
namespace {

using pipeline::EvidenceRules;
using pipeline::EvidenceRulesPtr;
using pipeline::FileRule;
using pipeline::ImaBatch;
using pipeline::ImaItem;
using pipeline::ListFields;
using pipeline::References;
using pipeline::Status;
using pipeline::Treatment;

constexpr std::int64_t day = 86'400, now = 1'800'000'000;  // seconds

EvidenceRulesPtr rules(std::vector<FileRule> files, const std::string& name = "test") {
  EvidenceRules out;
  out.name = name;
  out.files = std::move(files);
  return std::make_shared<const EvidenceRules>(std::move(out));
}

ImaItem file(const std::string& name, std::string_view content) {
  ImaItem item;
  item.index = 1;
  item.name = lasting_text(name);
  item.algorithm = "sha256";
  item.plain_ng = true;
  change_fields(item, [&](ListFields& f) { f.file_digest = digest_of(HashAlgorithm::sha256, as_bytes(content)); });
  Hasher hasher(HashAlgorithm::sha256);
  item.template_hash = template_hash(hasher, item, item.file_digest());
  return item;
}
// As strongSwan's collector sends it.
ImaItem on_wire(const std::string& name, std::string_view content) {
  ImaItem item = file(name, content);
  item.fields = nullptr;
  return item;
}
ImaItem violation(const std::string& name) {
  ImaItem item = file(name, "");
  item.kind = ImaItem::Kind::violation;
  change_fields(item, [](ListFields& f) { f.file_digest = {}; });
  item.template_hash = Digest::filled(32, std::byte{0xFF});
  return item;
}

class FileRules : public ::testing::Test {
 protected:
  void know(const std::string& path, std::string_view content, const std::string& version, std::int64_t since = now - 30 * day) {
    refdb::Reference r;
    r.path = path;
    r.package = "pkg";
    r.version = version;
    r.architecture = "amd64";
    r.format = refdb::PackageFormat::deb;
    r.ingested = since;
    r.digests = {{HashAlgorithm::sha256, digest_of(HashAlgorithm::sha256, as_bytes(content))}};
    view_->add(std::move(r));
  }
  Status judged(const ImaItem& item, std::vector<EvidenceRulesPtr> all) {
    References references{view_, cache_, "p", HashAlgorithm::sha256, {}, pipeline::ImaRuleChecks(all, nullptr),
                          pipeline::FileRuleChecks(all, now * 1000)};
    const auto out = pipeline::judge(references, ImaBatch{{item}});
    EXPECT_TRUE(out);
    if (!out) return Status::absent;
    finding_ = out->findings.empty() ? pipeline::Finding() : spelled(out->findings)[0];
    superseded_ = out->superseded;
    EXPECT_EQ(out->counters.ok + out->counters.unknown + out->counters.differ + out->counters.failed, 1U);
    EXPECT_EQ(out->findings.empty(), out->statuses[0] == Status::ok);
    return out->statuses[0];
  }

  std::shared_ptr<FakeView> view_ = std::make_shared<FakeView>();
  std::shared_ptr<pipeline::VerdictCache> cache_ = std::make_shared<pipeline::VerdictCache>(1 << 12, 1 << 10);
  pipeline::Finding finding_;
  std::uint64_t superseded_ = 0;
};

TEST_F(FileRules, SayWhatAnUnknownFileIs) {
  const auto strict = rules({{.paths = {"/var/lib/app/*"}, .unknown = Treatment::accepted}, {.unknown = Treatment::refused}});
  for (int round = 0; round < 2; ++round) {  // the second from the cache
    EXPECT_EQ(judged(file("/opt/tool", "tool"), {}), Status::unknown);
    EXPECT_EQ(judged(file("/opt/tool", "tool"), {strict}), Status::failed);
    EXPECT_EQ(finding_.reason, "no reference of this path: unknown files are refused here (rules \"test\")");
    EXPECT_EQ(judged(file("/var/lib/app/plugin.so", "plugin"), {strict}), Status::ok);
  }
}

TEST_F(FileRules, SayWhatADifferingFileIs) {
  know("/etc/app.conf", "as packaged", "1");
  const ImaItem changed = file("/etc/app.conf", "changed");
  EXPECT_EQ(judged(changed, {}), Status::differ);
  EXPECT_EQ(judged(changed, {rules({{.paths = {"/etc/*"}, .differ = Treatment::accepted}})}), Status::ok);
  EXPECT_EQ(judged(changed, {rules({{.packages = {"pk*"}, .differ = Treatment::reported}})}), Status::unknown);
  EXPECT_EQ(finding_.reason, "the file's content is none of the references: only reported (rules \"test\")");
  EXPECT_EQ(judged(changed, {rules({{.paths = {"/usr/*"}, .differ = Treatment::accepted}})}), Status::differ);
  EXPECT_EQ(judged(changed, {rules({{.packages = {"other"}, .differ = Treatment::accepted}})}), Status::differ);
  EXPECT_EQ(judged(changed, {rules({{.paths = {"/etc/*"}, .differ = Treatment::refused}, {.paths = {"/etc/app*"}, .differ = Treatment::accepted}})}),
            Status::differ)
      << "the first that says something counts";
}

TEST_F(FileRules, OfSeveralGroupsTheStrictestOpinionCounts) {
  const auto kind = rules({{.paths = {"/opt/*"}, .unknown = Treatment::accepted}}, "kind");
  const auto strict = rules({{.unknown = Treatment::refused}}, "strict");
  const auto silent = rules({{.paths = {"/usr/*"}, .unknown = Treatment::refused}}, "silent");
  EXPECT_EQ(judged(file("/opt/tool", "tool"), {kind, strict}), Status::failed);
  EXPECT_EQ(judged(file("/opt/tool", "tool"), {strict, kind}), Status::failed);
  EXPECT_EQ(judged(file("/opt/tool", "tool"), {kind, silent}), Status::ok);
}

// Over PA-TNC the name of an unknown template hash is whatever the endpoint says.
TEST_F(FileRules, ANameThatIsOnlyClaimedExcusesNothing) {
  const auto strict = rules({{.paths = {"/var/lib/app/*"}, .unknown = Treatment::accepted}, {.unknown = Treatment::refused}});
  EXPECT_EQ(judged(on_wire("/var/lib/app/plugin.so", "plugin"), {strict}), Status::failed);
  know("/etc/app.conf", "as packaged", "1");
  const auto kind = rules({{.paths = {"/etc/*"}, .differ = Treatment::accepted}});
  EXPECT_EQ(judged(on_wire("/etc/app.conf", "changed"), {kind}), Status::differ);
  EXPECT_EQ(judged(on_wire("/etc/app.conf", "as packaged"), {kind}), Status::ok);
  // Nor does a name of which the kernel couldn't tell the path; what is refused somewhere is refused for it.
  EXPECT_EQ(judged(file("plugin.so", "plugin"), {strict}), Status::failed);
  EXPECT_EQ(judged(file("plugin.so", "plugin"), {rules({{.paths = {"/usr/*"}, .unknown = Treatment::refused}})}), Status::failed);
  EXPECT_EQ(judged(file("plugin.so", "plugin"), {rules({{.paths = {"*"}, .unknown = Treatment::accepted}})}), Status::unknown);
  EXPECT_EQ(judged(file("plugin.so", "plugin"), {rules({{.unknown = Treatment::accepted}})}), Status::ok);
}

TEST_F(FileRules, RefuseViolations) {
  EXPECT_EQ(judged(violation("/var/log/x"), {rules({{.violated = Treatment::refused}})}), Status::failed);
  EXPECT_EQ(judged(violation("/var/log/x"), {rules({{.violated = Treatment::reported}})}), Status::unknown);
  EXPECT_EQ(judged(violation("/usr/bin/x"), {rules({{.paths = {"/usr/*"}, .violated = Treatment::refused}})}), Status::failed);
  EXPECT_EQ(judged(violation("/var/log/x"), {rules({{.paths = {"/usr/*"}, .violated = Treatment::refused}})}), Status::unknown);
}

TEST_F(FileRules, RefuseWhatANewerVersionSupersedesOnceItIsKnownLongEnough) {
  know("/usr/bin/tool", "old", "1.9-1", now - 90 * day);
  know("/usr/bin/tool", "new", "1.10-1", now - 10 * day);
  know("/usr/bin/same", "same", "1.9-1", now - 90 * day);
  know("/usr/bin/same", "same", "1.10-1", now - 10 * day);
  const auto after = [](std::int64_t days) {
    return rules({{.paths = {"/usr/*"}, .superseded = Treatment::refused, .superseded_after = days * day}});
  };
  for (int round = 0; round < 2; ++round) {  // the second from the cache
    EXPECT_EQ(judged(file("/usr/bin/tool", "old"), {}), Status::ok);
    EXPECT_EQ(judged(file("/usr/bin/tool", "old"), {after(10)}), Status::failed);
    EXPECT_EQ(finding_.reason, "superseded: version 1.10-1 of its package is known (rules \"test\")");
    EXPECT_EQ(finding_.package, "pkg");
    EXPECT_EQ(finding_.version, "1.9-1");
    EXPECT_EQ(judged(on_wire("/usr/bin/tool", "old"), {after(10)}), Status::failed) << "the template hash proves the name";
    EXPECT_EQ(judged(file("/usr/bin/tool", "old"), {after(11)}), Status::ok);
    EXPECT_EQ(superseded_, 1U);
    EXPECT_EQ(judged(file("/usr/bin/tool", "new"), {after(0)}), Status::ok);
    EXPECT_EQ(superseded_, 0U);
    EXPECT_EQ(judged(file("/usr/bin/same", "same"), {after(0)}), Status::ok) << "the newest has it, too";
    EXPECT_EQ(judged(file("/usr/bin/tool", "old"), {rules({{.packages = {"other"}, .superseded = Treatment::refused}})}), Status::ok);
    EXPECT_EQ(judged(file("/usr/bin/tool", "old"), {rules({{.superseded = Treatment::reported}})}), Status::ok);
    EXPECT_EQ(superseded_, 1U);
  }
}

}  // namespace
}  // namespace gatehouse::testing::file_rules
