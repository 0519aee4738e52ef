// Changes a conversation on its way to the server, at the layer and in the turn that its number says. A change waits
// for a message that it can be made to: an attribute's value needs an attribute. The same seed and number make the same
// changes.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/mutated/tree.h"

namespace gatehouse::test {

enum class Layer : std::uint8_t { moment, transport, batch, message, attribute, segment, value, bytes };
inline constexpr std::size_t layers = 8;
std::string_view name(Layer layer);

// What other conversations said, to be spliced in.
class Pool {
 public:
  void add(Bytes message);
  const AttributeTree* attribute(Random& random) const;  // of any type, each as likely
  const AttributeTree* attribute(std::uint32_t vendor, std::uint32_t type, Random& random) const;
  const MessageTree* message(Random& random) const;
  const ByteVector* whole(Random& random) const;

 private:
  static constexpr std::size_t most_of_a_type = 48, most_messages = 256, longest_message = 30'000;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::vector<AttributeTree>> attributes_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> types_;
  std::vector<MessageTree> messages_;
  std::vector<ByteVector> whole_;
};

// What happens in place of one message that the client wanted to send.
struct Event {
  enum class Kind : std::uint8_t {
    bytes,       // in pieces of `cut` bytes where that isn't 0
    deadline,    // the server's timer
    stop,        // the server is told to stop
    gone,        // the connection ends
    reassess,    // the server asks for another assessment
    start_over,  // the client begins another assessment; its messages follow
  };
  Kind kind = Kind::bytes;
  ByteVector bytes{};
  std::size_t cut = 0;
};

struct Change {
  Layer layer;
  std::string_view name;
  std::size_t turn;
};

struct Context;  // operations.h

class Mutator {
 public:
  // `turns`: messages of the conversation as it was; `changes`: how many are to be made.
  Mutator(const Pool& pool, Random random, std::size_t turns, std::size_t changes);

  std::vector<Event> send(ByteVector message);
  // Once the client has nothing more to say. `ended`: nor has the server, so that what follows changes nothing.
  std::vector<Event> rest(bool ended);
  const std::vector<Change>& made() const { return made_; }

 private:
  struct Planned {
    Layer layer;
    std::size_t turn;
    Random random;
  };
  bool make(Context& context, Planned& planned);

  const Pool& pool_;
  std::vector<Planned> planned_;
  std::size_t turn_ = 0;
  std::vector<Event> held_;             // to be sent behind the next message
  std::deque<AttributeTree> segments_;  // of an attribute that was cut, for the batches that follow
  std::uint32_t segments_vendor_ = 0, segments_subtype_ = 0;
  std::uint16_t segments_collector_ = 0;
  std::vector<Change> made_;
};

}  // namespace gatehouse::test
