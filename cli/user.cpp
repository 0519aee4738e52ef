#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <filesystem>
#include <memory>

#include "base/secret.h"
#include "cli/commands.h"
#include "server/state/passwords.h"
#include "server/state/users.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct UserOptions {
  std::string users, passwords, name, password_file;  // one of the files
  bool hash_alone = false;
  std::uint32_t iterations = default_iterations;
  bool json = false;
};

template <class File>
Result<File> load(const std::string& path, bool may_be_new) {
  std::error_code code;
  if (may_be_new && !std::filesystem::exists(path, code)) return File();
  return File::load(path);
}

// A password is never an argument: those are visible to every process.
Result<Secret> password_of(const UserOptions& options) {
  if (!options.password_file.empty()) return read_secret_file(options.password_file);
  std::string line;
  line.reserve(4096);  // so that no earlier buffer keeps a part of it
  if (!std::getline(std::cin, line) || line.empty())
    return fail(Fault::usage, "no password: give it on standard input or with --password-file");
  if (line.back() == '\r') line.pop_back();
  return Secret(std::move(line));
}

int print_user(const UserOptions& options, std::string_view member, const std::string& text) {
  if (options.json) {
    json::object out;
    out[member] = options.name;
    std::cout << json::serialize(out) << '\n';
  } else {
    std::cout << text << '\n';
  }
  return flushed();
}

Result<std::string> add(const UserOptions& options) {
  if (options.passwords.empty()) {
    if (options.hash_alone) return fail(Fault::usage, "--nt-hash is for --passwords");
    GH_TRY(auto users, load<server::UserFile>(options.users, true));
    GH_TRY(const Secret password, password_of(options));
    GH_CHECK(users.set(options.name, password, options.iterations));
    GH_CHECK(users.save(options.users));
    return options.name + " has a password verifier in " + options.users;
  }
  GH_TRY(auto passwords, load<server::PasswordFile>(options.passwords, true));
  GH_TRY(const Secret password, password_of(options));
  GH_CHECK(passwords.set(options.name, password, options.hash_alone));
  GH_CHECK(passwords.save(options.passwords));
  return options.name + (options.hash_alone ? " has the NT hash of a password in " : " has a password in ") + options.passwords;
}

int run_user_add(const UserOptions& options) {
  const auto added = add(options);
  return added ? print_user(options, "added", *added) : complain(added.error());
}

template <class File>
Result<bool> remove(const UserOptions& options, const std::string& path) {
  GH_TRY(auto file, load<File>(path, false));
  if (!file.remove(options.name)) return false;
  GH_CHECK(file.save(path));
  return true;
}

int run_user_remove(const UserOptions& options) {
  const bool clear = !options.passwords.empty();
  const std::string& path = clear ? options.passwords : options.users;
  const auto removed = clear ? remove<server::PasswordFile>(options, path) : remove<server::UserFile>(options, path);
  if (!removed) return complain(removed.error());
  if (!*removed) return complain(Error{Fault::denied, "no such user", {}, 0, options.name, {}});
  return print_user(options, "removed", options.name + " removed from " + path);
}

int run_user_list(const UserOptions& options) {
  const auto names = [&]() -> Result<std::vector<std::string>> {
    if (options.passwords.empty()) {
      GH_TRY(const auto users, load<server::UserFile>(options.users, false));
      return users.names();
    }
    GH_TRY(const auto passwords, load<server::PasswordFile>(options.passwords, false));
    return passwords.names();
  }();
  if (!names) return complain(names.error());
  for (const std::string& user : *names) {
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
  const auto options = std::make_shared<UserOptions>();
  CLI::App* const group = app.add_subcommand("user", "Users who authenticate by password (PT-TLS SASL, and behind gateways)");
  group->require_subcommand(1);
  group->footer(
      "Example:\n  gatehouse user add carol --users users.db <password.txt\n"
      "  gatehouse user add carol --passwords eap.passwords --password-file password.txt");
  const auto command = [&](const char* name, const char* what, int (*body)(const UserOptions&), const char* example) {
    CLI::App* const out = group->add_subcommand(name, what);
    auto* const file = out->add_option_group("file", "Which file");
    file->add_option("--users", options->users, "user file, `[pt_tls] users` of the configuration: what passwords can be checked with");
    file->add_option("--passwords", options->passwords, "passwords file, `[radius] passwords`: the passwords themselves, for EAP-MD5 and MSCHAPv2");
    file->require_option(1);
    out->add_flag("--json", options->json, "JSON on standard output; a list prints one object a line");
    out->footer(std::string("Example:\n  ") + example);
    out->callback([options, &run, body] { run = [options, body] { return body(*options); }; });
    return out;
  };
  auto* const add = command("add", "Add a user or change the password", run_user_add,
                            "gatehouse user add carol --users users.db --password-file password.txt");
  add->add_option("NAME", options->name, "1 to 255 bytes without white space")->required();
  add->add_option("--password-file", options->password_file, "its first line; without it the first line of standard input");
  add->add_flag("--nt-hash", options->hash_alone, "with --passwords: keep the NT hash alone, which EAP-MD5 can't be checked with");
  add->add_option("--iterations", options->iterations, "PBKDF2 iterations")->capture_default_str();
  auto* const remove = command("remove", "Remove a user", run_user_remove, "gatehouse user remove carol --users users.db");
  remove->add_option("NAME", options->name, "user")->required();
  command("list", "Names of all users", run_user_list, "gatehouse user list --users users.db");
}

}  // namespace gatehouse::cli
