// Prometheus' text format, read by its own rules: what breaks one is a failure of the test.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace gatehouse::test {

using Labels = std::vector<std::pair<std::string, std::string>>;

class MetricsText {
 public:
  explicit MetricsText(const std::string& text) {
    EXPECT_TRUE(text.ends_with('\n')) << "the last line has no end";
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("# HELP ")) help(line.substr(7));
      else if (line.starts_with("# TYPE ")) type(line.substr(7));
      else sample(line);
    }
    for (const auto& [name, kind] : types_) {
      EXPECT_TRUE(kind != "counter" || name.ends_with("_total")) << name;
      if (kind == "histogram") check_histograms(name);
    }
  }
  // By its line without the value: gatehouse_connections{state="peer"}. A failure where there is none.
  double value(const std::string& key) const {
    const auto at = values_.find(key);
    EXPECT_NE(at, values_.end()) << key;
    return at == values_.end() ? std::nan("") : at->second;
  }
  const std::map<std::string, double>& values() const { return values_; }
  const std::map<std::string, std::string>& types() const { return types_; }

 private:
  struct Bucket {
    double bound, count;
  };
  static bool is_name(std::string_view text, bool colon) {
    const auto good = [&](char c, bool first) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c == ':' && colon) || (c >= '0' && c <= '9' && !first);
    };
    for (std::size_t i = 0; i < text.size(); ++i)
      if (!good(text[i], i == 0)) return false;
    return !text.empty();
  }
  void help(const std::string& rest) {
    const std::string name = rest.substr(0, rest.find(' '));
    EXPECT_TRUE(is_name(name, true)) << rest;
    EXPECT_TRUE(helped_.insert(name).second) << name << " is explained twice";
    EXPECT_FALSE(types_.contains(name)) << name << " is explained after its type";
    const std::string text = rest.substr(std::min(rest.size(), name.size() + 1));
    EXPECT_FALSE(text.empty()) << name;
    for (std::size_t i = 0; i < text.size(); ++i)
      if (text[i] == '\\') {
        ++i;
        EXPECT_TRUE(i < text.size() && (text[i] == '\\' || text[i] == 'n')) << rest;
      }
  }
  void type(const std::string& rest) {
    std::istringstream words(rest);
    std::string kind, more;
    words >> family_ >> kind;
    EXPECT_FALSE(words >> more) << rest;
    EXPECT_TRUE(kind == "counter" || kind == "gauge" || kind == "histogram") << rest;
    EXPECT_TRUE(helped_.contains(family_)) << family_;
    EXPECT_TRUE(types_.emplace(family_, kind).second) << family_ << " has two types";
  }
  void sample(const std::string& line) {
    const std::size_t name_end = line.find_first_of("{ ");
    ASSERT_NE(name_end, std::string::npos) << line;
    const std::string name = line.substr(0, name_end);
    EXPECT_TRUE(is_name(name, true)) << line;
    std::size_t at = name_end;
    Labels labels;
    if (line[at] == '{') {
      ASSERT_TRUE(read_labels(line, ++at, labels)) << line;
    }
    ASSERT_TRUE(at < line.size() && line[at] == ' ') << line;
    const std::string number = line.substr(at + 1);
    std::size_t used = 0;
    double value = std::nan("");
    ASSERT_NO_THROW(value = std::stod(number, &used)) << line;
    EXPECT_EQ(used, number.size()) << line;
    EXPECT_TRUE(std::isfinite(value) && value >= 0) << line;
    EXPECT_TRUE(values_.emplace(line.substr(0, at), value).second) << "twice: " << line;
    if (types_[family_] != "histogram") {
      EXPECT_EQ(name, family_) << "outside its family: " << line;
      return;
    }
    std::string others, bound;
    for (const auto& [label, text] : labels) {
      if (label == "le") bound = text;
      else others += label + "=" + text + ";";
    }
    Histogram& histogram = histograms_[family_][others];
    if (name == family_ + "_bucket") histogram.buckets.push_back({bound == "+Inf" ? INFINITY : std::stod(bound), value});
    else if (name == family_ + "_sum") histogram.sum = value;
    else if (name == family_ + "_count") histogram.count = value;
    else ADD_FAILURE() << "outside its family: " << line;
  }
  static bool read_labels(const std::string& line, std::size_t& at, Labels& out) {
    std::set<std::string> seen;
    for (;;) {
      const std::size_t equals = line.find('=', at);
      if (equals == std::string::npos || equals + 1 >= line.size() || line[equals + 1] != '"') return false;
      const std::string label = line.substr(at, equals - at);
      if (!is_name(label, false) || !seen.insert(label).second) return false;
      std::string text;
      for (at = equals + 2; at < line.size() && line[at] != '"'; ++at) {
        if (line[at] == '\\') {
          if (++at == line.size() || std::string_view("\\\"n").find(line[at]) == std::string_view::npos) return false;
          text += line[at] == 'n' ? '\n' : line[at];
        } else {
          text += line[at];
        }
      }
      out.emplace_back(label, text);
      if (at + 1 >= line.size()) return false;
      ++at;
      if (line[at] == '}') return ++at, true;
      if (line[at++] != ',') return false;
    }
  }
  void check_histograms(const std::string& name) {
    EXPECT_FALSE(histograms_[name].empty()) << name;
    for (const auto& [labels, histogram] : histograms_[name]) {
      ASSERT_TRUE(histogram.sum && histogram.count && !histogram.buckets.empty()) << name << labels;
      for (std::size_t i = 1; i < histogram.buckets.size(); ++i) {
        EXPECT_LT(histogram.buckets[i - 1].bound, histogram.buckets[i].bound) << name << labels;
        EXPECT_LE(histogram.buckets[i - 1].count, histogram.buckets[i].count) << name << labels;
      }
      EXPECT_TRUE(std::isinf(histogram.buckets.back().bound)) << name << labels;
      EXPECT_EQ(histogram.buckets.back().count, *histogram.count) << name << labels;
      EXPECT_TRUE(*histogram.count != 0 || *histogram.sum == 0) << name << labels;
    }
  }

  struct Histogram {
    std::vector<Bucket> buckets;
    std::optional<double> sum, count;
  };
  std::string family_;
  std::set<std::string> helped_;
  std::map<std::string, std::string> types_;
  std::map<std::string, double> values_;
  std::map<std::string, std::map<std::string, Histogram>> histograms_;
};

}  // namespace gatehouse::test
