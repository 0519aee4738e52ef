// Both ends of segmented transfers, driven by the input: honest transfers through lossless messages must give back what
// was sent, whatever a second, lying sender does to its own receiver on the same budget.
#include <algorithm>
#include <cstdlib>
#include <map>

#include "wire/patnc/segmentation.h"

using namespace gatehouse;

namespace {

constexpr std::size_t message_size = 512, largest = 4096, most_buffered = 3 * largest;

void check(bool truth) {
  if (!truth) std::abort();
}

patnc::Reassembler::Admission admit(std::uint32_t, std::uint32_t type) {
  return {.known = type % 16 != 15, .bytes = largest, .incremental = type % 2 == 1};
}

struct Pair {
  patnc::Segmenter sender{message_size, {.transfers = 4, .bytes = 4 * largest, .max_id = 7}};
  patnc::ReassemblyBudget budget{most_buffered};
  patnc::Reassembler receiver{{.transfers = 4}, admit, &budget};
  patnc::Reassembler lied_to{{.transfers = 2, .segments = 64, .batches = 2, .without_contract = false}, admit, &budget};
  std::map<std::uint32_t, ByteVector> sent, pieces;  // by type, which is a counter

  void take_messages(patnc::Builder& out);
  void complete(std::uint32_t type, Bytes value) {
    const auto at = sent.find(type);
    check(at != sent.end() && equal(at->second, value));
    sent.erase(at);
  }
};

void Pair::take_messages(patnc::Builder& out) {
  for (const ByteVector& message : out.take()) {
    check(message.size() <= message_size);
    const auto parsed = patnc::parse_message(message, [](std::uint32_t, std::uint32_t) { return true; });
    check(parsed && !parsed->refusal);
    for (const patnc::Attribute& a : parsed->attributes) {
      if (!a.is(patnc::vendor_tcg, patnc::type::segment_envelope)) {
        complete(a.type, a.value);
        continue;
      }
      Reader r(a.value, "fuzz", a.value_offset());
      auto step = receiver.add(*patnc::parse_envelope(r), a.value_offset());
      check(!step.refusal && !(step.ask_next && step.cancel));
      if (step.piece) {
        ByteVector& value = pieces[step.piece->type];
        check(step.piece->at == value.size());
        value.insert(value.end(), step.piece->bytes.begin(), step.piece->bytes.end());
        if (step.piece->last) {
          complete(step.piece->type, value);
          pieces.erase(step.piece->type);
        }
      }
      if (step.attribute) {
        Reader whole(*step.attribute, "fuzz");
        patnc::Attribute base;
        check(!patnc::parse_attribute(whole, base));
        complete(base.type, base.value);
      }
      if (!step.cancel) continue;
      patnc::Builder none(message_size, 1);
      check(sender.next(none, {patnc::cancel_segments, step.id}) != patnc::Segmenter::Answer::more);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Pair pair;
  Reader r(Bytes(reinterpret_cast<const std::byte*>(data), size), "fuzz");
  std::uint32_t type = 0;
  while (!r.empty()) {
    const std::uint8_t operation = *r.get<std::uint8_t>();
    const std::uint16_t argument = r.get<std::uint16_t>().value_or(0);
    patnc::Builder out(message_size, 1);
    switch (operation % 7) {
      case 0:
        (void)pair.sender.agree({patnc::unlimited, 12 + argument % 600U});
        break;
      case 1: {
        const ByteVector value(argument % (largest - 12), std::byte(operation));
        pair.sent[++type] = value;
        if (!pair.sender.add(out, 0, 0, type, Bytes(value))) pair.sent.erase(type);
        break;
      }
      case 2:
        (void)pair.sender.next(out, {0, argument % 8U});
        break;
      case 3: {
        auto part = r.sub(std::min<std::size_t>(argument % 128, r.remaining()));
        const auto envelope = patnc::parse_envelope(*part);
        if (!envelope) break;
        auto step = pair.lied_to.add(*envelope, 20);
        check(!(step.ask_next && (step.cancel || step.refusal)));
        if (step.attribute) check(step.attribute->size() >= 12 && step.attribute->size() <= largest);
        if (step.piece && step.piece->bytes.size() % 5 == 4)
          step = pair.lied_to.refuse(step, 12 + step.piece->at, "fuzz");
        if (step.refusal) (void)patnc::error_value(*step.refusal, patnc::pseudo_header(step.id));
        (void)patnc::add_next_segment(out, step);
        (void)out.take();
        break;
      }
      case 4:
        (void)pair.lied_to.batch_end(argument % 2 == 0);
        break;
      case 5:
        pair.lied_to.issue({patnc::unlimited, argument});
        (void)pair.lied_to.agree({patnc::unlimited, argument / 2U});
        break;
      case 6: {
        Reader contract(r.rest(), "fuzz");
        const auto asked = patnc::parse_contract(contract);
        if (!asked || !pair.sender.agree(*asked).null()) break;
        pair.receiver = patnc::Reassembler({.transfers = 4}, admit, &pair.budget);  // what waited is gone
        pair.pieces.clear();
        break;
      }
    }
    pair.take_messages(out);
    check(pair.budget.used() <= most_buffered);
    check(pair.sender.waiting_bytes() <= 4 * largest && pair.sender.transfers() <= 4);
    check(pair.lied_to.transfers() <= 2);
  }
  patnc::ReassemblyBudget& budget = pair.budget;
  pair.receiver = patnc::Reassembler({}, admit, &budget);
  pair.lied_to = patnc::Reassembler({}, admit, &budget);
  check(budget.used() == 0);
  return 0;
}
