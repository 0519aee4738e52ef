#include "wire/swima/tag.h"

#include <utility>

#include "wire/swima/xml.h"

namespace gatehouse::swima {
namespace {

constexpr std::string_view white = " \t\r\n";

bool has_word(std::string_view list, std::string_view word) {
  for (std::size_t at = 0; (at = list.find_first_not_of(white, at)) != list.npos;) {
    const std::string_view one = list.substr(at, list.find_first_of(white, at) - at);
    if (one == word) return true;
    at += one.size();
  }
  return false;
}

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(white);
  if (begin == text.npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(white) - begin + 1));
}

class TagReader final : XmlScanner {
 public:
  TagReader(std::string_view text, TagFormat format) : XmlScanner(text, max_tag_bytes), format_(format) {}

  Result<TagIdentity> read() {
    GH_CHECK(scan());
    if (identity_.tag_id.empty()) return stop("SWID tag without a tag id", 0);
    if (identity_.creator.empty()) return stop("SWID tag without its creator's regid", 0);
    return std::move(identity_);
  }

 private:
  // Of an attribute without a namespace; empty where there is none.
  Result<std::string> value(std::span<const XmlAttribute> attributes, std::string_view name) const {
    for (const XmlAttribute& a : attributes)
      if (a.name == name) return decoded(a);
    return std::string();
  }

  Result<void> begin(std::string_view element, std::span<const XmlAttribute> attributes, std::size_t start) override {
    const std::string_view its = local(element);
    if (format_ == TagFormat::iso_2015) {
      if (open().empty()) {
        if (its != "SoftwareIdentity") return stop("not a SWID tag of 2015", start);
        GH_TRY(identity_.tag_id, value(attributes, "tagId"));
      } else if (open().size() == 1 && its == "Entity") {
        GH_TRY(const std::string role, value(attributes, "role"));
        if (!has_word(role, "tagCreator")) return {};
        if (std::exchange(creator_seen_, true)) return stop("SWID tag with two creators", start);
        GH_TRY(identity_.creator, value(attributes, "regid"));
      }
      return {};
    }
    if (open().empty() && its != "software_identification_tag") return stop("not a SWID tag of 2009", start);
    if (open().size() != 2 || local(open().back()) != "software_id") return {};
    std::string* const wanted = its == "unique_id"           ? &identity_.tag_id
                                : its == "tag_creator_regid" ? &identity_.creator
                                                             : nullptr;
    if (wanted == nullptr) return {};
    if (!wanted->empty()) return stop("SWID tag with two identities", start);
    collecting_ = wanted;
    return {};
  }

  void end() override {
    if (collecting_ == nullptr || open().size() != 2) return;
    *collecting_ = trimmed(*collecting_);
    collecting_ = nullptr;
  }
  void characters(std::string_view text) override { *collecting_ += text; }
  bool wants_characters() const override { return collecting_ != nullptr; }

  const TagFormat format_;
  bool creator_seen_ = false;
  std::string* collecting_ = nullptr;  // text of the element that is open
  TagIdentity identity_;
};

}  // namespace

std::optional<TagFormat> tag_format(const SoftwareRecord& record) {
  if (record.model_vendor != 0 || record.model_type > 1) return std::nullopt;
  return TagFormat(record.model_type);
}

Result<TagIdentity> parse_tag_identity(Bytes tag, TagFormat format) { return TagReader(as_text(tag), format).read(); }

}  // namespace gatehouse::swima
