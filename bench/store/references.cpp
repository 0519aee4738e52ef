#include "bench/store/references.h"

#include <algorithm>
#include <cmath>

namespace gatehouse::bench {
namespace {

// SplitMix64: small, and the same everywhere, which the standard's distributions aren't.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
  }
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  double part() { return double(next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

std::uint64_t mixed(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  return Random(Random(Random(a).next() ^ b).next() ^ c).next();
}

// Files of a package by the share of packages that have fewer.
struct Quantile {
  double share, files;
};
constexpr Quantile sizes[] = {{0, 3}, {0.1, 4}, {0.25, 5}, {0.5, 8}, {0.75, 25}, {0.9, 131}, {0.99, 1953}, {1, 20'000}};

std::uint64_t size_of(double share) {
  for (std::size_t i = 1; i < std::size(sizes); ++i) {
    const auto [from, few] = sizes[i - 1];
    const auto [to, many] = sizes[i];
    if (share < to) return std::uint64_t(few * std::pow(many / few, (share - from) / (to - from)));
  }
  return std::uint64_t(sizes[std::size(sizes) - 1].files);
}

constexpr const char* words[] = {
    "abi",     "access", "action", "admin",  "agent",  "amd64",  "api",     "archive", "audio",  "auth",    "backend",
    "base",    "bin",    "block",  "board",  "build",  "cache",  "calc",    "chart",   "class",  "client",  "cloud",
    "codec",   "color",  "common", "config", "core",   "count",  "crypt",   "data",    "debug",  "default", "demo",
    "device",  "dialog", "doc",    "driver", "editor", "en",     "error",   "event",   "extra",  "field",   "file",
    "filter",  "font",   "form",   "frame",  "gen",    "graph",  "group",   "gtk",     "guide",  "header",  "help",
    "html",    "http",   "icon",   "image",  "index",  "init",   "input",   "java",    "js",     "json",    "kernel",
    "key",     "lang",   "layer",  "layout", "lib",    "line",   "list",    "loader",  "locale", "log",     "main",
    "manual",  "map",    "math",   "media",  "menu",   "mesh",   "message", "method",  "model",  "module",  "mono",
    "net",     "node",   "object", "option", "output", "page",   "parser",  "patch",   "path",   "perl",    "plugin",
    "port",    "proto",  "proxy",  "python", "query",  "queue",  "record",  "ref",     "render", "report",  "ruby",
    "schema",  "scope",  "score",  "script", "search", "sensor", "server",  "shape",   "shell",  "size",    "source",
    "sprite",  "state",  "stream", "style",  "system", "table",  "task",    "test",    "text",   "theme",   "thread",
    "time",    "token",  "tool",   "trace",  "tree",   "type",   "unit",    "user",    "util",   "value",   "vector",
    "version", "video",  "view",   "widget", "window", "wizard", "xml",     "zone"};
constexpr const char* endings[] = {".h",  ".py", ".so.1", ".gz",  ".html", ".png", ".js",   ".mo",
                                   ".pm", ".rb", ".svg",  ".xml", ".hpp",  ".txt", ".json", ""};
// A third of them, by weight of their places, has an alias under a merged /usr.
constexpr const char* roots[] = {"/usr/share/%",
                                 "/usr/share/doc/%/html",
                                 "/usr/include/%",
                                 "/usr/lib/x86_64-linux-gnu/%",
                                 "/usr/share/icons/hicolor/%",
                                 "/usr/lib/python3/dist-packages/%",
                                 "/usr/share/locale/%",
                                 "/usr/lib/%",
                                 "/usr/share/javascript/%"};
constexpr const char* aliased_roots[] = {"/usr/lib/x86_64-linux-gnu/%", "/usr/lib/python3/dist-packages/%",
                                         "/usr/lib/%"};

const char* word(Random& random) { return words[random.below(std::size(words))]; }

std::string package_name(std::uint64_t seed, std::uint64_t n) {
  Random random(mixed(seed, n, 1));
  std::string out = random.below(3) == 0 ? "lib" : "";
  out += word(random);
  out += '-';
  out += word(random);
  // A number makes it the only one of its name.
  return out + std::to_string(n);
}

Digest random_digest(Random& random) {
  Digest out = Digest::filled(32, std::byte{0});
  for (std::size_t i = 0; i < 32; i += 8) {
    const std::uint64_t v = random.next();
    std::memcpy(out.bytes.data() + i, &v, 8);
  }
  return out;
}

}  // namespace

References::References(ReferenceShape shape) : shape_(shape) {
  first_.push_back(0);
  Random random(mixed(shape.seed, 0, 2));
  while (first_.back() < shape.files)
    first_.push_back(std::min(shape.files, first_.back() + std::max<std::uint64_t>(size_of(random.part()), 1)));
}

bool References::changed(std::uint64_t n) const { return mixed(shape_.seed, n, 3) % 1000 < shape_.packages_to_change; }

Digest References::identity(std::uint64_t n) const {
  Random random(mixed(shape_.seed, n, changed(n) ? 5 : 4));
  return random_digest(random);
}

refdb::ReferencePackage References::package(std::uint64_t n) const {
  refdb::ReferencePackage out;
  out.product = "Debian 12 x86_64";
  out.name = package_name(shape_.seed, n);
  out.version = changed(n) ? "1.0-2" : "1.0-1";
  out.architecture = "amd64";
  out.source = out.name + "_" + out.version + "_amd64.deb";
  out.identity = identity(n);
  out.ingested = 1'700'000'000;
  Random random(mixed(shape_.seed, n, 6));  // of what a new version leaves as it is
  Random content(mixed(shape_.seed, n, changed(n) ? 8 : 7));
  const auto count = std::size_t(first_[n + 1] - first_[n]);
  out.files.reserve(count);
  std::string folder;
  std::size_t left = 0;
  while (out.files.size() < count) {
    refdb::ReferenceFile& file = out.files.emplace_back();
    if (left == 0) {
      const std::string_view root = shape_.every_file_has_an_alias
                                        ? aliased_roots[random.below(std::size(aliased_roots))]
                                        : roots[random.below(std::size(roots))];
      folder = root.substr(0, root.find('%'));
      folder += out.name;
      folder += root.substr(root.find('%') + 1);
      for (auto depth = random.below(3); depth != 0; --depth) (folder += '/') += word(random);
      left = 1 + random.below(21);
    }
    --left;
    file.path = folder;
    (file.path += '/') += word(random);
    for (auto parts = 1 + random.below(2); parts != 0; --parts) (file.path += '_') += word(random);
    file.path += std::to_string(out.files.size());
    file.path += endings[random.below(std::size(endings))];
    file.size = std::uint64_t(1) << random.below(22);
    file.size += random.below(file.size);
    file.digests.emplace_back(HashAlgorithm::sha256, random_digest(content));
  }
  std::sort(out.files.begin(), out.files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return out;
}

}  // namespace gatehouse::bench
