// What the reference store knows of a file, and why an endpoint that has it gets ok, unknown or differ for it.
//
//   GH_TRY(const Explanation why, explain(*view, "Debian 12 x86_64", {.path = "/usr/bin/ls", .digest = measured}));
//   // why.verdict is differ, why.reason is Reason::changed, why.path_references has the versions that there are
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "refdb/view/view.h"

namespace gatehouse::refdb {

// At least one of them. The digest is that of a file's content, or a template hash of ima-ng.
struct ExplainQuery {
  std::string path;  // as a kernel reports it; empty: none
  std::optional<Digest> digest;
};

enum class ExplainedVerdict : std::uint8_t { ok, unknown, differ };
std::string_view name(ExplainedVerdict verdict);

// Why. Without a digest, the verdict is that of a content that no reference has.
enum class Reason : std::uint8_t {
  known,           // this content of this path is a reference
  superseded,      // so it is, and there is a newer version of the package
  changed,         // the path's references have other contents
  configuration,   // the same, but all of them are configuration files, which are expected to change
  other_path,      // the content is known under other paths only
  other_product,   // only another product has references of it
  no_reference,    // nothing is known
};
std::string_view name(Reason reason);

struct ExplainedReference {
  Reference reference;
  std::int64_t first_seen = 0, last_seen = 0;  // as in PackageVersion
  // The newest version of the package for the architecture, where it is newer than the reference's; `since`: when the
  // first one that is newer was first seen.
  std::optional<PackageVersion> superseded_by;
  std::int64_t superseded_since = 0;
};

struct Explanation {
  ExplainedVerdict verdict = ExplainedVerdict::unknown;
  Reason reason = Reason::no_reference;
  std::string template_name;  // where the digest is a template hash: the name in it
  // Those that make it ok; else those of the path, the newest version of a package first; else none.
  std::vector<ExplainedReference> references;
  std::vector<Reference> same_content;     // of the product, under other paths
  std::vector<Reference> other_products;   // of the path and content that were asked for
};

// Those whose template hash of ima-ng it is, in the SHA-256 or SHA-384 bank, under the name that the store has it for.
Result<std::vector<Reference>> references_of_template(const View& view, const std::string& product, const Digest& t);

// An error is the store's, or Fault::usage: the store has no such product.
Result<Explanation> explain(const View& view, const std::string& product, const ExplainQuery& query);

}  // namespace gatehouse::refdb
