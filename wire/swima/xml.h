// A scanner for the XML of SWID tags: UTF-8 without a document type declaration, so no entity but XML's own five is
// known and nothing outside the text is ever read. It checks that elements nest and attributes are unique; schema and
// validity are nobody's business here. Who derives from it is told of elements in order:
//
//   class Titles final : XmlScanner {
//    public:
//     explicit Titles(std::string_view text) : XmlScanner(text, 1 << 20) {}
//     using XmlScanner::scan;
//    private:
//     Result<void> begin(std::string_view element, std::span<const XmlAttribute> attributes, std::size_t at) override;
//     …
//   };
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse::swima {

inline constexpr std::size_t max_tag_depth = 64, max_tag_attributes = 256;

struct XmlAttribute {
  std::string_view name;  // with its namespace's prefix
  std::string_view raw;   // as it is written: XmlScanner::decoded()
  std::size_t at = 0;     // of the value
};

class XmlScanner {
 protected:
  // The text outlives the scanner.
  XmlScanner(std::string_view text, std::size_t limit_bytes) : text_(text), limit_bytes_(limit_bytes) {}
  virtual ~XmlScanner() = default;

  // Malformed at an offset, or Fault::limit: larger, deeper, or with more attributes than allowed.
  Result<void> scan();

  // An element begins at `at`; those that it is in are open, it isn't yet.
  virtual Result<void> begin(std::string_view element, std::span<const XmlAttribute> attributes, std::size_t at) = 0;
  // An element has ended and isn't open any longer.
  virtual void end() = 0;
  // Text of the element that is open, decoded; in one piece or more.
  virtual void characters(std::string_view text) = 0;
  // Whether characters() is of interest now: decoding costs.
  virtual bool wants_characters() const = 0;

  // With XML's five entities and character references resolved; `at` is where the text stands.
  Result<std::string> decoded(std::string_view raw, std::size_t at) const;
  Result<std::string> decoded(const XmlAttribute& a) const { return decoded(a.raw, a.at); }
  // Elements that are open, as they are written, outermost first.
  const std::vector<std::string_view>& open() const { return open_; }
  std::unexpected<Error> stop(std::string_view why, std::size_t at) const;

  // Without its namespace's prefix; and the prefix alone, empty for none.
  static std::string_view local(std::string_view name);
  static std::string_view prefix(std::string_view name);

 private:
  std::unexpected<Error> stop(std::string_view why) const { return stop(why, at_); }
  bool eat(std::string_view what);
  bool skip_white();
  Result<std::string_view> up_to(std::string_view end, std::string_view why);
  Result<void> declaration();
  Result<void> run(std::string_view text);
  Result<void> one_markup();
  Result<std::string_view> name();
  Result<void> start_tag(std::size_t start);
  Result<void> attribute();
  Result<void> end_tag(std::size_t start);

  const std::string_view text_;
  const std::size_t limit_bytes_;
  std::size_t at_ = 0;
  std::vector<std::string_view> open_;
  std::vector<XmlAttribute> attributes_;  // of the element being read
  bool rooted_ = false;
};

}  // namespace gatehouse::swima
