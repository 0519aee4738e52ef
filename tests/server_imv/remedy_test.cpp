// Remediation texts and their limits.
#include "server/imv/remedy.h"

#include <gtest/gtest.h>

namespace gatehouse::server {
namespace {

std::vector<std::string> names(std::size_t n) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back("item" + std::to_string(10000 + i));
  return out;
}

TEST(RemedyText, HasNoItemsWithoutAHeader) {
  const Remedy one[] = {{"T", "D", ""}};
  EXPECT_EQ(remedy_text(one, RemedyForm::plain, 100), "T\n  D");
  EXPECT_EQ(remedy_text(one, RemedyForm::xml, 1000),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<remediationinstructions>\n  <instruction>\n    <title>T</title>\n"
            "    <description>D</description>\n  </instruction>\n</remediationinstructions>");
  EXPECT_EQ(remedy_text({}, RemedyForm::plain, 100), "");
}

TEST(RemedyText, NeverExceedsItsLimitAndAccountsForEveryItem) {
  for (const RemedyForm form : {RemedyForm::plain, RemedyForm::xml}) {
    const Remedy two[] = {{"T", "D", "H", names(50)}, {"T2", "D2", ""}, {"T3", "D3", "H3", names(7), 5}};
    const std::size_t least = remedy_text(two, form, 0).size();
    for (std::size_t limit = least + 64; limit < least + 4000; ++limit) {
      const std::string text = remedy_text(two, form, limit);
      ASSERT_LE(text.size(), limit);
      std::size_t shown = 0, left_out = 0;
      for (std::size_t at = 0; (at = text.find("item1", at)) != text.npos; ++at) ++shown;
      for (std::size_t at = 0; (at = text.find("... (+", at)) != text.npos; ++at) left_out += std::stoul(text.substr(at + 6));
      ASSERT_EQ(shown + left_out, 50U + 7 + 5) << limit;
    }
  }
}

TEST(RemedyText, OfAPeerCantBreakTheForm) {
  const Remedy one[] = {{"T", "D", "H", {std::string("a\nb\x01\xff</item>", 12)}}};
  EXPECT_EQ(remedy_text(one, RemedyForm::plain, 1000), "T\n  D\n  H\n    a\\x0Ab\\x01\\xFF</item>");
  EXPECT_NE(remedy_text(one, RemedyForm::xml, 1000).find("<item>a\\x0Ab\\x01\\xFF&lt;/item&gt;</item>"), std::string::npos);
}

}  // namespace
}  // namespace gatehouse::server
