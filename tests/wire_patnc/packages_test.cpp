// Installed Packages, read while segments arrive.
#include <gtest/gtest.h>

#include "base/hex.h"
#include "examples.h"
#include "wire/patnc/attributes.h"
#include "wire/patnc/segmentation.h"

namespace gatehouse::patnc {
namespace {

using Packages = std::vector<std::pair<std::string, std::string>>;

// Feeds the pieces and returns what came out.
Result<Packages> read(PackagesCursor& cursor, std::span<const Bytes> pieces) {
  Packages out;
  for (const Bytes piece : pieces) {
    cursor.feed(piece);
    for (;;) {
      GH_TRY(const Package* package, cursor.next());
      if (package == nullptr) break;
      out.emplace_back(package->name, package->version);
    }
  }
  GH_CHECK(cursor.end());
  return out;
}

TEST(InstalledPackages, ComeOutAsTheirSegmentsArrive) {
  const ByteVector base = from_hex(examples::packages_attribute).value();
  PackagesCursor cursor(attribute_header_size);
  std::size_t expected = 0;
  ByteVector together;
  for (const std::string_view hex : {examples::segment_1, examples::segment_2, examples::segment_3}) {
    const ByteVector bytes = from_hex(hex).value();
    Reader r(bytes, "test");
    Attribute a;
    ASSERT_FALSE(parse_attribute(r, a));
    Reader value(a.value, "test");
    const auto envelope = parse_envelope(value).value();
    together.insert(together.end(), envelope.segment.begin(), envelope.segment.end());
    const bool first = (envelope.flags & first_segment) != 0;
    cursor.feed(first ? envelope.segment.subspan(attribute_header_size) : envelope.segment);
    while (cursor.next().value() != nullptr) {
    }
    EXPECT_EQ(cursor.received(), ++expected);
    EXPECT_EQ(cursor.to_follow(), 3 - expected);

    Writer again;
    append_envelope(again, envelope);
    EXPECT_TRUE(equal(again.view(), a.value));
  }
  EXPECT_TRUE(cursor.end());
  EXPECT_EQ(to_hex(together), examples::packages_attribute);

  const Package packages[] = {
      {"bash", "5.0-6ubuntu1.1"}, {"dpkg", "1.19.7ubuntu3"}, {"libssl1.1", "1.1.1f-1ubuntu2.13"}};
  Writer w;
  append_installed_packages(w, packages);
  EXPECT_EQ(to_hex(w.view()), examples::packages_attribute.substr(24));
}

TEST(InstalledPackages, AnyTwoCutsGiveTheSamePackages) {
  const ByteVector attribute = from_hex(examples::packages_attribute).value();
  const Bytes value = Bytes(attribute).subspan(attribute_header_size);
  const Packages expected = {
      {"bash", "5.0-6ubuntu1.1"}, {"dpkg", "1.19.7ubuntu3"}, {"libssl1.1", "1.1.1f-1ubuntu2.13"}};
  for (std::size_t a = 0; a <= value.size(); ++a)
    for (std::size_t b = a; b <= value.size(); ++b) {
      const Bytes pieces[] = {value.first(a), value.subspan(a, b - a), value.subspan(b)};
      PackagesCursor cursor(0);
      EXPECT_EQ(read(cursor, pieces).value(), expected) << a << " " << b;
    }
}

TEST(InstalledPackages, AnErrorStays) {
  const ByteVector value = from_hex("00000002016101310200620132").value();
  PackagesCursor cursor(12);
  cursor.feed(value);
  EXPECT_EQ(cursor.next().value()->name, "a");
  EXPECT_EQ(cursor.next().error().offset, 12U + 9U);
  cursor.feed(value);
  EXPECT_EQ(cursor.next().error().offset, 12U + 9U);
  EXPECT_EQ(cursor.end().error().offset, 12U + 9U);
}

TEST(InstalledPackages, LongNamesAreCutAndSurplusPackagesLeftOut) {
  const std::string name(300, 'n');
  const std::vector<Package> packages(65'537, Package{name, "1"});
  Writer w;
  append_installed_packages(w, packages);
  Reader r(w.view(), "test");
  std::size_t n = 0;
  const auto header =
      parse_records(r, PackagesFormat{}, [&](const Package& p) { n += p.name.size() == 255 && p.version == "1"; });
  EXPECT_EQ(header.value().count, 65'535);
  EXPECT_EQ(n, 65'535U);
}

}  // namespace
}  // namespace gatehouse::patnc
