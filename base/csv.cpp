#include "base/csv.h"

#include <algorithm>

namespace gatehouse {
namespace {

constexpr std::string_view rfc4180 = "RFC 4180 2", byte_order_mark = "\xEF\xBB\xBF";
constexpr std::size_t max_fields = 64, max_field_bytes = std::size_t(1) << 20;

std::unexpected<Error> wrong(std::string_view reason, std::size_t at, Fault fault = Fault::malformed) {
  return fail(Error{fault, reason, rfc4180, at, {}, {}});
}

}  // namespace

CsvReader::CsvReader(std::string_view text) : text_(text) {
  if (text_.starts_with(byte_order_mark)) at_ = 3;
}

Result<std::string> CsvReader::quoted() {
  const std::size_t begin = at_++;
  std::string out;
  while (at_ < text_.size()) {
    const char c = text_[at_++];
    if (c == '\n') ++next_line_;
    if (c == '"') {
      if (at_ == text_.size() || text_[at_] != '"') return out;
      ++at_;
    }
    if (out.size() == max_field_bytes) return wrong("field longer than 1 MiB", begin, Fault::limit);
    out += c;
  }
  return wrong("a quoted field that doesn't end", begin);
}

Result<std::string> CsvReader::field() {
  if (at_ < text_.size() && text_[at_] == '"') {
    GH_TRY(std::string out, quoted());
    const std::string_view rest = text_.substr(at_);
    if (!rest.empty() && rest[0] != ',' && rest[0] != '\n' && !rest.starts_with("\r\n") && rest != "\r")
      return wrong("text behind a quoted field", at_);
    return out;
  }
  const std::size_t begin = at_;
  at_ = std::min(text_.find_first_of(",\n\"", at_), text_.size());
  if (at_ < text_.size() && text_[at_] == '"') return wrong("a quote within a field that isn't quoted", at_);
  std::string_view out = text_.substr(begin, at_ - begin);
  // Of the line end; where a comma follows it belongs to the field.
  if (out.ends_with('\r') && (at_ == text_.size() || text_[at_] == '\n')) out.remove_suffix(1);
  if (out.size() > max_field_bytes) return wrong("field longer than 1 MiB", begin, Fault::limit);
  return std::string(out);
}

Result<std::optional<std::vector<std::string>>> CsvReader::next() {
  while (at_ < text_.size()) {
    line_ = next_line_;
    const std::size_t begin = at_;
    std::vector<std::string> row;
    for (;;) {
      if (row.size() == max_fields) return wrong("more than 64 fields in a row", begin, Fault::limit);
      GH_TRY(std::string one, field());
      row.push_back(std::move(one));
      if (text_.substr(at_).starts_with("\r\n")) ++at_;
      if (at_ == text_.size() || text_[at_] != ',') break;
      ++at_;
    }
    const bool quoted_row = text_[begin] == '"';
    if (text_.substr(at_) == "\r") ++at_;
    if (at_ < text_.size()) {
      ++at_;
      ++next_line_;
    }
    if (row.size() > 1 || !row.front().empty() || quoted_row) return row;
  }
  return std::nullopt;
}

void append_csv_row(std::string& out, std::span<const std::string> fields) {
  bool first = true;
  for (const std::string& field : fields) {
    if (!first) out += ',';
    const bool alone = fields.size() == 1 && field.empty();  // an empty line is no row
    first = false;
    // At the start of a text it would be taken for the text's.
    const bool marked = field.starts_with(byte_order_mark);
    if (!alone && !marked && field.find_first_of(",\"\r\n") == std::string::npos) {
      out += field;
      continue;
    }
    out += '"';
    for (const char c : field) {
      if (c == '"') out += '"';
      out += c;
    }
    out += '"';
  }
  out += "\r\n";
}

}  // namespace gatehouse
