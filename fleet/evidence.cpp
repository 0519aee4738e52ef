#include "fleet/evidence.h"

#include "base/file.h"
#include "wire/ima/ima.h"

namespace gatehouse::fleet {
namespace {

constexpr auto bank = HashAlgorithm::sha256;

struct Place {
  std::size_t begin = 0, end = 0;  // of the entry
  std::size_t digest = 0;          // of the file's digest
};
Result<std::vector<Place>> places(Bytes list) {
  std::vector<Place> out;
  ima::Cursor cursor(ima::Cursor::Form::binary);
  cursor.feed(list);
  cursor.end();
  for (;;) {
    GH_TRY(const ima::Entry* const entry, cursor.next());
    if (entry == nullptr) break;
    if (!out.empty()) out.back().end = entry->offset;
    // PCR, template hash, name length, name, length, and in the data: length, "sha256:", NUL.
    const std::size_t data = entry->offset + 4 + 20 + 4 + entry->template_name.size() + 4;
    out.push_back({entry->offset, list.size(), data + 4 + 8});
  }
  return out;
}

// The middle entry's file has other content; its template hash in SHA-1 is what it was: nobody looks at that.
Result<ByteVector> with_a_change(ByteVector list) {
  GH_TRY(const auto all, places(list));
  if (all.size() < 2) return list;
  const Place& p = all[all.size() / 2];
  list[p.digest] ^= std::byte{1};
  return list;
}

Result<std::shared_ptr<endpoint::SoftwareTpm>> tpm_after(Bytes log, Bytes list) {
  static const auto key = endpoint::SigningKey::generate(endpoint::KeyAlgorithm::ecc);
  if (!key) return std::unexpected(key.error());
  endpoint::SoftwareTpm::Options options;
  options.banks = {bank};
  auto out = std::make_shared<endpoint::SoftwareTpm>(*key, std::move(options));
  GH_CHECK(out->extend_event_log(log));
  GH_CHECK(out->extend_ima_list(list));
  return out;
}

}  // namespace

Result<std::unique_ptr<Variants>> Variants::load(const Fleet& fleet) {
  std::unique_ptr<Variants> out(new Variants(fleet));
  constexpr std::size_t limit = std::size_t(1) << 30;
  for (std::uint32_t i = 0; i < fleet.images; ++i) {
    Image image;
    GH_TRY(image.log, read_file(fleet.image(i, "firmware.log"), limit));
    GH_TRY(image.list, read_file(fleet.image(i, "ima.list"), limit));
    GH_TRY(image.more, read_file(fleet.image(i, "ima.more"), limit));
    std::vector<std::size_t> ends{0};
    auto more = places(image.more);
    if (!more) return std::unexpected(std::move(more).error().from(fleet.image(i, "ima.more")));
    for (const Place& p : *more) ends.push_back(p.end);
    out->more_ends_.push_back(std::move(ends));
    out->images_.push_back(std::move(image));
  }
  return out;
}

Result<std::shared_ptr<const Variant>> Variants::get(std::uint32_t image, Manner manner, std::uint32_t grown) {
  if (manner != Manner::changed && manner != Manner::forged) manner = Manner::honest;
  grown = std::min<std::uint32_t>(grown, std::uint32_t(more_ends_[image].size() - 1));
  // One at a time: the others that wait want the same one, often.
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const Variant>& there = made_[{image, manner, grown}];
  if (there == nullptr) {
    GH_TRY(there, make(image, manner, grown));
  }
  return there;
}

Result<std::shared_ptr<const Variant>> Variants::make(std::uint32_t image, Manner manner, std::uint32_t grown) const {
  const Image& of = images_[image];
  ByteVector list = of.list;
  list.insert(list.end(), of.more.begin(), of.more.begin() + std::ptrdiff_t(more_ends_[image][grown]));
  ByteVector measured = list;
  if (manner != Manner::honest) {
    GH_TRY(measured, with_a_change(std::move(measured)));
  }
  const endpoint::EvidenceOptions options{.time = endpoint::measurement_time(fleet_.made / 1000)};
  auto out = std::make_shared<Variant>();
  GH_TRY(out->boot, endpoint::firmware_evidence(of.log, bank, options));
  GH_TRY(out->list, endpoint::ima_evidence(manner == Manner::changed ? measured : list, bank, options));
  GH_TRY(out->tpm, tpm_after(of.log, measured));
  return out;
}

}  // namespace gatehouse::fleet
