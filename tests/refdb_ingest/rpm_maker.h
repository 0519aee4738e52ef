// RPM packages byte by byte, right or wrong as a test wants them.
//
//   RpmMaker maker;
//   maker.add({.path = "/usr/bin/a", .content = "a"});
//   maker.header[tag].count = 7;                       // wrong, if wanted
//   const std::string package = maker.package();
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"

namespace gatehouse::refdb::testing {

template <class T>
std::string be(T value) {
  std::string out;
  for (int shift = int(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8) out += char(std::uint64_t(value) >> shift & 0xFF);
  return out;
}

// A tag's index entry and data.
struct RpmTag {
  std::uint32_t type = 0, count = 0;
  std::string data;
  std::optional<std::uint32_t> offset{};  // stated in place of the data's real one
};
inline RpmTag text_tag(const std::string& text) { return {6, 1, text + '\0'}; }
inline RpmTag number_tag(std::uint32_t value) { return {4, 1, be(value)}; }

inline std::string rpm_header(const std::vector<std::pair<std::uint32_t, RpmTag>>& tags) {
  std::string index, data;
  for (const auto& [number, tag] : tags) {
    const std::size_t wide = tag.type == 3 ? 2 : tag.type == 4 ? 4 : tag.type == 5 ? 8 : 1;
    while (data.size() % wide != 0) data += '\0';
    index += be(number) + be(tag.type) + be(tag.offset.value_or(std::uint32_t(data.size()))) + be(tag.count);
    data += tag.data;
  }
  return "\x8e\xad\xe8\x01" + be(std::uint32_t{0}) + be(std::uint32_t(tags.size())) + be(std::uint32_t(data.size())) +
         index + data;
}

struct RpmEntry {
  std::string path, content;
  std::uint16_t mode = 0100644;
  std::uint32_t flags = 0;
  std::uint32_t inode = 0;                  // 0: one of its own
  std::optional<std::string> digest{};      // in place of the content's
  std::optional<std::string> in_payload{};  // in place of the content
};

struct CpioEntry {
  std::string name, content;
  std::uint32_t mode = 0100644, inode = 1, links = 1;
  std::optional<std::uint32_t> stated_size{};
};
inline void pad_to_four(std::string& out) {
  while (out.size() % 4 != 0) out += '\0';
}
inline std::string hex8(std::uint32_t v) {
  char out[9];
  std::snprintf(out, sizeof out, "%08x", v);
  return out;
}
inline std::string cpio_member(const CpioEntry& e) {
  std::string out = "070701";
  const std::uint32_t size = e.stated_size.value_or(std::uint32_t(e.content.size()));
  for (const std::uint32_t v :
       {e.inode, e.mode, 0U, 0U, e.links, 0U, size, 0U, 1U, 0U, 0U, std::uint32_t(e.name.size() + 1), 0U})
    out += hex8(v);
  out += e.name + '\0';
  pad_to_four(out);
  out += e.content;
  pad_to_four(out);
  return out;
}
inline std::string cpio_trailer() { return cpio_member({.name = "TRAILER!!!", .content = "", .mode = 0}); }
// RPM's form for large files: a number, and the content.
inline std::string stripped_member(std::uint32_t number, const std::string& content) {
  std::string out = "07070X" + hex8(number);
  pad_to_four(out);
  out += content;
  pad_to_four(out);
  return out;
}

class RpmMaker {
 public:
  // Tags by number, made from the files when the package is; those set before stay as they are.
  std::map<std::uint32_t, RpmTag> header, signature;
  std::vector<RpmEntry> files;
  std::function<std::string(std::string)> compress = [](std::string bytes) { return bytes; };
  std::optional<std::string> archive;  // in place of the files'
  bool with_digests = true;            // of header and payload

  void add(RpmEntry entry) {
    if (entry.inode == 0) entry.inode = std::uint32_t(files.size() + 1);
    files.push_back(std::move(entry));
  }

  std::string cpio() const {
    std::string out;
    for (const RpmEntry& f : files) {
      if ((f.flags & 64) != 0) continue;
      std::uint32_t links = 0;
      const RpmEntry* last = &f;
      for (const RpmEntry& other : files)
        if (other.inode == f.inode) ++links, last = &other;
      out +=
          cpio_member({"." + f.path, last == &f ? f.in_payload.value_or(f.content) : "", f.mode, f.inode, links, {}});
    }
    return out + cpio_trailer();
  }

  std::string package() const {
    const std::string payload = compress(archive.value_or(cpio()));
    auto tags = header;
    const auto set = [&](std::uint32_t number, RpmTag tag) { tags.try_emplace(number, std::move(tag)); };
    set(1000, text_tag("made"));
    set(1001, text_tag("1.0"));
    set(1002, text_tag("3"));
    set(1022, text_tag("noarch"));
    set(1044, text_tag("made-1.0-3.src.rpm"));
    set(1124, text_tag("cpio"));
    if (with_digests) {
      set(5092, {8, 1, digest_of(HashAlgorithm::sha256, as_bytes(payload)).hex() + '\0'});
      set(5093, number_tag(8));
    }
    if (!files.empty()) {
      const auto n = std::uint32_t(files.size());
      std::string sizes, modes, flags, devices, inodes, digests, folders, bases, indexes;
      for (std::uint32_t i = 0; i < n; ++i) {
        const RpmEntry& f = files[i];
        const std::size_t slash = f.path.rfind('/') + 1;  // 0: none
        sizes += be(std::uint32_t(f.content.size()));
        modes += be(f.mode);
        flags += be(f.flags);
        devices += be(std::uint32_t{1});
        inodes += be(f.inode);
        const bool regular = (f.mode & 0170000) == 0100000 && (f.flags & 64) == 0;
        digests += f.digest.value_or(regular ? digest_of(HashAlgorithm::sha256, as_bytes(f.content)).hex() : "") + '\0';
        folders += f.path.substr(0, slash) + '\0';
        bases += f.path.substr(slash) + '\0';
        indexes += be(i);
      }
      set(1028, {4, n, sizes});
      set(1030, {3, n, modes});
      set(1035, {8, n, digests});
      set(1037, {4, n, flags});
      set(1095, {4, n, devices});
      set(1096, {4, n, inodes});
      set(1116, {4, n, indexes});
      set(1117, {8, n, bases});
      set(1118, {8, n, folders});
      set(5011, number_tag(8));
    }
    // A tag of type 0 was set to leave it out.
    std::erase_if(tags, [](const auto& tag) { return tag.second.type == 0; });
    const std::string main = rpm_header({tags.begin(), tags.end()});
    auto signed_tags = signature;
    if (with_digests) signed_tags.try_emplace(273, text_tag(digest_of(HashAlgorithm::sha256, as_bytes(main)).hex()));
    signed_tags.try_emplace(1000, number_tag(std::uint32_t(main.size() + payload.size())));
    std::erase_if(signed_tags, [](const auto& tag) { return tag.second.type == 0; });
    std::string out = "\xed\xab\xee\xdb\x03" + std::string(91, '\0');
    out += rpm_header({signed_tags.begin(), signed_tags.end()});
    while (out.size() % 8 != 0) out += '\0';
    return out + main + payload;
  }
};

}  // namespace gatehouse::refdb::testing
