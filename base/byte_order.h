// SPDX-License-Identifier: Apache-2.0
// Integers out of file formats, whatever the machine's own byte order.
#ifndef FORALL_BASE_BYTE_ORDER_H_
#define FORALL_BASE_BYTE_ORDER_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace forall {

// All of `bytes`, which must be at most eight, as one unsigned integer; 0 for none.
inline uint64_t LittleEndianInteger(absl::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

inline uint64_t BigEndianInteger(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

}  // namespace forall

#endif  // FORALL_BASE_BYTE_ORDER_H_
