// Reads a PA-TNC message down to each field as Gatehouse does, and writes it again from what was read.
#pragma once

#include "wire/patnc/patnc.h"

namespace gatehouse::patnc {

// What Gatehouse reads: IETF's, ITA-HSR's and the segmentation attributes.
bool supported(std::uint32_t vendor, std::uint32_t type);

// The value of one attribute, written again. Attributes without a codec here are copied.
Result<ByteVector> rewrite_value(const Attribute& a);

// The refusal that the message gets, from its headers or from a value in it.
Result<std::optional<Refusal>> refusal_of(Bytes message);

// The whole message, written again. A refusal is an error with its offset.
Result<ByteVector> rewrite(Bytes message);

}  // namespace gatehouse::patnc
