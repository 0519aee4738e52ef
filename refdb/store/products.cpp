#include "refdb/store/products.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "refdb/store/generation.h"
#include "refdb/store/open.h"

namespace gatehouse::refdb {

Result<std::vector<ProductInfo>> list_products(const std::string& path) {
  std::vector<ProductInfo> out;
  GH_TRY(const std::uint64_t current, current_generation(path));
  if (current == 0) return out;
  GH_TRY(const auto generation, Generation::open(path, current));
  const Totals& totals = generation->totals();
  std::map<std::uint32_t, LayerInfo> counted;
  GH_CHECK(generation->each_package([&](std::uint32_t, Package&& p) {
    LayerInfo& info = counted[p.layer];
    info.packages += !p.name.empty();
    info.files += p.files - p.uncounted;
  }));
  for (const std::string& name : product_names(totals)) {
    ProductInfo& product = out.emplace_back(ProductInfo{name, {}});
    for (const auto& [layer, id] : totals.layers)
      if (layer.product == name) product.layers.push_back({layer.layer, {}, counted[id].packages, counted[id].files});
    for (const Inclusion& i : totals.inclusions) {
      if (i.into.product != name) continue;
      LayerInfo& included = product.layers.emplace_back(LayerInfo{i.into.layer, i.from, 0, 0});
      for (const auto& [layer, id] : totals.layers) {
        if (layer.product != i.from) continue;
        included.packages += counted[id].packages;
        included.files += counted[id].files;
      }
    }
    std::ranges::sort(product.layers, {}, [](const LayerInfo& l) { return std::tie(l.layer, l.from); });
  }
  return out;
}

Result<Published> include_products(const std::string& path, const std::vector<Inclusion>& inclusions) {
  GH_TRY(Builder builder, Builder::open(path));
  for (const Inclusion& inclusion : inclusions) GH_CHECK(builder.include(inclusion));
  return builder.publish();
}

Result<Published> exclude_products(const std::string& path, const std::vector<Inclusion>& inclusions) {
  GH_TRY(Builder builder, Builder::open(path));
  for (const Inclusion& inclusion : inclusions) (void)builder.exclude(inclusion);
  return builder.publish();
}

}  // namespace gatehouse::refdb
