// Makes a generation's database from the one before and what was staged. Internal to refdb/store.
#pragma once

#include <string>
#include <vector>

#include "refdb/store/generation.h"
#include "refdb/store/staging.h"

namespace gatehouse::refdb {

struct StagedRecord {
  Staging::Place place;
  ProductLayer layer;
  std::uint8_t algorithms = 0;
  std::uint32_t replaces = 0;  // a package of the generation before; 0: none
};
struct Changes {
  std::vector<StagedRecord> records;
  // As they are from here on.
  std::vector<Inclusion> inclusions;
  std::vector<Unseen> unseen;
};

// Of the generation `number`, in the folder `database`, which it makes: the contents of `before` (nullptr: none) and
// the packages of `changes`. `scratch` is a folder on the same file system for files on their way.
Result<Totals> make_database(const std::string& database, const std::string& scratch, std::uint64_t number,
                             const Generation* before, const Staging& staging, Changes changes);

}  // namespace gatehouse::refdb
