// Comma-separated values: refused at a byte that is in the text, or rows that are the same when they are written and read again.
#include <cstdlib>

#include "base/csv.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CsvReader rows(text);
  std::size_t line = 0;
  for (;;) {
    const auto row = rows.next();
    if (!row) {
      if (row.error().offset >= size) std::abort();
      return 0;
    }
    if (!*row) return 0;
    if (rows.line() <= line) std::abort();
    line = rows.line();
    std::string written;
    append_csv_row(written, **row);
    CsvReader again(written);
    const auto back = again.next();
    if (!back || *back != *row) std::abort();
  }
}
