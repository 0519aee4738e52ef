#include "endpoint/service/config.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/hex.h"
#include "base/toml.h"

namespace gatehouse::endpoint {
namespace {

// As it would stand on the command line; nothing of a kind that no option takes.
std::optional<std::string> argument(const toml::node& node) {
  if (const auto text = node.value_exact<std::string>()) return *text;
  if (const auto number = node.value_exact<std::int64_t>()) return std::to_string(*number);
  if (const auto flag = node.value_exact<bool>()) return *flag ? "true" : "false";
  return std::nullopt;
}

std::optional<std::vector<std::string>> arguments(const toml::node& node) {
  std::vector<std::string> out;
  const toml::array* const list = node.as_array();
  if (list == nullptr) {
    auto one = argument(node);
    if (one) out.push_back(*std::move(one));
    return one ? std::optional(std::move(out)) : std::nullopt;
  }
  for (const toml::node& item : *list) {
    auto one = argument(item);
    if (!one) return std::nullopt;
    out.push_back(*std::move(one));
  }
  return out;
}

// Why the option doesn't take it; empty: it does.
std::string take(CLI::Option& option, const std::vector<std::string>& values) {
  const bool flag = option.get_items_expected_max() == 0;
  const bool boolean = values.size() == 1 && (values[0] == "true" || values[0] == "false");
  if (flag && !boolean) return "wants true or false";
  if (values.empty()) return "wants a value";
  try {
    for (const std::string& one : values) option.add_result(one);
    option.run_callback();
  } catch (const CLI::Error& e) {
    return e.what();
  }
  return {};
}

}  // namespace

std::expected<void, ConfigMistakes> read_config(const std::string& file, CLI::App& app,
                                                bool (*is_path)(std::string_view option)) {
  constexpr std::size_t limit = std::size_t(1) << 20;
  const auto content = read_file(file, limit);
  if (!content) return std::unexpected(ConfigMistakes{{content.error().text()}, content.error().fault});
  const auto root = parse_toml(as_text(*content), file);
  if (!root)
    return std::unexpected(
        ConfigMistakes{{file + ":" + std::to_string(root.error().line) + ": toml: " + root.error().reason}});
  const std::filesystem::path folder = std::filesystem::path(file).parent_path();
  ConfigMistakes mistakes;
  for (const auto& [key, node] : *root) {
    const auto mistake = [&](const std::string& why) {
      mistakes.lines.push_back(file + ":" + std::to_string(node.source().begin.line) + ": " + escaped(key.str()) +
                               ": " + escaped(why, why.size()));
    };
    std::string name(key.str());
    std::replace(name.begin(), name.end(), '_', '-');
    CLI::Option* const option = app.get_option_no_throw("--" + name);
    if (option == nullptr || key.str().find('-') != std::string_view::npos || name == "help" || name == "config") {
      mistake("unknown key");
      continue;
    }
    auto values = arguments(node);
    if (!values) {
      mistake("wants a string, a number, true, false, or a list of them");
      continue;
    }
    if (is_path(name))
      for (std::string& one : *values) one = (folder / one).lexically_normal().string();
    if (option->count() != 0) continue;  // the command line's
    if (const std::string why = take(*option, *values); !why.empty()) mistake(why);
  }
  if (!mistakes.lines.empty()) return std::unexpected(std::move(mistakes));
  return {};
}

}  // namespace gatehouse::endpoint
