// Metrics as they are told: families of samples, and Prometheus' text format of them.
//
//   const std::string text = exposition({{"gatehouse_connections", "Open connections", Type::gauge, {{{{"state", "peer"}}, 3}}}});
//
// Source: Prometheus' text exposition format, version 0.0.4. Names of families and labels are ours, and literals; values of
// labels are, too: none comes from a peer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gatehouse::server::metrics {

enum class Type : std::uint8_t { counter, gauge, histogram };
std::string_view name(Type type);

struct Sample {
  std::vector<std::pair<std::string_view, std::string_view>> labels;
  double value = 0;  // of a histogram the sum, in seconds
  // Of a histogram: how many were at most so long, in ascending order; and how many there were.
  std::vector<std::pair<double, std::uint64_t>> buckets{};
  std::uint64_t count = 0;
};

struct Family {
  std::string_view name, help;
  Type type = Type::counter;
  std::vector<Sample> samples;
};

std::string exposition(const std::vector<Family>& families);

inline constexpr std::string_view content_type = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace gatehouse::server::metrics
