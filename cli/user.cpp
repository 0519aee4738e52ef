#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <filesystem>
#include <memory>

#include "base/secret.h"
#include "cli/commands.h"
#include "server/state/users.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct Options {
  std::string users, name, password_file;
  std::uint32_t iterations = default_iterations;
  bool json = false;
};

Result<server::UserFile> load(const Options& options, bool may_be_new) {
  std::error_code code;
  if (may_be_new && !std::filesystem::exists(options.users, code)) return server::UserFile();
  return server::UserFile::load(options.users);
}

// A password is never an argument: those are visible to every process.
Result<Secret> password_of(const Options& options) {
  if (!options.password_file.empty()) return read_secret_file(options.password_file);
  std::string line;
  line.reserve(4096);  // so that no earlier buffer keeps a part of it
  if (!std::getline(std::cin, line) || line.empty())
    return fail(Fault::usage, "no password: give it on standard input or with --password-file");
  if (line.back() == '\r') line.pop_back();
  return Secret(std::move(line));
}

int print(const Options& options, std::string_view member, const std::string& text) {
  if (options.json) {
    json::object out;
    out[member] = options.name;
    std::cout << json::serialize(out) << '\n';
  } else {
    std::cout << text << '\n';
  }
  return flushed();
}

int run_add(const Options& options) {
  auto users = load(options, true);
  if (!users) return complain(users.error());
  const auto password = password_of(options);
  if (!password) return complain(password.error());
  if (const auto set = users->set(options.name, *password, options.iterations); !set) return complain(set.error());
  if (const auto saved = users->save(options.users); !saved) return complain(saved.error());
  return print(options, "added", options.name + " has a password verifier in " + options.users);
}

int run_remove(const Options& options) {
  auto users = load(options, false);
  if (!users) return complain(users.error());
  if (!users->remove(options.name))
    return complain(Error{Fault::denied, "no such user", {}, 0, options.name, {}});
  if (const auto saved = users->save(options.users); !saved) return complain(saved.error());
  return print(options, "removed", options.name + " removed from " + options.users);
}

int run_list(const Options& options) {
  const auto users = load(options, false);
  if (!users) return complain(users.error());
  for (const std::string& user : users->names()) {
    if (options.json) {
      json::object out;
      out["user"] = user;
      std::cout << json::serialize(out) << '\n';
    } else {
      std::cout << user << '\n';
    }
  }
  return flushed();
}

}  // namespace

void add_user(CLI::App& app, Run& run) {
  const auto options = std::make_shared<Options>();
  CLI::App* const group = app.add_subcommand("user", "Users who authenticate by password (PT-TLS SASL)");
  group->require_subcommand(1);
  group->footer("Example:\n  gatehouse user add carol --users users.db <password.txt");
  const auto command = [&](const char* name, const char* what, int (*body)(const Options&), const char* example) {
    CLI::App* const out = group->add_subcommand(name, what);
    out->add_option("--users", options->users, "user file, `[pt_tls] users` of the configuration")->required();
    out->add_flag("--json", options->json, "JSON on standard output; a list prints one object a line");
    out->footer(std::string("Example:\n  ") + example);
    out->callback([options, &run, body] { run = [options, body] { return body(*options); }; });
    return out;
  };
  auto* const add = command("add", "Add a user or change the password", run_add,
                            "gatehouse user add carol --users users.db --password-file password.txt");
  add->add_option("NAME", options->name, "1 to 255 bytes without white space")->required();
  add->add_option("--password-file", options->password_file, "its first line; without it the first line of standard input");
  add->add_option("--iterations", options->iterations, "PBKDF2 iterations")->capture_default_str();
  auto* const remove = command("remove", "Remove a user", run_remove, "gatehouse user remove carol --users users.db");
  remove->add_option("NAME", options->name, "user")->required();
  command("list", "Names of all users", run_list, "gatehouse user list --users users.db");
}

}  // namespace gatehouse::cli
