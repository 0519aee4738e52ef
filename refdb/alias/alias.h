// Names of one file: where a package puts it, where a merged /usr really has it, and how a kernel reports it.
//
//   index_path("/bin/My App")            == "/usr/bin/My_App"    the one key under which references are kept
//   kernel_names("/bin/ls")              == {"/usr/bin/ls", "/bin/ls"}
//   canonical_path("./usr//bin/../x")    == "/usr/x"             for reference paths only
//
// Rules: spec part 2 §8.5 (symlinks), §7.2 (spaces). All functions are pure and safe for concurrent use.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gatehouse::refdb {

inline constexpr std::size_t max_path_bytes = 4096;

struct AliasRule {
  std::string_view link;    // "/bin"
  std::string_view target;  // "/usr/bin"
};
// UsrMerge, in the order in which they are tried. No rule's side is a prefix of another's at a component boundary
// on the same side, so at most one applies to a path.
inline constexpr AliasRule usr_merge[] = {
    {"/bin", "/usr/bin"},     {"/sbin", "/usr/sbin"},     {"/lib", "/usr/lib"},       {"/lib32", "/usr/lib32"},
    {"/lib64", "/usr/lib64"}, {"/libx32", "/usr/libx32"}, {"/libo32", "/usr/libo32"},
};

// The canonical form of a reference path: absolute ("./x" and "x" are taken from the root), "//" collapsed, "."
// removed,
// ".." resolved lexically. A path that climbs above "/", is empty, holds a NUL or exceeds 4096 bytes is malformed.
// Never applied to a reported path: what is odd there stays odd and matches nothing.
Result<std::string> canonical_path(std::string_view path);
// True only when canonical_path() would give the same; cheaper.
bool is_canonical(std::string_view path);

// True when `path` lies below `folder` at a component boundary: "/lib" holds "/lib/x", not "/lib32/x" and not "/lib".
bool below(std::string_view path, std::string_view folder);

// The other name of a path under UsrMerge, either direction; nullopt where no rule applies.
std::optional<std::string> alias_of(std::string_view path);
// The same into `out`, for many paths; false: no rule applies.
bool alias_of(std::string_view path, std::string& out);

// The name under which a merged system really has the file: link -> target.
std::string merged_path(std::string_view path);

// As a kernel's n-ng field has it: every space is an underscore.
std::string kernel_name(std::string_view path);

// Key of all references of a file, whichever of its names is given: kernel_name(merged_path(path)).
std::string index_path(std::string_view path);
// The same into `out`, for many paths.
void index_path(std::string_view path, std::string& out);

// Every name that a kernel may report for this file: the index path first, then its alias.
std::vector<std::string> kernel_names(std::string_view path);

}  // namespace gatehouse::refdb
