#include "server/policy/times.h"

#include <gtest/gtest.h>

#include "server/policy/distinguished_name.h"
#include "server/policy/policy.h"

namespace gatehouse::server::policy::times {  // files of tests are compiled together
namespace {

constexpr std::int64_t minute = 60'000, hour = 60 * minute, day = 24 * hour;
constexpr std::int64_t monday = 1'768'176'000'000;  // 2026-01-12T00:00:00Z

bool holds(std::string_view text, std::int64_t at) {
  TimeSpans spans;
  EXPECT_TRUE(spans.add(text)) << text;
  return spans.holds(at);
}

TEST(Times, AreSaidInWords) {
  EXPECT_EQ(time_text(monday), "2026-01-12T00:00:00Z");
  EXPECT_EQ(time_text(monday + 61'001), "2026-01-12T00:01:01Z");
}

TEST(Times, OfTheWeekBeginWithTheFirstMinuteAndEndBeforeTheLast) {
  EXPECT_FALSE(holds("Mon-Fri 07:00-19:00", monday + 7 * hour - 1));
  EXPECT_TRUE(holds("Mon-Fri 07:00-19:00", monday + 7 * hour));
  EXPECT_TRUE(holds("Mon-Fri 07:00-19:00", monday + 4 * day + 19 * hour - 1));
  EXPECT_FALSE(holds("Mon-Fri 07:00-19:00", monday + 4 * day + 19 * hour));
  EXPECT_FALSE(holds("Mon-Fri 07:00-19:00", monday + 5 * day + 12 * hour));
  EXPECT_TRUE(holds("Sat,Sun 00:00-24:00", monday - 1));
  EXPECT_FALSE(holds("Sat,Sun 00:00-24:00", monday));
  EXPECT_TRUE(holds("Fri-Mon 12:00-13:00", monday + 12 * hour));  // over the week's end
  EXPECT_FALSE(holds("Fri-Mon 12:00-13:00", monday + day + 12 * hour));
}

TEST(Times, MayGoIntoTheNextDayAndStandInAnotherZone) {
  EXPECT_TRUE(holds("Sun 22:00-06:00", monday + 6 * hour - 1));
  EXPECT_FALSE(holds("Sun 22:00-06:00", monday + 6 * hour));
  EXPECT_TRUE(holds("* 22:00-06:00", monday + 3 * day + 23 * hour));
  EXPECT_TRUE(holds("Mon 00:00-01:00 +01:00", monday - 1));  // Sunday 23:59 in UTC
  EXPECT_FALSE(holds("Mon 00:00-01:00 +01:00", monday));
  EXPECT_TRUE(holds("Mon 00:00-01:00 -05:00", monday + 5 * hour));
}

TEST(Times, MayBeOnce) {
  const char* const span = "2026-01-11T23:00Z/2026-01-12T02:00+01:00";
  EXPECT_FALSE(holds(span, monday - hour - 1));
  EXPECT_TRUE(holds(span, monday - hour));
  EXPECT_TRUE(holds(span, monday + hour - 1));
  EXPECT_FALSE(holds(span, monday + hour));
}

TEST(Times, ThatAreNoneAreRefused) {
  for (const char* const text :
       {"", "Mon", "Mon ", "Mon 07:00", "Mon 07:00-", "Mon 7:00-19:00", "Mon 07:00-07:00", "Mon 24:00-01:00", "Mon 07:60-08:00",
        "Mon 07:00-25:00", "Mon 07:00-19:00 ", "Mon 07:00-19:00 CET", "Mon 07:00-19:00 +15:00", "Mon 07:00-19:00 +01:00x", "mon 07:00-19:00",
        "Mon- 07:00-19:00", "Mon, 07:00-19:00", "Mo-Fr 07:00-19:00", "2026-12-01T20:00Z", "2026-12-01T20:00/2026-12-02T04:00Z",
        "2026-02-30T20:00Z/2026-12-02T04:00Z", "2026-12-02T20:00Z/2026-12-01T20:00Z", "2026-12-01T20:00Z/2026-12-02T04:00Zx"}) {
    TimeSpans spans;
    EXPECT_FALSE(spans.add(text)) << text;
    EXPECT_TRUE(spans.empty());
  }
  TimeSpans many;
  for (std::size_t i = 0; i < max_time_spans; ++i) EXPECT_TRUE(many.add("* 00:00-12:00"));
  EXPECT_FALSE(many.add("* 00:00-12:00"));
}

std::string values(std::string_view name, std::string_view type) {
  std::string out;
  any_attribute(name, type, [&](std::string_view value) {
    (out += out.empty() ? "" : "|") += value;
    return false;
  });
  return out;
}

TEST(DistinguishedNames, HaveAttributesAndNotTextThatLooksLikeThem) {
  EXPECT_EQ(values("CN=host7,OU=Kassel+OU=Lab,O=Example", "ou"), "Kassel|Lab");
  EXPECT_EQ(values("CN=host7,O=Example", "O"), "Example");
  EXPECT_EQ(values("CN=host7\\,O=Example,C=DE", "O"), "") << "it is in the common name";
  EXPECT_EQ(values("CN=host7\\,O=Example,C=DE", "CN"), "host7,O=Example");
  EXPECT_EQ(values("CN=a\\2Cb\\+c,2.5.4.97=#0C024142", "2.5.4.97"), "#0C024142");
  EXPECT_EQ(values("CN=a\\2Cb\\+c", "CN"), "a,b+c");
  EXPECT_EQ(values("CN=", "CN"), "");
}

TEST(DistinguishedNames, ThatAreNoneHaveNoAttributes) {
  for (const char* const name : {"CN", "=x", "CN=x,", "CN=x,O", "CN=x\\", "C N=x", "CN=x,,O=CN"}) {
    EXPECT_EQ(values(name, "CN"), "") << name;
    EXPECT_EQ(values(name, "O"), "") << name;
  }
  EXPECT_EQ(values("CN=x,O=" + std::string(1024, 'y'), "CN"), "") << "the name was cut";
}

TEST(CertificatePatterns, WantAllTheirAttributes) {
  const CertificatePattern pattern{{{"O", "Example"}, {"OU", "Serv*"}}};
  EXPECT_TRUE(pattern.matches("certificate", "CN=h,OU=Servers,O=Example", {}));
  EXPECT_TRUE(pattern.matches("certificate", "O=Example,OU=Desk,OU=Servers,CN=h", {})) << "in any order";
  EXPECT_FALSE(pattern.matches("certificate", "CN=h,OU=Servers,O=Example Two", {}));
  EXPECT_FALSE(pattern.matches("certificate", "CN=h\\,OU=Servers,O=Example", {}));
  EXPECT_FALSE(pattern.matches("password", "CN=h,OU=Servers,O=Example", {}));
  EXPECT_FALSE(pattern.matches("certificate", "", {}));
}

}  // namespace
}  // namespace gatehouse::server::policy::times
