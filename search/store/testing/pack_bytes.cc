// SPDX-License-Identifier: Apache-2.0
#include "search/store/testing/pack_bytes.h"

#include <zlib.h>

#include <cstddef>

#include "base/log.h"

namespace forall::testing {

std::string PackBytes(absl::string_view bytes) {
  std::string packed;
  if (bytes.empty()) return packed;
  for (size_t length = bytes.size(), i = 0; i < 8; ++i, length >>= 8) {
    packed += static_cast<char>(length & 0xff);
  }
  uLongf size = compressBound(bytes.size());
  packed.resize(8 + size);
  const int code = compress(reinterpret_cast<Bytef*>(packed.data() + 8), &size,
                            reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  FORALL_CHECK(code == Z_OK) << "no memory";
  packed.resize(8 + size);
  return packed;
}

}  // namespace forall::testing
