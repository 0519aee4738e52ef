#include <algorithm>
#include <array>

#include "endpoint/inventory/packages.h"

namespace gatehouse::endpoint {
namespace {

constexpr std::string_view spec = "deb-control(5)";
constexpr std::size_t max_paragraph_bytes = std::size_t(1) << 20;

char lower(char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; }
bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}
std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}
bool blank(std::string_view line) { return trimmed(line).empty(); }

// Takes the line that `text` begins with, without its end.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

// What is read of a paragraph.
enum Field : std::size_t { name, status, version, architecture, fields };
constexpr std::array<std::string_view, fields> field_names = {"Package", "Status", "Version", "Architecture"};

class Paragraph {
 public:
  explicit Paragraph(std::size_t offset) : offset_(offset) {}

  void add(std::string_view line) {
    bytes_ += line.size() + 1;
    if (bytes_ > max_paragraph_bytes) return wrong("paragraph larger than 1 MiB");
    const bool goes_on = line.front() == ' ' || line.front() == '\t';
    if (goes_on) {
      if (fields_seen_ == 0) return wrong("paragraph begins with a continued line");
    } else {
      ++fields_seen_;
      const std::size_t colon = line.find(':');
      if (colon == std::string_view::npos || colon == 0) return wrong("line without a field's name");
      state_ = same_name(line.substr(0, colon), field_names[status]);
      for (std::size_t i = 0; i < fields; ++i)
        if (same_name(line.substr(0, colon), field_names[i])) take(i, trimmed(line.substr(colon + 1)));
    }
    // What dpkg is about to do changes its state only.
    if (!state_) {
      hasher_.update(as_bytes(line));
      hasher_.update(as_bytes("\n"));
    }
  }

  // Absent: not installed.
  Result<std::optional<Package>> finish() {
    if (!reason_.empty()) return fail(Error{Fault::malformed, reason_, spec, offset_, {}, {}});
    for (const Field needed : {name, status})
      if (!seen_[needed])
        return fail(Error{Fault::malformed, "paragraph without a Package or Status field", spec, offset_, {}, {}});
    // Want, error flag, status (dpkg's lib/dpkg/parse.h): "install ok installed".
    std::array<std::string_view, 3> words;
    std::string_view rest = values_[status];
    for (std::string_view& word : words) {
      word = rest.substr(0, rest.find_first_of(" \t"));
      rest = trimmed(rest.substr(word.size()));
    }
    if (!rest.empty() || words[2].empty())
      return fail(Error{Fault::malformed, "Status isn't three words", spec, offset_, {}, {}});
    if (words[1] != "ok" || words[2] != "installed") return std::nullopt;
    for (const Field one : {name, version, architecture})
      if (!acceptable_package_text(values_[one]))
        return fail(Error{Fault::malformed,
                          "installed package without a printable name, version or architecture",
                          spec,
                          offset_,
                          {},
                          {}});
    return Package{source_dpkg, std::string(values_[name]), std::string(values_[version]),
                   std::string(values_[architecture]), hasher_.finish()};
  }

 private:
  void take(std::size_t field, std::string_view value) {
    if (seen_[field]) return wrong("field given twice");
    seen_[field] = true;
    values_[field] = value;
  }
  void wrong(std::string_view reason) {
    if (reason_.empty()) reason_ = reason;
  }

  std::size_t offset_, bytes_ = 0, fields_seen_ = 0;
  bool state_ = false;  // the line belongs to Status
  std::string_view reason_;
  std::array<std::string_view, fields> values_;
  std::array<bool, fields> seen_{};
  Hasher hasher_{HashAlgorithm::sha256};
};

}  // namespace

bool acceptable_package_text(std::string_view text) {
  return !text.empty() && text.size() <= max_package_text &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

Result<DpkgStatus> parse_dpkg_status(Bytes file) {
  const std::string_view all = as_text(file);
  std::string_view rest = all;
  DpkgStatus out;
  while (!rest.empty()) {
    Paragraph paragraph(all.size() - rest.size());
    std::size_t lines = 0;
    while (!rest.empty()) {
      const std::string_view line = take_line(rest);
      if (blank(line)) break;
      ++lines;
      paragraph.add(line);
    }
    if (lines == 0) continue;
    auto package = paragraph.finish();
    if (!package) {
      if (out.skipped++ == 0) out.first = std::move(package).error();
      continue;
    }
    if (!*package) continue;
    if (out.packages.size() >= max_packages)
      return fail(Error{Fault::limit, "more than 200,000 packages", spec, all.size() - rest.size(), {}, {}});
    out.packages.push_back(*std::move(*package));
  }
  return out;
}

}  // namespace gatehouse::endpoint
