// Signatures, buffers and violations as a policy's rules judge them (spec part 2 §7.5, §7.7, §7.8).
#include "pipeline/lookup/ima_rules.h"

#include <gtest/gtest.h>

#include "pipeline/lookup/lookup.h"
#include "tests/pipeline_graph/fake_view.h"
#include "tests/pipeline_lookup/text.h"
#include "tests/pipeline_quote/signer.h"
#include "wire/ima/signature.h"

namespace gatehouse::testing {
namespace {

using pipeline::EvidenceRules;
using pipeline::EvidenceRulesPtr;
using pipeline::ImaBatch;
using pipeline::ImaItem;
using pipeline::ListFields;
using pipeline::Judged;
using pipeline::References;
using pipeline::Status;

pipeline::SignatureKey signature_key(const Signer& signer, std::vector<std::string> paths = {}) {
  const PublicKey key = signer.key();
  std::uint32_t id = 0;
  const Digest subject = key.subject_key_id();
  for (const std::byte b : subject.view().last(4)) id = id << 8 | std::to_integer<std::uint32_t>(b);
  return {key, id, std::move(paths)};
}
ByteVector signed_by(const Signer& signer, std::string_view content, HashAlgorithm hash = HashAlgorithm::sha256) {
  ima::Signature s;
  s.hash = hash;
  s.key_id = signature_key(signer).id;
  const ByteVector value = signer.sign(as_bytes(content), hash);
  s.value = value;
  Writer w;
  ima::append_signature(w, s);
  return std::move(w).take();
}

ImaItem file(const std::string& name, std::string_view content, ByteVector signature = {},
             HashAlgorithm hash = HashAlgorithm::sha256) {
  ImaItem item;
  item.index = 1;
  item.name = lasting_text(name);
  item.algorithm = gatehouse::name(hash);
  item.plain_ng = signature.empty();
  change_fields(item, [&](ListFields& f) {
    f.file_digest = digest_of(hash, as_bytes(content));
    f.signature = std::move(signature);
  });
  Hasher hasher(HashAlgorithm::sha256);
  item.template_hash = template_hash(hasher, item, item.file_digest());
  return item;
}

EvidenceRulesPtr rules(auto&& set) {
  EvidenceRules out;
  out.name = "test";
  set(out.ima);
  return std::make_shared<const EvidenceRules>(std::move(out));
}

class ImaRules : public ::testing::Test {
 protected:
  ImaRules() {
    refdb::Reference r;
    r.path = "/usr/bin/known";
    r.package = "pkg";
    r.digests = {{HashAlgorithm::sha256, digest_of(HashAlgorithm::sha256, as_bytes("known"))}};
    view_->add(std::move(r));
  }
  Status judged(const ImaItem& item, std::vector<EvidenceRulesPtr> all) {
    References references{
        view_, nullptr, "p", HashAlgorithm::sha256, {}, pipeline::ImaRuleChecks(std::move(all), cache_)};
    const auto out = pipeline::judge(references, ImaBatch{{item}});
    EXPECT_TRUE(out);
    reason_ = out->findings.empty() ? "" : spelled(out->findings)[0].reason;
    EXPECT_EQ(out->counters.ok + out->counters.unknown + out->counters.differ + out->counters.failed, 1U);
    EXPECT_EQ(out->findings.empty(), out->statuses[0] == Status::ok);
    return out->statuses[0];
  }

  std::shared_ptr<FakeView> view_ = std::make_shared<FakeView>();
  std::shared_ptr<pipeline::SignatureCache> cache_ = std::make_shared<pipeline::SignatureCache>(1024);
  std::string reason_;
};

TEST_F(ImaRules, ASignatureMakesAFileOkThatTheReferencesDoNotKnow) {
  for (const Signer& signer : {Signer::ecc(), Signer::ecc("P-384"), Signer::rsa()}) {
    const auto with = rules([&](auto& r) { r.signature_keys = {signature_key(signer)}; });
    for (const HashAlgorithm hash : {HashAlgorithm::sha256, HashAlgorithm::sha384, HashAlgorithm::sha512}) {
      const ImaItem item = file("/opt/tool", "tool", signed_by(signer, "tool", hash), hash);
      EXPECT_EQ(judged(item, {}), Status::unknown);
      EXPECT_EQ(judged(item, {with}), Status::ok);
      EXPECT_EQ(judged(item, {with}), Status::ok) << "from the cache";
      view_ = std::make_shared<FakeView>();
    }
    EXPECT_EQ(judged(file("/opt/tool", "tool"), {with}), Status::unknown) << "without a signature";
    EXPECT_EQ(judged(file("/opt/tool", "tooI", signed_by(signer, "tool")), {with}), Status::unknown)
        << "of another file";
    EXPECT_EQ(judged(file("/opt/tool", "tool", signed_by(signer, "tool"), HashAlgorithm::sha512), {with}),
              Status::unknown)
        << "over another hash";
    ByteVector changed = signed_by(signer, "tool");
    changed[changed.size() - 3] ^= std::byte{1};
    EXPECT_EQ(judged(file("/opt/tool", "tool", changed), {with}), Status::unknown);
    EXPECT_EQ(
        judged(file("/opt/tool", "tool", signed_by(signer, "tool", HashAlgorithm::sha1), HashAlgorithm::sha1), {with}),
        Status::unknown);
  }
}

TEST_F(ImaRules, AKeyThatIsNotTheRulesOwnVouchesForNothing) {
  const Signer vendor = Signer::ecc(), stranger = Signer::ecc();
  const auto with = rules([&](auto& r) { r.signature_keys = {signature_key(vendor)}; });
  EXPECT_EQ(judged(file("/opt/tool", "tool", signed_by(stranger, "tool")), {with}), Status::unknown);
  ByteVector forged = signed_by(stranger, "tool");
  const ByteVector own = signed_by(vendor, "tool");
  std::copy_n(own.begin() + 3, 4, forged.begin() + 3);  // the vendor's key id
  EXPECT_EQ(judged(file("/opt/tool", "tool", forged), {with}), Status::unknown);
  // Two keys of one id: the second is tried.
  auto other = signature_key(stranger);
  other.id = signature_key(vendor).id;
  EXPECT_EQ(judged(file("/opt/tool", "tool", own), {rules([&](auto& r) {
                     r.signature_keys = {other, signature_key(vendor)};
                   })}),
            Status::ok);
}

TEST_F(ImaRules, AKeyCountsForItsPathsOnly) {
  const Signer vendor = Signer::ecc();
  const auto with = rules([&](auto& r) { r.signature_keys = {signature_key(vendor, {"/opt/*"})}; });
  EXPECT_EQ(judged(file("/opt/tool", "tool", signed_by(vendor, "tool")), {with}), Status::ok);
  EXPECT_EQ(judged(file("/usr/bin/tool", "tool", signed_by(vendor, "tool")), {with}), Status::unknown);
}

// Else any signed file would do in any other's place: a signature says nothing of the name.
TEST_F(ImaRules, ASignatureNeverOutdoesAReferenceThatDiffers) {
  const Signer vendor = Signer::ecc();
  const auto with = rules([&](auto& r) { r.signature_keys = {signature_key(vendor)}; });
  EXPECT_EQ(judged(file("/usr/bin/known", "known", signed_by(vendor, "known")), {with}), Status::ok);
  EXPECT_EQ(judged(file("/usr/bin/known", "another signed file", signed_by(vendor, "another signed file")), {with}),
            Status::differ);
  ImaItem contradicted = file("/opt/tool", "tool", signed_by(vendor, "tool"));
  change_fields(contradicted, [](ListFields& f) { f.contradiction = "the recorded template hash contradicts the template data"; });
  EXPECT_EQ(judged(contradicted, {with}), Status::failed);
}

TEST_F(ImaRules, PathsThatHaveToBeSigned) {
  const Signer vendor = Signer::ecc();
  const auto with = rules([&](auto& r) {
    r.signature_keys = {signature_key(vendor)};
    r.require_signature = {"/usr/*"};
  });
  EXPECT_EQ(judged(file("/usr/bin/known", "known"), {with}), Status::failed) << "known to the references, by the index";
  EXPECT_EQ(reason_, "a file that has to be signed: it has none (rules \"test\")");
  EXPECT_EQ(judged(file("/usr/bin/known", "known", signed_by(vendor, "known")), {with}), Status::ok);
  EXPECT_EQ(judged(file("/usr/bin/other", "other", signed_by(vendor, "other")), {with}), Status::ok);
  EXPECT_EQ(judged(file("/usr/bin/other", "other", signed_by(vendor, "known")), {with}), Status::failed);
  EXPECT_EQ(reason_, "a file that has to be signed: its signature doesn't verify (rules \"test\")");
  EXPECT_EQ(judged(file("/usr/bin/other", "other", signed_by(Signer::ecc(), "other")), {with}), Status::failed);
  EXPECT_EQ(judged(file("/usr/bin/other", "other", ByteVector(80, std::byte{3})), {with}), Status::failed);
  EXPECT_EQ(judged(file("/usr/bin/known", "another", signed_by(vendor, "another")), {with}), Status::differ);
  EXPECT_EQ(judged(file("/opt/tool", "tool"), {with}), Status::unknown);
  EXPECT_EQ(judged(file("known", "known"), {with}), Status::failed) << "a bare name may be that of any path";
  ImaItem beyond = file("/usr/bin/known", "known");
  change_fields(beyond, [](ListFields& f) { f.signature_beyond = true; });
  EXPECT_EQ(judged(beyond, {with}), Status::failed);
  ImaItem on_wire = file("/usr/bin/known", "known");
  on_wire.fields = nullptr;
  EXPECT_EQ(judged(on_wire, {}), Status::ok);
  EXPECT_EQ(judged(on_wire, {with}), Status::failed) << "a client that can't show signatures";
}

TEST_F(ImaRules, DigestsOfVerityAreSignedWithTheirType) {
  const Signer vendor = Signer::rsa();
  const auto with = rules([&](auto& r) { r.signature_keys = {signature_key(vendor)}; });
  ImaItem item = file("/opt/image", "root of the tree");
  item.verity = true;
  item.plain_ng = false;
  ima::Signature s;
  s.verity = true;
  s.hash = HashAlgorithm::sha256;
  s.key_id = signature_key(vendor).id;
  const ByteVector value = vendor.sign(ima::verity_file_id(HashAlgorithm::sha256, item.file_digest()));
  s.value = value;
  Writer w;
  ima::append_signature(w, s);
  change_fields(item, [&](ListFields& f) { f.signature = to_vector(w.view()); });
  EXPECT_EQ(judged(item, {with}), Status::ok);
  item.verity = false;
  EXPECT_EQ(judged(item, {with}), Status::unknown) << "a digest of content";
  item.verity = true;
  change_fields(item, [&](ListFields& f) { f.signature = signed_by(vendor, "root of the tree"); });
  EXPECT_EQ(judged(item, {with}), Status::unknown) << "a signature of content";
}

TEST_F(ImaRules, Buffers) {
  const auto buffer = [](const std::string& name, std::string_view content) {
    ImaItem item = file(name, content);
    item.kind = ImaItem::Kind::buffer;
    return item;
  };
  const auto list = [](bool refuse) {
    return rules([&](auto& r) {
      r.buffers["kexec-cmdline"] = {digest_of(HashAlgorithm::sha256, as_bytes("root=/dev/sda1"))};
      r.refuse_other_buffers = refuse;
    });
  };
  EXPECT_EQ(judged(buffer("kexec-cmdline", "root=/dev/sda1"), {}), Status::unknown);
  for (const bool refuse : {false, true}) {
    EXPECT_EQ(judged(buffer("kexec-cmdline", "root=/dev/sda1"), {list(refuse)}), Status::ok);
    const Status other = refuse ? Status::failed : Status::unknown;
    EXPECT_EQ(judged(buffer("kexec-cmdline", "root=/dev/sdb1"), {list(refuse)}), other);
    EXPECT_EQ(judged(buffer(".ima", "root=/dev/sda1"), {list(refuse)}), other);
  }
  // One rule's list is good for all of them.
  EXPECT_EQ(judged(buffer("kexec-cmdline", "root=/dev/sda1"),
                   {rules([](auto& r) { r.refuse_other_buffers = true; }), list(false)}),
            Status::ok);
  EXPECT_EQ(judged(file("kexec-cmdline", "root=/dev/sda1"), {list(true)}), Status::unknown)
      << "a file can be called anything";
  ImaItem unreadable = buffer("kexec-cmdline", "root=/dev/sda1");
  unreadable.algorithm = "sm9";
  EXPECT_EQ(judged(unreadable, {list(false)}), Status::unknown) << "nobody compared digest and content";
}

TEST_F(ImaRules, Violations) {
  ImaItem item = file("/var/log/x", "x");
  item.kind = ImaItem::Kind::violation;
  EXPECT_EQ(judged(item, {rules([](auto&) {})}), Status::unknown);
  EXPECT_EQ(judged(item, {rules([](auto& r) { r.refuse_violations = true; })}), Status::failed);
}

}  // namespace
}  // namespace gatehouse::testing
