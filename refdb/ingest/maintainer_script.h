// What a Debian package's maintainer script declares of other names of files.
//
//   dpkg-divert --package foo --rename --divert /usr/bin/x.real --add /usr/bin/x
//       other packages' /usr/bin/x is installed as /usr/bin/x.real
//   update-alternatives --install /usr/bin/pager pager /usr/bin/less 77 --slave ...
//       /usr/bin/pager may be a link to /usr/bin/less
//
// A script is a program: what it does only running it would tell. Read are the commands whose words stand there as they
// are; those with variables, substitutions or patterns are left alone, and so is what isn't a shell's. Options:
// dpkg-divert(1), update-alternatives(1); quoting and comments: POSIX.1-2017 XCU 2.2, 2.3.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "refdb/store/builder.h"

namespace gatehouse::refdb {

struct Alternative {
  std::string link, path;  // canonical
  friend bool operator==(const Alternative&, const Alternative&) = default;
};

struct Declarations {
  std::vector<Diversion> diversions;
  std::vector<Alternative> alternatives;
};
// Of one script, and of a package's several: no more of each.
inline constexpr std::size_t max_declarations = 1000;

// Adds what `script` declares; what is there already isn't added again. Nothing is an error: other text declares
// nothing. Linear in the script's length.
void read_declarations(std::string_view script, Declarations& to);

}  // namespace gatehouse::refdb
