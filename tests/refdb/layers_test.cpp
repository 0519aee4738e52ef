// Layers of products: what they answer, whose references count in which product, and what was last seen when.
#include <map>

#include "refdb/store/generations.h"
#include "refdb/store/products.h"
#include "tests/refdb/support.h"

namespace gatehouse::refdb {
namespace {

const std::string debian = "Debian 12 x86_64", ubuntu = "Ubuntu 24.04 x86_64", tools = "Site tools";

ReferencePackage in(Layer layer, ReferencePackage p) {
  p.layer = layer;
  p.source += " of " + std::string(name(layer));
  return p;
}

std::vector<std::string> layers_of(const std::vector<Reference>& references) {
  std::vector<std::string> out;
  for (const Reference& r : references) out.push_back(r.product + "/" + std::string(name(r.layer)) + "/" + r.version);
  std::ranges::sort(out);
  return out;
}

Digest t_of(std::string_view content, std::string_view path) {
  return template_digest(HashAlgorithm::sha256, digest_of(HashAlgorithm::sha256, as_bytes(content)), path);
}
bool ok(const View& view, const std::string& product, std::string_view content, std::string_view path) {
  return find_template(view, product, HashAlgorithm::sha256, t_of(content, path)).value().found;
}

TEST(Layers, AllOfAProductCountAndAnAnswerSaysWhich) {
  const Folder folder;
  const std::string store = folder / "refdb";
  ASSERT_TRUE(publish(store, {in(Layer::release, package(debian, "bash", "1", {{"/usr/bin/bash", "old"}})),
                              in(Layer::security, package(debian, "bash", "1.1", {{"/usr/bin/bash", "new"}})),
                              in(Layer::site, package(debian, "tool", "3", {{"/opt/tool", "tool"}}))}));
  const auto view = open_view(store).value();
  EXPECT_EQ(view->products(), std::vector{debian});
  EXPECT_EQ(layers_of(view->references_of_path(debian, "/usr/bin/bash").value()),
            (std::vector<std::string>{debian + "/release/1", debian + "/security/1.1"}));
  const auto digest = digest_of(HashAlgorithm::sha256, as_bytes("tool"));
  for (const std::string& product : {debian, std::string()})
    EXPECT_EQ(layers_of(view->references_of_digest(product, digest).value()),
              (std::vector<std::string>{debian + "/site/3"}));
  for (const auto& [content, path] : {std::pair("old", "/usr/bin/bash"), {"new", "/bin/bash"}, {"tool", "/opt/tool"}})
    EXPECT_TRUE(ok(*view, debian, content, path)) << content;
  EXPECT_FALSE(ok(*view, debian, "other", "/usr/bin/bash"));
  EXPECT_TRUE(view->has_package(debian, "bash", "1.1").value());
  EXPECT_EQ(read_stats(store).value().products, 1U);
}

TEST(Layers, TheSamePackageMayComeInSeveral) {
  const Folder folder;
  const std::string store = folder / "refdb";
  const ReferencePackage p = package(debian, "bash", "1", {{"/usr/bin/bash", "old"}});
  ReferencePackage again = p;
  again.layer = Layer::updates;
  ASSERT_TRUE(publish(store, {p, again}));
  EXPECT_EQ(layers_of(open_view(store).value()->references_of_path(debian, "/usr/bin/bash").value()),
            (std::vector<std::string>{debian + "/release/1", debian + "/updates/1"}));
  EXPECT_FALSE(publish(store, {p, again}).value().changed);
}

TEST(Layers, MayHaveTheReferencesOfAnotherProduct) {
  const Folder folder;
  const std::string store = folder / "refdb";
  ASSERT_TRUE(publish(store, {package(debian, "bash", "1", {{"/usr/bin/bash", "old"}}),
                              package(tools, "tool", "3", {{"/opt/tool", "tool"}})}));
  const auto before = open_view(store).value();
  const std::string digest_before = read_stats(store).value().content_digest;
  for (const std::string& product : {debian, ubuntu})
    EXPECT_TRUE(include_products(store, {{{product, Layer::site}, tools}}).value().changed);
  EXPECT_FALSE(include_products(store, {{{debian, Layer::site}, tools}}).value().changed);
  EXPECT_FALSE(ok(*before, debian, "tool", "/opt/tool"));
  auto view = open_view(store).value();
  EXPECT_TRUE(ok(*view, debian, "tool", "/opt/tool"));
  EXPECT_TRUE(ok(*view, tools, "tool", "/opt/tool"));
  EXPECT_FALSE(ok(*view, tools, "old", "/usr/bin/bash"));
  // A product that has nothing of its own.
  EXPECT_TRUE(view->has_product(ubuntu));
  EXPECT_TRUE(ok(*view, ubuntu, "tool", "/opt/tool"));
  EXPECT_FALSE(ok(*view, ubuntu, "old", "/usr/bin/bash"));
  EXPECT_EQ(layers_of(view->references_of_path(debian, "/opt/tool").value()),
            (std::vector<std::string>{debian + "/site/3"}));
  const auto digest = digest_of(HashAlgorithm::sha256, as_bytes("tool"));
  EXPECT_EQ(layers_of(view->references_of_digest({}, digest).value()),
            (std::vector<std::string>{tools + "/release/3"}));
  // What the other product gets later counts, too.
  ASSERT_TRUE(publish(store, {package(tools, "tool", "4", {{"/opt/tool", "tool 4"}})}));
  view = open_view(store).value();
  EXPECT_TRUE(ok(*view, debian, "tool 4", "/opt/tool"));

  const auto listed = list_products(store).value();
  ASSERT_EQ(listed.size(), 3U);
  EXPECT_EQ(listed[0].product, debian);
  ASSERT_EQ(listed[0].layers.size(), 2U);
  EXPECT_EQ(listed[0].layers[1].from, tools);
  EXPECT_EQ(listed[0].layers[1].files, 2U);

  EXPECT_NE(read_stats(store).value().content_digest, digest_before);
  for (const std::string& product : {debian, ubuntu})
    EXPECT_TRUE(exclude_products(store, {{{product, Layer::site}, tools}}).value().changed);
  EXPECT_FALSE(exclude_products(store, {{{debian, Layer::site}, tools}}).value().changed);
  view = open_view(store).value();
  EXPECT_FALSE(ok(*view, debian, "tool", "/opt/tool"));
  EXPECT_FALSE(view->has_product(ubuntu));
  // Back in the generation that had it.
  ASSERT_TRUE(roll_back(store, 3));
  EXPECT_TRUE(ok(*open_view(store).value(), ubuntu, "tool", "/opt/tool"));
}

TEST(Layers, AProductIsNotInItself) {
  const Folder folder;
  const auto refused = include_products(folder / "refdb", {{{debian, Layer::site}, debian}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::usage);
  EXPECT_FALSE(include_products(folder / "refdb", {{{debian, Layer::site}, ""}}));
}

TEST(Layers, TheContentsDigestTellsThemApart) {
  const Folder folder;
  const ReferencePackage p = package(debian, "bash", "1", {{"/usr/bin/bash", "old"}});
  ReferencePackage other = p;
  other.layer = Layer::updates;
  EXPECT_NE(publish(folder / "a", {p}).value().content_digest, publish(folder / "b", {other}).value().content_digest);
}

TEST(Layers, AChangeOfLayersIsADifference) {
  const Folder folder;
  const std::string store = folder / "refdb";
  ASSERT_TRUE(publish(store, {package(debian, "bash", "1", {{"/usr/bin/bash", "old"}})}));
  ASSERT_TRUE(publish(store, {in(Layer::security, package(debian, "bash", "1.1", {{"/usr/bin/bash", "new"}}))}));
  std::vector<std::string> files;
  const auto diff = diff_generations(store, 1, 2, [&](const FileChange& f) {
    files.push_back(std::string(name(f.change)) + " " + std::string(name(f.layer)) + " " + f.path);
  });
  ASSERT_TRUE(diff);
  ASSERT_EQ(diff->packages.size(), 1U);
  EXPECT_EQ(diff->packages[0].layer, Layer::security);
  EXPECT_EQ(files, std::vector<std::string>{"added security /usr/bin/bash"});
}

class Sights : public ::testing::Test {
 protected:
  static ReferencePackage seen(const std::string& version, std::int64_t first) {
    ReferencePackage p = package(debian, "bash", version, {{"/usr/bin/bash", version}});
    p.source = "apt:mirror suite pool/bash_" + version + ".deb";
    p.identity = digest_of(HashAlgorithm::sha256, as_bytes(version));
    p.first_seen = first;
    return p;
  }
  // One run that finds these versions in the repository's state, which was taken before at `last`.
  Published run(const std::vector<std::string>& versions, std::int64_t now, std::int64_t last) {
    Builder builder = Builder::open(store_).value();
    for (const std::string& v : versions) EXPECT_TRUE(builder.add(seen(v, now)));
    EXPECT_TRUE(builder.note_unseen({debian}, "apt:mirror suite ", last, [&](const Digest& identity) {
      return std::ranges::any_of(versions, [&](const std::string& v) {
        return digest_of(HashAlgorithm::sha256, as_bytes(v)) == identity;
      });
    }));
    return builder.publish().value();
  }
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> sights() {
    std::map<std::string, std::pair<std::int64_t, std::int64_t>> out;
    const auto view = open_view(store_).value();
    const auto versions = view->package_versions(debian, {"bash"}).value().at("bash");
    for (const PackageVersion& v : versions)
      out[v.version] = {v.first_seen, v.last_seen};
    return out;
  }
  const Folder folder_;
  const std::string store_ = folder_ / "refdb";
  using Map = std::map<std::string, std::pair<std::int64_t, std::int64_t>>;
};

TEST_F(Sights, BeginWithTheFirstStateAndEndWithTheLast) {
  run({"1", "2"}, 100, 0);
  EXPECT_EQ(sights(), (Map{{"1", {100, 0}}, {"2", {100, 0}}}));
  EXPECT_TRUE(run({"2", "3"}, 200, 100).changed);
  EXPECT_EQ(sights(), (Map{{"1", {100, 100}}, {"2", {100, 0}}, {"3", {200, 0}}}));
  // Nothing came and nothing went.
  EXPECT_FALSE(run({"2", "3"}, 300, 200).changed);
  EXPECT_TRUE(run({"3"}, 400, 300).changed);
  EXPECT_EQ(sights(), (Map{{"1", {100, 100}}, {"2", {100, 300}}, {"3", {200, 0}}}));
  // One that is there again.
  EXPECT_TRUE(run({"1", "3"}, 500, 400).changed);
  EXPECT_EQ(sights(), (Map{{"1", {100, 0}}, {"2", {100, 300}}, {"3", {200, 0}}}));
  // Its references count all the time.
  EXPECT_TRUE(ok(*open_view(store_).value(), debian, "2", "/usr/bin/bash"));
}

TEST_F(Sights, OtherSourcesAndLayersAreLeftAlone) {
  run({"1"}, 100, 0);
  ReferencePackage file = package(debian, "bash", "9", {{"/usr/bin/bash", "9"}});
  ReferencePackage other = in(Layer::updates, seen("8", 100));
  other.source = "apt:mirror suite pool/bash_8.deb";
  ASSERT_TRUE(publish(store_, {file, other}));
  run({"2"}, 200, 150);
  EXPECT_EQ(sights(), (Map{{"1", {100, 150}}, {"2", {200, 0}}, {"8", {100, 0}}, {"9", {1'700'000'000, 0}}}));
}

}  // namespace
}  // namespace gatehouse::refdb
