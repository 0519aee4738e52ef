// What maintainer scripts declare: as the packages of a distribution write it, and what looks like it and isn't.
#include "refdb/ingest/maintainer_script.h"

#include <gtest/gtest.h>

namespace gatehouse::refdb {
namespace {

Declarations declared(const std::string& script) {
  Declarations out;
  read_declarations(script, out);
  return out;
}
std::string diversions(const std::string& body) {
  std::string out;
  for (const Diversion& d : declared("#!/bin/sh\n" + body).diversions) out += d.path + " -> " + d.to + "\n";
  return out;
}
std::string alternatives(const std::string& body) {
  std::string out;
  for (const Alternative& a : declared("#! /bin/sh -e\n" + body).alternatives) out += a.link + " -> " + a.path + "\n";
  return out;
}

TEST(MaintainerScripts, DivertOtherPackagesFiles) {
  const std::string pg = "/usr/bin/pg_config -> /usr/bin/pg_config.libpq-dev\n";
  EXPECT_EQ(diversions("case \"$1\" in\n  install|upgrade)\n\tdpkg-divert --package postgresql-common --rename "
                       "--divert /usr/bin/pg_config.libpq-dev --add /usr/bin/pg_config\n\t;;\nesac\n"),
            pg);
  EXPECT_EQ(diversions("if [ \"$1\" = install ]; then /usr/sbin/dpkg-divert --divert=/usr/bin/pg_config.libpq-dev "
                       "'/usr/bin/pg_config' >/dev/null 2>&1; fi"),
            pg);
  EXPECT_EQ(diversions("DPKG_COLORS=never dpkg-divert --add \"/usr//bin/x\""), "/usr/bin/x -> /usr/bin/x.distrib\n");
  EXPECT_EQ(diversions("dpkg-divert --package p --add --rename \\\n   --divert /a.real \\\n  /a || true\n"
                       "dpkg-divert --add --divert /a.real /a\n"),
            "/a -> /a.real\n");
}

TEST(MaintainerScripts, DivertNothingWhereTheyDoSomethingElse) {
  EXPECT_EQ(diversions("dpkg-divert --package p --remove --rename --divert /a.real /a"), "");
  EXPECT_EQ(diversions("true=$(dpkg-divert --truename /a)\ndpkg-divert --listpackage /a\ndpkg-divert --list '*a*'"),
            "");
  EXPECT_EQ(diversions("# dpkg-divert --add --rename \\\necho dpkg-divert --add /a"), "");
  EXPECT_EQ(diversions("cat <<-EOF >&2\n\tdpkg-divert --add /a\n\tEOF\ndpkg-divert --add /b"), "/b -> /b.distrib\n");
  EXPECT_EQ(diversions("x='\ndpkg-divert --add /a\n'"), "");
  // What a name is only running it tells.
  EXPECT_EQ(
      diversions("dpkg-divert --divert \"$1.vim-tiny\" --add /a; dpkg-divert --add \"$1\"; dpkg-divert --add /a*"), "");
  EXPECT_EQ(diversions("dpkg-divert --add a; dpkg-divert --add /../a; dpkg-divert --add --divert /a /a; dpkg-divert"),
            "");
}

TEST(MaintainerScripts, OfferAlternatives) {
  EXPECT_EQ(alternatives("update-alternatives --quiet --install /usr/bin/pager pager \\\n  /usr/bin/less 77 --slave "
                         "/usr/share/man/man1/pager.1.gz \\\n  pager.1.gz /usr/share/man/man1/less.1.gz\n"),
            "/usr/bin/pager -> /usr/bin/less\n/usr/share/man/man1/pager.1.gz -> /usr/share/man/man1/less.1.gz\n");
  EXPECT_EQ(alternatives("update-alternatives \\\n    --install /usr/bin/c++ c++ /usr/bin/g++ 20 \\\n    #--slave "
                         "/usr/share/man/man1/c++.1.gz "
                         "c++.1.gz /usr/share/man/man1/g++.1.gz\n"),
            "/usr/bin/c++ -> /usr/bin/g++\n");
  // One name that isn't known doesn't hide the others.
  EXPECT_EQ(
      alternatives(
          "update-alternatives --install /usr/bin/automake automake /usr/bin/automake-$ver $prio --slave /usr/bin/a a "
          "/usr/bin/b"),
      "/usr/bin/a -> /usr/bin/b\n");
  EXPECT_EQ(alternatives("update-alternatives --remove pager /usr/bin/less\nupdate-alternatives --auto yacc\n"
                         "update-alternatives --install /usr/bin/x x"),
            "");
}

TEST(MaintainerScripts, OfOtherLanguagesDeclareNothing) {
  const std::string line = "dpkg-divert --add /a\n";
  EXPECT_EQ(declared("#!/bin/bash\n" + line).diversions.size(), 1U);
  EXPECT_EQ(declared("#!/usr/bin/perl\n" + line).diversions.size(), 0U);
  EXPECT_EQ(declared(line).diversions.size(), 0U);
  EXPECT_EQ(declared("#!").diversions.size(), 0U);
  EXPECT_EQ(declared("").diversions.size(), 0U);
}

TEST(MaintainerScripts, DeclareNoMoreThanAllowed) {
  std::string script = "#!/bin/sh\n";
  for (std::size_t i = 0; i < 2 * max_declarations; ++i) script += "dpkg-divert --add /" + std::to_string(i) + "\n";
  EXPECT_EQ(declared(script).diversions.size(), max_declarations);
}

}  // namespace
}  // namespace gatehouse::refdb
