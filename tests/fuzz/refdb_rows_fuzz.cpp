// libraries: gatehouse_refdb_store
#include "refdb/store/file_rows.h"
#include "refdb/store/index_rows.h"

using namespace gatehouse;
using namespace gatehouse::refdb;

namespace {

// Files that can be read are the same after they were written again.
void check_files(std::string_view rows) {
  FileReader reader(rows);
  FileWriter writer;
  std::string before, again;
  std::vector<std::string> logical;
  while (const FileRow* const row = reader.next()) {
    writer.append(again, *row);
    row->append_logical(logical.emplace_back());
  }
  FileReader second(again);
  for (const std::string& wanted : logical) {
    const FileRow* const row = second.next();
    GH_ASSERT(row != nullptr);
    before.clear();
    row->append_logical(before);
    GH_ASSERT(before == wanted);
  }
  GH_ASSERT(second.done());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      check_files(rest);
      break;
    case 1: {
      Totals totals;
      if (decode(rest, totals)) GH_ASSERT(encode(totals) == rest);
      break;
    }
    case 2: {
      Package package;
      if (decode(rest, package)) GH_ASSERT(encode(package) == rest);
      break;
    }
    default: {
      const unsigned bits = data[0] / 4 % 33;
      std::vector<Entry> entries;
      std::vector<std::uint32_t> numbers;
      if (!read_bucket(rest, bits, 0, entries)) break;
      GH_ASSERT(find_in_bucket(rest, bits, entries.empty() ? 0 : entries.front().hash(), numbers));
    }
  }
  return 0;
}
