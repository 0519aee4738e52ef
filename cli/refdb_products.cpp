// `gatehouse refdb product …` and `gatehouse refdb explain`.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>

#include "base/hex.h"
#include "cli/commands.h"
#include "cli/refdb.h"
#include "refdb/explain/explain.h"
#include "refdb/store/open.h"
#include "refdb/store/products.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct ProductOptions {
  std::string refdb, product, path, digest;
  std::vector<std::string> layers;  // "site=Site tools"
  bool json = false;
};

int misused(const std::string& what) {
  std::fprintf(stderr, "gatehouse: %s\n", escaped(what, 200).c_str());
  return 2;
}

int change_product(const ProductOptions& o, Result<refdb::Published> (*change)(const std::string&,
                                                                        const std::vector<refdb::Inclusion>&)) {
  std::vector<refdb::Inclusion> inclusions;
  for (const std::string& text : o.layers) {
    const std::size_t equals = text.find('=');
    const auto layer = refdb::layer_of(text.substr(0, equals));
    if (equals == std::string::npos || !layer) return misused("--layer: not a layer and a product, as site=\"Site tools\": " + text);
    inclusions.push_back({{o.product, *layer}, text.substr(equals + 1)});
  }
  const auto published = change(o.refdb, inclusions);
  if (!published) return complain(published.error());
  if (o.json)
    std::cout << json::serialize(json::object{{"generation", published->generation}, {"changed", published->changed}}) << '\n';
  else
    std::cout << (published->changed ? "generation " + std::to_string(published->generation) : std::string("nothing to change")) << '\n';
  return flushed();
}
int run_product_add(const ProductOptions& o) { return change_product(o, refdb::include_products); }
int run_product_remove(const ProductOptions& o) { return change_product(o, refdb::exclude_products); }

int show(const ProductOptions& o, const std::vector<refdb::ProductInfo>& products) {
  for (const refdb::ProductInfo& p : products) {
    if (o.json) {
      json::array layers;
      for (const refdb::LayerInfo& l : p.layers) {
        json::object& out = layers.emplace_back(json::object()).as_object();
        out["layer"] = name(l.layer);
        if (!l.from.empty()) out["from"] = escaped(l.from);
        out["packages"] = l.packages;
        out["files"] = l.files;
      }
      std::cout << json::serialize(json::object{{"product", escaped(p.product)}, {"layers", std::move(layers)}}) << '\n';
      continue;
    }
    std::cout << escaped(p.product) << '\n';
    for (const refdb::LayerInfo& l : p.layers)
      std::cout << "  " << name(l.layer) << ": " << l.packages << " packages, " << l.files << " files"
                << (l.from.empty() ? std::string() : " of " + escaped(l.from)) << '\n';
  }
  return flushed();
}
int run_product_list(const ProductOptions& o) {
  const auto products = refdb::list_products(o.refdb);
  if (!products) return complain(products.error());
  return show(o, *products);
}
int run_product_show(const ProductOptions& o) {
  auto products = refdb::list_products(o.refdb);
  if (!products) return complain(products.error());
  std::erase_if(*products, [&](const refdb::ProductInfo& p) { return p.product != o.product; });
  if (!products->empty()) return show(o, *products);
  std::fprintf(stderr, "gatehouse: the store has no product %s\n", escaped(o.product, 200).c_str());
  return 1;
}

// "superseded by 2.36-9+deb12u4 (security) since 2024-01-30T12:00:00Z"
std::string superseded(const refdb::ExplainedReference& e) {
  return "superseded by " + escaped(e.superseded_by->version) + " (" + std::string(name(e.superseded_by->layer)) + ") since " +
         utc(e.superseded_since);
}

json::object explained(const refdb::ExplainedReference& e) {
  json::object out = described(e.reference);
  if (e.first_seen != 0) out["first_seen"] = utc(e.first_seen);
  if (e.last_seen != 0) out["last_seen"] = utc(e.last_seen);
  if (e.superseded_by)
    out["superseded"] = {{"version", escaped(e.superseded_by->version)},
                         {"layer", name(e.superseded_by->layer)},
                         {"since", utc(e.superseded_since)}};
  return out;
}

std::string_view sentence(refdb::Reason reason, bool has_digest) {
  switch (reason) {
    case refdb::Reason::known:
      return "this content is a reference";
    case refdb::Reason::superseded:
      return "this content is a reference, of a package that has a newer version";
    case refdb::Reason::changed:
      return has_digest ? "this path's references have other contents" : "any content but those of these references";
    case refdb::Reason::configuration:
      return "a configuration file, whose content may differ from the package's";
    case refdb::Reason::other_path:
      return "no reference of this path; the content is known under others";
    case refdb::Reason::other_product:
      return "only other products have references of it";
    case refdb::Reason::no_reference:
      return "no product has a reference of it";
  }
  std::unreachable();
}

void print_product(const std::string& head, const refdb::Reference& r, const std::string& more) {
  std::cout << "  " << head << escaped(r.path) << "  "
            << (r.package.empty() ? std::string("of no package") : escaped(r.package) + ' ' + escaped(r.version)) << "  ("
            << escaped(r.product) << ", " << name(r.layer) << ", " << escaped(r.source) << ')' << more << '\n';
}

int run_explain(const ProductOptions& o) {
  refdb::ExplainQuery query;
  for (const std::string& text : {o.path, o.digest}) {
    if (text.empty()) continue;
    if (text.front() == '/') {
      if (!query.path.empty()) return misused("one path at a time");
      query.path = text;
      continue;
    }
    if (query.digest) return misused("one digest at a time");
    const auto digest = digest_of_text(text);
    if (!digest) return complain(digest.error());
    query.digest = *digest;
  }
  const auto view = refdb::open_view(o.refdb);
  if (!view) return complain(view.error());
  const auto why = refdb::explain(**view, o.product, query);
  if (!why) return complain(why.error());
  if (o.json) {
    json::object out{{"product", escaped(o.product)}, {"generation", (*view)->generation()}};
    if (!query.path.empty()) out["path"] = escaped(query.path);
    if (query.digest) out["digest"] = query.digest->hex();
    if (!why->template_name.empty()) out["template_name"] = escaped(why->template_name);
    out["verdict"] = name(why->verdict);
    out["reason"] = name(why->reason);
    out["text"] = sentence(why->reason, query.digest.has_value());
    json::array references, same, others;
    for (const auto& e : why->references) references.push_back(explained(e));
    for (const auto& r : why->same_content) same.push_back(described(r));
    for (const auto& r : why->other_products) others.push_back(described(r));
    out["references"] = std::move(references);
    out["same_content"] = std::move(same);
    out["other_products"] = std::move(others);
    std::cout << json::serialize(out) << '\n';
    return flushed();
  }
  std::cout << name(why->verdict) << ": " << sentence(why->reason, query.digest.has_value()) << '\n';
  if (!why->template_name.empty()) std::cout << "  a template hash of " << escaped(why->template_name) << '\n';
  for (const auto& e : why->references) {
    std::string more = e.first_seen != 0 ? ", first seen " + utc(e.first_seen) : std::string();
    if (e.last_seen != 0) more += ", last seen " + utc(e.last_seen);
    if (e.superseded_by) more += ", " + superseded(e);
    if (e.reference.is_mutable) more += ", a configuration file";
    print_product("", e.reference, more);
    for (const auto& [algorithm, digest] : e.reference.digests)
      if (algorithm == HashAlgorithm::sha256) std::cout << "    sha256 " << digest.hex() << '\n';
  }
  for (const auto& r : why->same_content) print_product("the same content: ", r, {});
  for (const auto& r : why->other_products) print_product("in another product: ", r, {});
  return flushed();
}

}  // namespace

void add_refdb_products(CLI::App& refdb, Run& run) {
  auto o = std::make_shared<ProductOptions>();
  const auto add = [&](CLI::App& to, const std::string& name, const std::string& description, int (*what)(const ProductOptions&),
                       const std::string& example) {
    CLI::App* const added = to.add_subcommand(name, description);
    not_empty(added->add_option("--refdb", o->refdb, "reference store")->required());
    added->add_flag("--json", o->json, "JSON on standard output");
    added->footer("Example:\n  gatehouse refdb " + example);
    added->callback([o, what, &run] { run = [o, what] { return what(*o); }; });
    return added;
  };
  CLI::App* const product = refdb.add_subcommand("product", "Products, and whose references count as which of their layers");
  product->require_subcommand(1);
  add(*product, "list", "All products, with their layers", run_product_list, "product list --refdb refdb");
  CLI::App* const shown = add(*product, "show", "One product's layers", run_product_show, "product show --refdb refdb \"Debian 12 x86_64\"");
  not_empty(shown->add_option("PRODUCT", o->product, "the product")->required());
  for (const auto& [name, description, what] :
       {std::tuple("add", "Let a layer of a product have all references of another product, too", &run_product_add),
        std::tuple("remove", "Let it have them no more", &run_product_remove)}) {
    CLI::App* const changed = add(*product, name, description, what,
                                  std::string("product ") + name + " --refdb refdb \"Debian 12 x86_64\" --layer site=\"Site tools\"");
    not_empty(changed->add_option("PRODUCT", o->product, "the product")->required());
    not_empty(changed->add_option("--layer", o->layers, "release, security, updates, third-party or site, = and the other product; repeatable")
                  ->required()
                  ->allow_extra_args(false));
  }
  CLI::App* const why = add(refdb, "explain", "Why a file is ok, unknown or differs", run_explain,
                                  "explain --refdb refdb --product \"Debian 12 x86_64\" /usr/bin/ls 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
  not_empty(why->add_option("--product", o->product, "product whose references count")->required());
  not_empty(why->add_option("QUERY", o->path, "a path, or the digest of a content or a template hash")->required());
  not_empty(why->add_option("AND", o->digest, "beside a path the digest, or the other way round"));
}

}  // namespace gatehouse::cli
