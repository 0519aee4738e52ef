// libraries: gatehouse_refdb_ingest
#include "refdb/ingest/ingest.h"
#include "refdb/ingest/input.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes text(reinterpret_cast<const std::byte*>(data), size);
  const auto whole = refdb::read_sha256sums(text, "fuzz");
  const refdb::MemoryInput input(text);
  refdb::PlainStream stream(input, 0);
  std::size_t files = 0;
  const auto streamed = refdb::read_sha256sums(stream, "fuzz", [&](refdb::ReferenceFile&& f) -> Result<void> {
    if (whole) GH_ASSERT(files < whole->files.size() && f.path == whole->files[files].path);
    ++files;
    return {};
  });
  // A longer line has another error, or is a comment.
  if (size > (std::size_t(64) << 10)) return 0;
  GH_ASSERT(whole.has_value() == streamed.has_value());
  if (whole) GH_ASSERT(files == whole->files.size());
  return 0;
}
