#include "server/judge/answers.h"

namespace gatehouse::server {
namespace {

using pipeline::Evaluation;

constexpr std::size_t ports = 65536;

std::string_view name_of(std::uint8_t protocol) { return protocol == patnc::protocol_tcp ? "tcp" : "udp"; }

// What is open against the item: not in the list of the allowed, or in that of the forbidden ones.
std::bitset<ports> violations(const policy::WorkItem& item, const std::bitset<ports>& open) {
  std::bitset<ports> listed;
  for (const auto& range : item.ports->ranges())
    for (std::size_t port = range.first; port <= range.last; ++port) listed.set(port);
  const bool allowed = item.type == policy::Type::tcpop || item.type == policy::Type::udpop;
  return allowed ? open & ~listed : open & listed;
}

struct PortList {
  std::vector<std::string> list;  // "23", "8080"; as ranges "1-21"; ascending
  std::size_t more = 0;           // ports besides these: people don't read lists of thousands
};
PortList port_list(const std::bitset<ports>& set, bool ranges) {
  constexpr std::size_t most = 128;
  PortList out;
  for (std::size_t first = 0; first < ports; ++first) {
    if (!set.test(first)) continue;
    std::size_t last = first;
    while (ranges && last + 1 < ports && set.test(last + 1)) ++last;
    if (out.list.size() == most)
      out.more += last - first + 1;
    else
      out.list.push_back(std::to_string(first) + (last != first ? "-" + std::to_string(last) : ""));
    first = last;
  }
  return out;
}

}  // namespace

std::optional<Answer> judge_setting(policy::Type type, const OsSettings& settings) {
  const auto answer = [](bool bad, Evaluation evaluation, std::string_view what) {
    return Answer{bad ? evaluation : Evaluation::compliant, std::string(what) + (bad ? " enabled" : " not enabled")};
  };
  switch (type) {
    case policy::Type::fwden:
      if (settings.forwarding == 2U) return Answer{Evaluation::unknown, "forwarding unknown"};
      if (settings.forwarding) return answer(settings.forwarding == 1U, Evaluation::major, "forwarding");
      return std::nullopt;
    case policy::Type::pwden:
      if (settings.default_password)
        return answer(settings.default_password == 1U, Evaluation::major, "factory default password");
      return std::nullopt;
    case policy::Type::unsrc:
      if (settings.unknown_sources) return answer(*settings.unknown_sources, Evaluation::minor, "unknown sources");
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

std::optional<Answer> judge_packages(const PackageCheck& check, const policy::WorkItem& item) {
  const PackageCheck::Counts* const counts = check.counts(item);
  if (counts == nullptr) return std::nullopt;
  if (check.failure()) return Answer{Evaluation::error, "the reference store can't be read"};
  return Answer{counts->bad() ? Evaluation::minor : Evaluation::compliant, counts->text()};
}

std::uint8_t protocol_of(policy::Type item) {
  return item == policy::Type::tcpop || item == policy::Type::tcpbl ? patnc::protocol_tcp : patnc::protocol_udp;
}

OpenPorts::OpenPorts(std::span<const patnc::PortFilterEntry> entries, std::uint8_t protocol) {
  std::bitset<ports> blocked;
  for (const patnc::PortFilterEntry& entry : entries)
    if (entry.protocol == protocol) (entry.blocked ? blocked : open).set(entry.port);
  contradictory = blocked.any() && open.any();
  if (!blocked.any() || contradictory) return;
  listed = false;
  open = ~blocked;
  open.reset(0);  // no port that anything can listen on
}

void OpenPorts::add(const OpenPorts& other) {
  open |= other.open;
  listed = listed && other.listed;
  contradictory = contradictory || other.contradictory;
}

PortAnswer judge_ports(const policy::WorkItem& item, const OpenPorts& open) {
  PortAnswer out;
  const std::string name(name_of(protocol_of(item.type)));
  if (open.contradictory) {
    out.evaluation = Evaluation::error;
    out.text = "the port filter has blocked and open " + name + " ports";
    return out;
  }
  const PortList bad = port_list(violations(item, open.open), !open.listed);
  if (bad.list.empty()) {
    out.evaluation = Evaluation::compliant;
    out.text = "no violating " + name + " ports";
    return out;
  }
  out.evaluation = Evaluation::minor;
  out.text = "violating " + name + " ports:";
  for (const std::string& port : bad.list) {
    out.text += ' ' + port;
    out.violations.push_back(name + ' ' + port);
  }
  if (bad.more != 0) out.text += " and " + std::to_string(bad.more) + " more";
  out.more = bad.more;
  return out;
}

bool violates(const policy::WorkItem& item, const OpenPorts& open) {
  return open.contradictory || violations(item, open.open).any();
}

}  // namespace gatehouse::server
