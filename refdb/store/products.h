// The products of a store and their layers, and layers that have another product's references too: of a set of site
// tools, say, that endpoints of all products run.
//
//   GH_TRY(const Published published, include_products("refdb", {{{"Debian 12 x86_64", Layer::site}, "Site tools"}}));
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "refdb/store/builder.h"

namespace gatehouse::refdb {

struct LayerInfo {
  Layer layer = Layer::release;
  std::string from;  // the product whose references these are; empty: its own
  std::uint64_t packages = 0, files = 0;
};
struct ProductInfo {
  std::string product;
  std::vector<LayerInfo> layers;  // in order; those of its own before those of others
};
// Of the current generation, by name; none where the store holds none yet.
Result<std::vector<ProductInfo>> list_products(const std::string& path);

// All in one new generation, as an ingestion does. Unchanged: it was so.
Result<Published> include_products(const std::string& path, const std::vector<Inclusion>& inclusions);
Result<Published> exclude_products(const std::string& path, const std::vector<Inclusion>& inclusions);

}  // namespace gatehouse::refdb
