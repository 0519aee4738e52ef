#include "server/imv/remedy.h"

#include <cstdint>

#include "base/hex.h"

namespace gatehouse::server {
namespace {

// The pieces of a text in one of the forms.
struct Form {
  RemedyForm form;

  bool is_xml() const { return form == RemedyForm::xml; }
  std::string begin() const {
    return is_xml() ? "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<remediationinstructions>\n" : "";
  }
  std::string end() const { return is_xml() ? "</remediationinstructions>" : ""; }
  std::string between() const { return is_xml() ? "" : "\n"; }
  std::string opening(const Remedy& r) const {
    if (!is_xml()) {
      std::string out = std::string(r.title) + "\n  " + std::string(r.description);
      return r.header.empty() ? out : out + "\n  " + std::string(r.header);
    }
    const std::string out = "  <instruction>\n    <title>" + xml_escaped(r.title) + "</title>\n    <description>" +
                            xml_escaped(r.description) + "</description>\n";
    return r.header.empty() ? out : out + "    <itemsheader>" + xml_escaped(r.header) + "</itemsheader>\n    <items>\n";
  }
  std::string item(std::string_view text) const {
    return is_xml() ? "      <item>" + xml_escaped(text) + "</item>\n" : "\n    " + std::string(text);
  }
  std::string closing(const Remedy& r) const {
    if (!is_xml()) return "";
    return std::string(r.header.empty() ? "" : "    </items>\n") + "  </instruction>\n";
  }
};

std::string left_out(std::size_t count) { return "... (+" + std::to_string(count) + ")"; }

}  // namespace

std::string remedy_text(std::span<const Remedy> remedies, RemedyForm kind, std::size_t limit) {
  const Form form{kind};
  std::size_t used = form.begin().size() + form.end().size(), lists = 0;
  for (const Remedy& r : remedies) {
    used += form.between().size() + form.opening(r).size() + form.closing(r).size();
    if (!r.header.empty()) {
      used += form.item(left_out(SIZE_MAX)).size();
      ++lists;
    }
  }
  std::size_t room = used < limit ? limit - used : 0;
  std::string out = form.begin();
  bool first = true;
  for (const Remedy& r : remedies) {
    if (!first) out += form.between();
    first = false;
    out += form.opening(r);
    if (!r.header.empty()) {
      // Each list has its share of what the ones before have left.
      const std::size_t share = room / lists--;
      std::size_t taken = 0, shown = 0;
      for (; shown < r.items.size(); ++shown) {
        const std::string line = form.item(escaped(r.items[shown]));
        if (line.size() > share - taken) break;
        taken += line.size();
        out += line;
      }
      room -= taken;
      if (const std::size_t more = r.items.size() - shown + r.more; more != 0) out += form.item(left_out(more));
    }
    out += form.closing(r);
  }
  return out + form.end();
}

}  // namespace gatehouse::server
