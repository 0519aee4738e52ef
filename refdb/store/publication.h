// Makes a generation's database from the one before and what was staged. Internal to refdb/store.
#pragma once

#include <string>
#include <vector>

#include "refdb/store/generation.h"
#include "refdb/store/staging.h"

namespace gatehouse::refdb {

struct StagedRecord {
  Staging::Place place;
  std::string product;
  std::uint8_t algorithms = 0;
  std::uint32_t replaces = 0;  // a package of the generation before; 0: none
};

// Of the generation `number`, in the folder `database`, which it makes: the contents of `before` (nullptr: none) and
// the packages of `records`. `scratch` is a folder on the same file system for files on their way.
Result<Totals> make_database(const std::string& database, const std::string& scratch, std::uint64_t number,
                             const Generation* before, const Staging& staging, std::vector<StagedRecord> records);

}  // namespace gatehouse::refdb
