#include "refdb/ingest/maintainer_script.h"

#include <algorithm>
#include <optional>
#include <span>

#include "refdb/alias/alias.h"

namespace gatehouse::refdb {
namespace {

struct Word {
  std::string text;
  bool is_literal = true;  // nothing in it stands for something else
};

// Simple commands, one after the other.
class Commands {
 public:
  explicit Commands(std::string_view text) : text_(text) {}
  // The next one's words; nullopt: the script ends.
  std::optional<std::vector<Word>> next() {
    std::vector<Word> words;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') {
        at_ += 2;
      } else if (c == ' ' || c == '\t') {
        ++at_;
      } else if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == '<' || c == '>') {
        redirection(words);
      } else if (std::string_view("\n;&|()").find(c) != std::string_view::npos) {
        ++at_;
        if (c == '\n') skip_documents();
        if (!words.empty()) return words;
      } else {
        words.push_back(word());
      }
    }
    if (words.empty()) return std::nullopt;
    return words;
  }

 private:
  Word word() {
    Word out;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (std::string_view(" \t\n;&|()<>").find(c) != std::string_view::npos) break;
      ++at_;
      if (c == '\'') {
        const std::size_t end = std::min(text_.find('\'', at_), text_.size());
        out.text += text_.substr(at_, end - at_);
        at_ = std::min(end + 1, text_.size());
      } else if (c == '"') {
        quoted(out);
      } else if (c == '\\') {
        if (at_ < text_.size() && text_[at_++] != '\n') out.text += text_[at_ - 1];
      } else {
        if (std::string_view("$`*?[~{").find(c) != std::string_view::npos) out.is_literal = false;
        out.text += c;
      }
    }
    return out;
  }
  void quoted(Word& out) {
    for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      char c = text_[at_];
      if (c == '$' || c == '`') out.is_literal = false;
      if (c == '\\' && at_ + 1 < text_.size() &&
          std::string_view("$`\"\\\n").find(text_[at_ + 1]) != std::string_view::npos) {
        c = text_[++at_];
        if (c == '\n') continue;
      }
      out.text += c;
    }
    if (at_ < text_.size()) ++at_;
  }
  // ">file", "2>&1", "<<END": none of a command's words. What belongs to "<<" begins at the next line.
  void redirection(std::vector<Word>& words) {
    const bool reads = text_[at_] == '<';
    if (!words.empty() && text_[at_ - 1] >= '0' && text_[at_ - 1] <= '9' && words.back().text.size() == 1)
      words.pop_back();
    const std::size_t begin = at_;
    while (at_ < text_.size() && std::string_view("<>&|-").find(text_[at_]) != std::string_view::npos) ++at_;
    const bool document = reads && text_.substr(begin, 2) == "<<";
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
    const Word target = word();
    if (document && documents_.size() < 16) documents_.push_back(target.text);
  }
  void skip_documents() {
    for (const std::string& end : documents_) {
      while (at_ < text_.size()) {
        const std::size_t line_end = std::min(text_.find('\n', at_), text_.size());
        std::string_view line = text_.substr(at_, line_end - at_);
        line.remove_prefix(std::min(line.find_first_not_of('\t'), line.size()));
        at_ = std::min(line_end + 1, text_.size());
        if (line == end) break;
      }
    }
    documents_.clear();
  }

  const std::string_view text_;
  std::size_t at_ = 0;
  std::vector<std::string> documents_;  // how those that begin at the next line end
};

// "--divert=X" or "--divert" "X". False: it isn't this option, or its value is missing.
bool take_option(std::span<const Word>& words, std::string_view name, const Word*& value, Word& own) {
  const Word& first = words.front();
  if (first.text.starts_with(name) && first.text.size() > name.size() && first.text[name.size()] == '=') {
    own = {first.text.substr(name.size() + 1), first.is_literal};
    value = &own;
    words = words.subspan(1);
    return true;
  }
  if (first.text != name || words.size() < 2) return false;
  value = &words[1];
  words = words.subspan(2);
  return true;
}

std::optional<std::string> path_of(const Word& word) {
  if (!word.is_literal || !word.text.starts_with('/')) return std::nullopt;
  auto path = canonical_path(word.text);
  if (!path || path->size() < 2) return std::nullopt;
  return *std::move(path);
}

template <class Declaration>
void add(std::vector<Declaration>& to, Declaration d) {
  if (to.size() < max_declarations && std::ranges::find(to, d) == to.end()) to.push_back(std::move(d));
}

void read_divert(std::span<const Word> words, Declarations& to) {
  const Word *value = nullptr, *path = nullptr;
  Word own;
  std::optional<Word> target;
  while (!words.empty()) {
    if (take_option(words, "--divert", value, own)) {
      target = *value;
    } else if (take_option(words, "--package", value, own) || take_option(words, "--admindir", value, own) ||
               take_option(words, "--instdir", value, own) || take_option(words, "--root", value, own)) {
      continue;
    } else {
      const Word& word = words.front();
      words = words.subspan(1);
      // The actions other than --add.
      if (word.text == "--remove" || word.text == "--truename" || word.text == "--test" ||
          word.text.starts_with("--list"))
        return;
      if (word.text.starts_with('-')) continue;
      if (path != nullptr) return;
      path = &word;
    }
  }
  if (path == nullptr) return;
  auto from = path_of(*path);
  auto other = target ? path_of(*target) : from;
  if (!from || !other) return;
  if (!target) *other += ".distrib";
  if (*from != *other && other->size() <= max_path_bytes) add(to.diversions, {*std::move(from), *std::move(other)});
}

void read_alternatives(std::span<const Word> words, Declarations& to) {
  while (!words.empty()) {
    if ((words[0].text != "--install" && words[0].text != "--slave") || words.size() < 4) {
      words = words.subspan(1);
      continue;
    }
    auto link = path_of(words[1]);
    auto path = path_of(words[3]);
    if (link && path && *link != *path) add(to.alternatives, {*std::move(link), *std::move(path)});
    words = words.subspan(4);
  }
}

// Words that a command may stand behind.
bool is_before_command(const Word& word) {
  static constexpr std::string_view reserved[] = {"if", "then", "elif", "else", "while",   "until",
                                                  "do", "{",    "!",    "exec", "command", "eval"};
  if (std::ranges::find(reserved, word.text) != std::end(reserved)) return true;
  const std::size_t sign = word.text.find('=');
  return sign != std::string::npos && sign > 0 && word.text.find('/') > sign;
}

bool is_shell(std::string_view script) {
  if (!script.starts_with("#!")) return false;
  std::string_view line = script.substr(2, std::min(script.find('\n'), script.size()) - 2);
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  line = line.substr(0, line.find_first_of(" \t\r"));
  line.remove_prefix(line.rfind('/') + 1);
  return line == "sh" || line == "bash" || line == "dash";
}

}  // namespace

void read_declarations(std::string_view script, Declarations& to) {
  if (!is_shell(script)) return;
  Commands commands(script);
  while (const auto words = commands.next()) {
    std::span<const Word> rest(*words);
    while (!rest.empty() && is_before_command(rest.front())) rest = rest.subspan(1);
    if (rest.empty() || !rest.front().is_literal) continue;
    const std::string_view name = std::string_view(rest.front().text).substr(rest.front().text.rfind('/') + 1);
    if (name == "dpkg-divert") read_divert(rest.subspan(1), to);
    if (name == "update-alternatives") read_alternatives(rest.subspan(1), to);
  }
}

}  // namespace gatehouse::refdb
