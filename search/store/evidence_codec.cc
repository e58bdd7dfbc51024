// SPDX-License-Identifier: Apache-2.0
#include "search/store/evidence_codec.h"

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr size_t kLengthBytes = 8;
// Deflate cannot do better than 1032 to 1 (zlib's technical notes).
constexpr uint64_t kMaxRatio = 1032;
// A job's images, a bit each, are 12 MiB at most, and a result has no more than a call may hold, 16
// MiB. What claims to be much more was made to exhaust us.
constexpr uint64_t kMaxBytes = uint64_t{64} << 20;

const Bytef* AsZlib(const char* bytes) { return reinterpret_cast<const Bytef*>(bytes); }
Bytef* AsZlib(char* bytes) { return reinterpret_cast<Bytef*>(bytes); }

// Compressing what most results come with would save some forty bytes of 160, and takes thirty
// times as long as packing it as it is.
constexpr size_t kSmallBytes = 256;

// A zlib stream of one stored block (RFC 1950, RFC 1951 3.2.4), behind what `result` holds.
void AppendStored(absl::string_view bytes, std::string* result) {
  const auto length = static_cast<uint16_t>(bytes.size());
  const auto complement = static_cast<uint16_t>(~length);
  const auto low_first = [result](uint16_t number) {
    result->push_back(static_cast<char>(number & 0xff));
    result->push_back(static_cast<char>(number >> 8));
  };
  result->append("\x78\x01\x01", 3);  // deflate, fastest; the last block, stored
  low_first(length);
  low_first(complement);
  result->append(bytes.data(), bytes.size());
  const uLong sum =
      adler32(adler32(0, nullptr, 0), AsZlib(bytes.data()), static_cast<uInt>(bytes.size()));
  for (int shift = 24; shift >= 0; shift -= 8) {
    result->push_back(static_cast<char>((sum >> shift) & 0xff));
  }
}

// Setting up a stream takes longer than compressing the little that most results come with, so a
// thread keeps its own.
class Deflater {
 public:
  Deflater() : ready_(deflateInit(&stream_, Z_BEST_SPEED) == Z_OK) {}
  ~Deflater() {
    if (ready_) deflateEnd(&stream_);
  }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  // Behind what `result` holds; false when there is no memory.
  bool Append(absl::string_view bytes, std::string* result) {
    if (!ready_ || deflateReset(&stream_) != Z_OK) return false;
    const size_t start = result->size();
    const uLong room = deflateBound(&stream_, bytes.size());
    result->resize(start + room);
    stream_.next_in = const_cast<Bytef*>(AsZlib(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    stream_.next_out = AsZlib(result->data() + start);
    stream_.avail_out = static_cast<uInt>(room);
    if (deflate(&stream_, Z_FINISH) != Z_STREAM_END) return false;
    result->resize(start + stream_.total_out);
    return true;
  }

 private:
  z_stream stream_ = {};
  const bool ready_;
};

}  // namespace

absl::StatusOr<std::string> CompressBytes(absl::string_view bytes) {
  if (bytes.empty()) return std::string();
  if (bytes.size() > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("evidence of ", bytes.size(), " bytes, at most ", kMaxBytes));
  }
  std::string result(kLengthBytes, '\0');
  for (size_t i = 0; i < kLengthBytes; ++i) {
    result[i] = static_cast<char>((uint64_t{bytes.size()} >> (8 * i)) & 0xff);
  }
  if (bytes.size() <= kSmallBytes) {
    AppendStored(bytes, &result);
    return result;
  }
  thread_local Deflater deflater;
  if (!deflater.Append(bytes, &result)) {
    return absl::ResourceExhaustedError("no memory to compress evidence");
  }
  return result;
}

absl::StatusOr<std::string> DecompressBytes(absl::string_view compressed) {
  if (compressed.empty()) return std::string();
  const absl::Status damaged = absl::DataLossError("stored evidence is damaged");
  if (compressed.size() <= kLengthBytes) return damaged;
  const uint64_t length = LittleEndianInteger(compressed.substr(0, kLengthBytes));
  const absl::string_view stream = compressed.substr(kLengthBytes);
  if (length > kMaxBytes || length / kMaxRatio > stream.size()) return damaged;
  std::string result(length, '\0');
  uLongf size = length;
  const int code = uncompress(AsZlib(result.data()), &size, AsZlib(stream.data()), stream.size());
  if (code != Z_OK || size != length) return damaged;
  return result;
}

absl::StatusOr<std::string> CompressSamples(absl::Span<const double> samples) {
  const size_t count = samples.size();
  std::string planes(count * sizeof(double), '\0');
  for (size_t i = 0; i < count; ++i) {
    uint64_t bits = 0;
    std::memcpy(&bits, &samples[i], sizeof(bits));
    for (size_t byte = 0; byte < sizeof(bits); ++byte) {
      planes[byte * count + i] = static_cast<char>((bits >> (8 * byte)) & 0xff);
    }
  }
  return CompressBytes(planes);
}

absl::StatusOr<std::vector<double>> DecompressSamples(absl::string_view compressed) {
  FORALL_ASSIGN_OR_RETURN(const std::string planes, DecompressBytes(compressed));
  if (planes.size() % sizeof(double) != 0) {
    return absl::DataLossError(absl::StrCat("stored samples take ", planes.size(), " bytes"));
  }
  std::vector<double> samples(planes.size() / sizeof(double));
  for (size_t i = 0; i < samples.size(); ++i) {
    uint64_t bits = 0;
    for (size_t byte = 0; byte < sizeof(bits); ++byte) {
      const auto plane = static_cast<unsigned char>(planes[byte * samples.size() + i]);
      bits |= uint64_t{plane} << (8 * byte);
    }
    std::memcpy(&samples[i], &bits, sizeof(bits));
  }
  return samples;
}

}  // namespace forall
