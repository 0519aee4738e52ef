#include "wire/swima/tag.h"
#include "wire/swima/xml.h"

#include <gtest/gtest.h>

namespace gatehouse::swima {
namespace {

// As a package manager's generator writes one.
const std::string whole =
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
    "<!-- made on request -->\n"
    "<SoftwareIdentity xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\" name=\"bash\" "
    "tagId='Debian_12-x86_64-bash-5.2.15-2+b7' version=\"5.2.15-2+b7\">\n"
    "  <Entity name=\"A &amp; B\" regid=\"packager.example\" role=\"softwareCreator\"/>\n"
    "  <Entity name=\"C\" role=\"distributor tagCreator\" regid=\"strongswan.org\"></Entity>\n"
    "  <Payload><Directory root=\"/\"><File name=\"bash\" size=\"1265648\"/></Directory></Payload>\n"
    "</SoftwareIdentity>\n";

Result<TagIdentity> read(std::string_view text, TagFormat format = TagFormat::iso_2015) {
  return parse_tag_identity(as_bytes(text), format);
}
std::string refusal(std::string_view text, TagFormat format = TagFormat::iso_2015) {
  const auto identity = read(text, format);
  return identity ? "read as " + identity->identifier() : std::string(identity.error().reason);
}
std::string around(std::string_view content) {
  return "<SoftwareIdentity tagId=\"t\"><Entity regid=\"r\" role=\"tagCreator\"/>" + std::string(content) +
         "</SoftwareIdentity>";
}

TEST(SwidTag, TellsWhoMadeItAndWhatItIs) {
  const auto identity = read(whole);
  ASSERT_TRUE(identity) << identity.error().text();
  EXPECT_EQ(identity->creator, "strongswan.org");
  EXPECT_EQ(identity->tag_id, "Debian_12-x86_64-bash-5.2.15-2+b7");
  EXPECT_EQ(identity->identifier(), "strongswan.org__Debian_12-x86_64-bash-5.2.15-2+b7");
}

TEST(SwidTag, OfTheOlderStandardToo) {
  const std::string old =
      "<swid:software_identification_tag xmlns:swid='http://standards.iso.org/iso/19770/-2/2009/schema.xsd'>"
      "<swid:tag_creator><swid:regid>other.example</swid:regid></swid:tag_creator>"
      "<swid:software_id><swid:unique_id>\n  bash-<![CDATA[5]]>.2&#x2d;1 </swid:unique_id>"
      "<swid:tag_creator_regid>regid.2009-01.org.example</swid:tag_creator_regid></swid:software_id>"
      "</swid:software_identification_tag>";
  const auto identity = read(old, TagFormat::iso_2009);
  ASSERT_TRUE(identity) << identity.error().text();
  EXPECT_EQ(identity->identifier(), "regid.2009-01.org.example__bash-5.2-1");
  EXPECT_EQ(refusal(old), "not a SWID tag of 2015");
  EXPECT_EQ(refusal(whole, TagFormat::iso_2009), "not a SWID tag of 2009");
}

TEST(SwidTag, NamesAreDecodedOnceAndFoundWhereverTheyMayStand) {
  EXPECT_EQ(read("\xef\xbb\xbf<s:SoftwareIdentity\n\ttagId = '&lt;&#65;&#x1F600;&amp;lt;&gt;&quot;&apos;' ><s:Entity "
                 "role='tagCreator'\r\nregid='r'/></s:SoftwareIdentity >")
                ->identifier(),
            "r__<A\xF0\x9F\x98\x80&lt;>\"'");
  // An attribute of another name, an entity that isn't a child, another role: none of them is the identity.
  EXPECT_EQ(refusal("<SoftwareIdentity x:tagId='t'/>"), "SWID tag without a tag id");
  EXPECT_EQ(
      refusal("<SoftwareIdentity tagId='t'><Meta><Entity regid='r' role='tagCreator'/></Meta></SoftwareIdentity>"),
      "SWID tag without its creator's regid");
  EXPECT_EQ(refusal("<SoftwareIdentity tagId='t'><Entity regid='r' role='tagCreators'/></SoftwareIdentity>"),
            "SWID tag without its creator's regid");
  EXPECT_EQ(refusal("<!-- <SoftwareIdentity tagId='t'/> -->"), "SWID tag without an element");
  EXPECT_EQ(refusal("<SoftwareIdentity><![CDATA[<Entity regid='r' role='tagCreator'/>]]></SoftwareIdentity>"),
            "SWID tag without a tag id");
}

TEST(SwidTag, NothingIsReadOrExpandedThatTheTagNames) {
  EXPECT_EQ(refusal("<!DOCTYPE s [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><SoftwareIdentity tagId='&e;'/>"),
            "document type declarations aren't allowed");
  EXPECT_EQ(refusal("<SoftwareIdentity tagId='&e;'/>"), "unknown entity");
  EXPECT_EQ(refusal("<SoftwareIdentity tagId='&#0;'/>"), "unknown entity");
  EXPECT_EQ(refusal("<SoftwareIdentity tagId='&#xD800;'/>"), "unknown entity");
  EXPECT_EQ(refusal("<SoftwareIdentity tagId='&#99999999999;'/>"), "malformed reference");
  EXPECT_EQ(refusal("<SoftwareIdentity tagId='&amp'/>"), "malformed reference");
}

TEST(SwidTag, AmbiguousOrBrokenTagsAreRefused) {
  const auto at = [](std::string_view text) { return read(text).error().offset; };
  EXPECT_EQ(refusal("<SoftwareIdentity tagId='a' tagId='b'/>"), "attribute twice");
  EXPECT_EQ(at("<SoftwareIdentity tagId='a' tagId='b'/>"), 28U);
  EXPECT_EQ(refusal(around("<Entity regid='q' role='tagCreator'/>")), "SWID tag with two creators");
  EXPECT_EQ(refusal(around("") + around("")), "more than one root element");
  EXPECT_EQ(refusal(around("") + "x"), "text outside of the root element");
  EXPECT_EQ(refusal("x" + around("")), "text outside of the root element");
  EXPECT_EQ(refusal(around("<a></b>")), "elements that don't nest");
  EXPECT_EQ(refusal(around("</a>")), "elements that don't nest");
  EXPECT_EQ(refusal(around("<a b='<'/>")), "'<' in an attribute value");
  EXPECT_EQ(refusal(around("<a b/>")), "attribute without a value");
  EXPECT_EQ(refusal(around("<a b='1'c='2'/>")), "malformed element");
  EXPECT_EQ(refusal(around("<1/>")), "a name was expected");
  EXPECT_EQ(refusal(around("\xff")), "SWID tag isn't UTF-8");
  EXPECT_EQ(refusal(around(std::string_view("\0", 1))), "NUL in a SWID tag");
  EXPECT_EQ(refusal("<?xml version='1.0' encoding='ISO-8859-1'?>" + around("")),
            "SWID tag in another encoding than UTF-8");
  EXPECT_EQ(refusal(""), "SWID tag without an element");
  EXPECT_EQ(refusal("<SoftwareIdentity tagId='t' regid='r'/>"), "SWID tag without its creator's regid");
}

TEST(SwidTag, EveryTruncationIsRefusedInsideItsBytes) {
  const std::size_t complete = whole.rfind('>') + 1;
  for (std::size_t n = 0; n < complete; ++n) {
    const auto identity = read(std::string_view(whole).substr(0, n));
    ASSERT_FALSE(identity) << n;
    ASSERT_LE(identity.error().offset, n);
  }
}

TEST(SwidTag, DepthAndSizeAreBounded) {
  const auto nested = [](std::size_t levels) {
    std::string inner;
    for (std::size_t i = 0; i < levels; ++i) inner += "<a>";
    for (std::size_t i = 0; i < levels; ++i) inner += "</a>";
    return around(inner);
  };
  EXPECT_TRUE(read(nested(max_tag_depth - 1)));
  const auto deep = read(nested(max_tag_depth));
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().fault, Fault::limit);
  const std::size_t rest = max_tag_bytes - around("").size();
  EXPECT_TRUE(read(around(std::string(rest, ' '))));
  const auto large = read(around(std::string(rest + 1, ' ')));
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().fault, Fault::limit);
}

}  // namespace
}  // namespace gatehouse::swima
