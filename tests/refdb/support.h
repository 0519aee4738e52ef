// Stores in folders of their own, packages made on the spot, and everything that a store answers.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/writer.h"
#include "refdb/alias/alias.h"
#include "refdb/store/builder.h"
#include "refdb/store/open.h"
#include "tests/folder.h"
#include "wire/ima/ima.h"

namespace gatehouse::refdb {

namespace fs = std::filesystem;

using test::Folder;

inline std::vector<std::pair<HashAlgorithm, Digest>> digests_of(std::string_view content) {
  std::vector<std::pair<HashAlgorithm, Digest>> out;
  for (const HashAlgorithm a : common_banks) out.emplace_back(a, digest_of(a, as_bytes(content)));
  return out;
}

// A package of files with these contents.
inline ReferencePackage package(std::string product, std::string name, std::string version,
                                const std::vector<std::pair<std::string, std::string>>& files) {
  ReferencePackage out;
  out.product = std::move(product);
  out.name = std::move(name);
  out.version = std::move(version);
  out.architecture = "all";
  out.source = out.name + ".deb";
  out.ingested = 1'700'000'000;
  for (const auto& [path, content] : files) out.files.push_back({path, content.size(), false, digests_of(content)});
  return out;
}

inline Result<Published> publish(const std::string& store, std::vector<ReferencePackage> packages) {
  GH_TRY(Builder builder, Builder::open(store));
  for (ReferencePackage& p : packages) GH_CHECK(builder.add(std::move(p)));
  return builder.publish();
}

// T of an ima-ng entry.
inline Digest template_digest(HashAlgorithm bank, const Digest& content, std::string_view name) {
  Writer w;
  ima::append_ng_template_data(w, gatehouse::name(bank), content.view(), name);
  return digest_of(bank, w.view());
}
inline Result<TemplateHit> find_template(const View& view, std::string_view product, HashAlgorithm bank,
                                         const Digest& t) {
  TemplateHit hit;
  GH_CHECK(view.find_templates(product, bank, {&t, 1}, {&hit, 1}));
  return hit;
}

inline std::string text(const Reference& r) {
  std::string out = r.product + "|" + r.path + "|" + r.package + "|" + r.version + "|" + r.architecture + "|" +
                    r.source + (r.is_mutable ? "|mutable" : "");
  for (const auto& [algorithm, digest] : r.digests) out += "|" + std::string(name(algorithm)) + ":" + digest.hex();
  return out;
}

// What a store is asked: paths and contents, each in every product.
struct Questions {
  std::vector<std::string> products, paths, contents;
};
// All that it answers, in order; the first error instead.
inline Result<std::vector<std::string>> answers(const View& view, const Questions& questions) {
  std::vector<std::string> out = view.products();
  const auto note = [&](const std::string& what, const std::vector<Reference>& found) {
    std::vector<std::string> rows;
    for (const Reference& r : found) rows.push_back(text(r));
    std::sort(rows.begin(), rows.end());
    for (const std::string& row : rows) out.push_back(what + " -> " + row);
  };
  for (const std::string& product : questions.products) {
    for (const std::string& path : questions.paths) {
      GH_TRY(const auto found, view.references_of_path(product, path));
      note(path, found);
    }
    for (const std::string& content : questions.contents)
      for (const auto& [algorithm, digest] : digests_of(content)) {
        GH_TRY(const auto found, view.references_of_digest(product, digest));
        note(digest.hex(), found);
        if (algorithm != HashAlgorithm::sha256 && algorithm != HashAlgorithm::sha384) continue;
        for (const std::string& path : questions.paths) {
          GH_TRY(const TemplateHit hit,
                 find_template(view, product, algorithm, template_digest(algorithm, digest, path)));
          if (hit.found) out.push_back(path + " with " + content + " is " + std::string(hit.name));
        }
      }
  }
  return out;
}
inline Result<std::vector<std::string>> answers(const std::string& store, const Questions& questions) {
  GH_TRY(const auto view, open_view(store));
  return answers(*view, questions);
}

}  // namespace gatehouse::refdb
