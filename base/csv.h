// Comma-separated values as RFC 4180 has them: rows of fields, a field in quotes may hold commas, line ends and doubled
// quotes. A UTF-8 byte order mark is skipped, lines end with CRLF or LF, empty lines are skipped.
//
//   CsvReader rows(text);
//   GH_TRY(auto row, rows.next());   // nullopt: that was all
//   append_csv_row(out, {"8a1b…", "Debian 12, x86_64"});
//
// What is read is bounded: 64 fields a row, 1 MiB a field. Fault::malformed names the byte.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gatehouse {

class CsvReader {
 public:
  // The text outlives the reader.
  explicit CsvReader(std::string_view text);
  Result<std::optional<std::vector<std::string>>> next();
  // Where the row that was read last began, from 1.
  std::size_t line() const { return line_; }

 private:
  Result<std::string> field();
  Result<std::string> quoted();

  std::string_view text_;
  std::size_t at_ = 0, line_ = 0, next_line_ = 1;
};

// One row with its line end (CRLF). A field is quoted where it has to be.
void append_csv_row(std::string& out, std::span<const std::string> fields);

}  // namespace gatehouse
