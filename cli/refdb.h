// What the commands of `gatehouse refdb` share.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <string>

#include "cli/commands.h"
#include "refdb/view/view.h"

namespace gatehouse::cli {

void add_refdb_products(CLI::App& refdb, Run& run);

// A match as the contract has it.
boost::json::object described(const refdb::Reference& reference);
// A digest in hexadecimal, its algorithm in front if it likes: "sha256:5f70…". Fault::usage where it isn't one.
Result<Digest> digest_of_text(const std::string& text);
// Seconds since 1970 as "2024-01-30T12:00:00Z".
std::string utc(std::int64_t seconds);

}  // namespace gatehouse::cli
