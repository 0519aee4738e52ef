// Why a file is ok, unknown or differs: one store with each kind of answer.
#include "refdb/explain/explain.h"

#include "tests/refdb/support.h"

namespace gatehouse::refdb {
namespace {

const std::string debian = "Debian 12 x86_64", other = "Other 1 x86_64";

Digest sha256_of(std::string_view content) { return digest_of(HashAlgorithm::sha256, as_bytes(content)); }

class Explained : public ::testing::Test {
 protected:
  static ReferencePackage bash(const std::string& version, Layer layer, std::int64_t first_seen, PackageFormat format) {
    ReferencePackage p = package(debian, "bash", version, {{"/usr/bin/bash", "bash " + version}, {"/usr/share/doc", "doc"}});
    p.layer = layer;
    p.format = format;
    p.first_seen = first_seen;
    p.source = "bash_" + version + ".deb";
    return p;
  }
  void SetUp() override {
    ReferencePackage conf = package(debian, "conf", "1", {{"/etc/conf", "as packaged"}});
    conf.files[0].is_mutable = true;
    ASSERT_TRUE(publish(store_, {bash("5.2-9", Layer::release, 100, PackageFormat::deb),
                                 bash("5.2-10", Layer::security, 200, PackageFormat::deb),
                                 bash("5.2-10+x1", Layer::security, 300, PackageFormat::deb), conf,
                                 package(debian, "alone", "1", {{"/usr/bin/alone", "alone"}}),
                                 package(other, "other", "2", {{"/usr/bin/other", "other"}, {"/usr/bin/bash", "else"}})}));
    view_ = open_view(store_).value();
  }
  Explanation ask(const std::string& path, const std::optional<Digest>& digest) const {
    return explain(*view_, debian, {path, digest}).value();
  }
  static std::vector<std::string> versions(const Explanation& e) {
    std::vector<std::string> out;
    for (const auto& r : e.references) out.push_back(r.reference.version);
    return out;
  }
  const Folder folder_;
  const std::string store_ = folder_ / "refdb";
  std::shared_ptr<const View> view_;
};

TEST_F(Explained, KnownContentOfTheNewestVersionIsOk) {
  for (const std::string path : {"/usr/bin/bash", "/bin/bash", ""}) {
    const Explanation e = ask(path, sha256_of("bash 5.2-10+x1"));
    EXPECT_EQ(e.verdict, ExplainedVerdict::ok) << path;
    EXPECT_EQ(e.reason, Reason::known) << path;
    ASSERT_EQ(versions(e), std::vector<std::string>{"5.2-10+x1"}) << path;
    EXPECT_EQ(e.references[0].first_seen, 300);
    EXPECT_FALSE(e.references[0].superseded_by);
  }
}

TEST_F(Explained, OlderContentIsOkAndSaysSinceWhenThereIsANewer) {
  const Explanation e = ask("/usr/bin/bash", sha256_of("bash 5.2-9"));
  EXPECT_EQ(e.verdict, ExplainedVerdict::ok);
  EXPECT_EQ(e.reason, Reason::superseded);
  ASSERT_EQ(e.references.size(), 1U);
  ASSERT_TRUE(e.references[0].superseded_by);
  EXPECT_EQ(e.references[0].superseded_by->version, "5.2-10+x1");
  EXPECT_EQ(e.references[0].superseded_by->layer, Layer::security);
  EXPECT_EQ(e.references[0].superseded_since, 200);
}

TEST_F(Explained, ContentThatTheNewestVersionHasTooIsNotSuperseded) {
  EXPECT_EQ(ask("/usr/share/doc", sha256_of("doc")).reason, Reason::known);
}

TEST_F(Explained, OtherContentDiffersFromAllVersionsTheNewestFirst) {
  const Explanation e = ask("/usr/bin/bash", sha256_of("evil"));
  EXPECT_EQ(e.verdict, ExplainedVerdict::differ);
  EXPECT_EQ(e.reason, Reason::changed);
  EXPECT_EQ(versions(e), (std::vector<std::string>{"5.2-10+x1", "5.2-10", "5.2-9"}));
  EXPECT_TRUE(e.other_products.empty());
  EXPECT_EQ(versions(ask("/usr/bin/bash", std::nullopt)), versions(e));
}

TEST_F(Explained, ContentOfAnotherFileOrProductIsNamed) {
  const Explanation moved = ask("/usr/bin/bash", sha256_of("alone"));
  EXPECT_EQ(moved.reason, Reason::changed);
  ASSERT_EQ(moved.same_content.size(), 1U);
  EXPECT_EQ(moved.same_content[0].path, "/usr/bin/alone");
  const Explanation elsewhere = ask("/usr/bin/bash", sha256_of("else"));
  EXPECT_EQ(elsewhere.verdict, ExplainedVerdict::differ);
  ASSERT_EQ(elsewhere.other_products.size(), 1U);
  EXPECT_EQ(elsewhere.other_products[0].product, other);
}

TEST_F(Explained, AConfigurationFileMayDiffer) {
  const Explanation e = ask("/etc/conf", sha256_of("edited"));
  EXPECT_EQ(e.verdict, ExplainedVerdict::unknown);
  EXPECT_EQ(e.reason, Reason::configuration);
}

TEST_F(Explained, AnUnknownPathSaysWhatIsKnownElsewhere) {
  const Explanation copy = ask("/opt/copy", sha256_of("alone"));
  EXPECT_EQ(copy.verdict, ExplainedVerdict::unknown);
  EXPECT_EQ(copy.reason, Reason::other_path);
  const Explanation product = ask("/usr/bin/other", std::nullopt);
  EXPECT_EQ(product.reason, Reason::other_product);
  ASSERT_EQ(product.other_products.size(), 1U);
  EXPECT_EQ(ask({}, sha256_of("other")).reason, Reason::other_product);
  for (const Explanation& e : {ask("/nowhere", sha256_of("nothing")), ask({}, sha256_of("nothing"))}) {
    EXPECT_EQ(e.verdict, ExplainedVerdict::unknown);
    EXPECT_EQ(e.reason, Reason::no_reference);
  }
}

TEST_F(Explained, ATemplateHashNamesItsPath) {
  for (const HashAlgorithm bank : {HashAlgorithm::sha256, HashAlgorithm::sha384}) {
    const Digest t = template_digest(bank, digest_of(bank, as_bytes("bash 5.2-9")), "/bin/bash");
    const Explanation e = ask({}, t);
    EXPECT_EQ(e.template_name, "/bin/bash");
    EXPECT_EQ(e.reason, Reason::superseded);
    EXPECT_EQ(versions(e), std::vector<std::string>{"5.2-9"});
    EXPECT_EQ(references_of_template(*view_, debian, t).value().size(), 1U);
    EXPECT_TRUE(references_of_template(*view_, other, t).value().empty());
  }
}

// A view that counts how often all packages are looked at.
class CountingView final : public View {
 public:
  explicit CountingView(const View& view) : view_(view) {}
  std::uint64_t generation() const override { return view_.generation(); }
  bool has_product(std::string_view product) const override { return view_.has_product(product); }
  std::vector<std::string> products() const override { return view_.products(); }
  Result<void> find_templates(std::string_view product, HashAlgorithm bank, std::span<const Digest> keys,
                              std::span<TemplateHit> hits) const override {
    return view_.find_templates(product, bank, keys, hits);
  }
  Result<std::vector<Reference>> references_of_path(std::string_view product, std::string_view path) const override {
    return view_.references_of_path(product, path);
  }
  Result<bool> has_package(std::string_view product, std::string_view package, std::string_view v) const override {
    return view_.has_package(product, package, v);
  }
  Result<PackageVersions> package_versions(std::string_view product,
                                           const std::set<std::string, std::less<>>& packages) const override {
    ++looks;
    return view_.package_versions(product, packages);
  }
  Result<std::vector<Reference>> references_of_digest(std::string_view product, const Digest& digest) const override {
    return view_.references_of_digest(product, digest);
  }
  mutable int looks = 0;

 private:
  const View& view_;
};

// However many packages have the path, in whatever order they came: the store's packages are looked at once.
TEST_F(Explained, ManyPackagesOfOnePathCostOneLook) {
  const Folder folder;
  std::vector<ReferencePackage> all;
  for (const std::string version : {"1", "2"})
    for (const std::string name : {"a", "b", "c", "d"}) {
      ReferencePackage p = package(debian, name, version, {{"/usr/share/common", name + version}});
      p.format = PackageFormat::deb;
      all.push_back(std::move(p));
    }
  ASSERT_TRUE(publish(folder / "refdb", std::move(all)));
  const auto view = open_view(folder / "refdb").value();
  const CountingView counting(*view);
  const Explanation e = explain(counting, debian, {"/usr/share/common", std::nullopt}).value();
  EXPECT_EQ(counting.looks, 1);
  ASSERT_EQ(e.references.size(), 8U);
  for (const ExplainedReference& r : e.references)
    EXPECT_EQ(r.superseded_by.has_value(), r.reference.version == "1") << r.reference.package;
}

TEST_F(Explained, WithoutAFormatNoVersionIsNewer) {
  const Folder folder;
  ASSERT_TRUE(publish(folder / "refdb", {bash("1", Layer::release, 1, PackageFormat::none),
                                         bash("2", Layer::release, 2, PackageFormat::none)}));
  const auto view = open_view(folder / "refdb").value();
  EXPECT_EQ(explain(*view, debian, {"/usr/bin/bash", sha256_of("bash 1")}).value().reason, Reason::known);
}

TEST_F(Explained, AProductThatIsNotThereIsAMistake) {
  const auto refused = explain(*view_, "Nothing", {"/usr/bin/bash", std::nullopt});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::usage);
}

}  // namespace
}  // namespace gatehouse::refdb
