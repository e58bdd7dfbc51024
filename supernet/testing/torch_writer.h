// SPDX-License-Identifier: Apache-2.0
// Writes float32 tensors the way torch.save does, in both of its formats, for tests.
#ifndef FORALL_SUPERNET_TESTING_TORCH_WRITER_H_
#define FORALL_SUPERNET_TESTING_TORCH_WRITER_H_

#include <zlib.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "supernet/package.h"

namespace forall::testing {

inline std::string LittleEndian(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text.push_back(i < 8 ? static_cast<char>(value >> (8 * i)) : 0);
  return text;
}

struct ZipFile {
  std::string name;
  std::string content;
  uint16_t method = 0;
};

inline std::string MakeZip(const std::vector<ZipFile>& files) {
  std::string bytes;
  std::string directory;
  for (const ZipFile& file : files) {
    const auto* data = reinterpret_cast<const Bytef*>(file.content.data());
    const uint64_t crc = crc32_z(0, data, file.content.size());
    // Version, flags, method, time and date, checksum, sizes, lengths of name and extra field.
    const std::string common = LittleEndian(0, 4) + LittleEndian(file.method, 2) +
                               LittleEndian(0, 4) + LittleEndian(crc, 4) +
                               LittleEndian(file.content.size(), 4) +
                               LittleEndian(file.content.size(), 4) +
                               LittleEndian(file.name.size(), 2) + LittleEndian(0, 2);
    directory += "PK\x01\x02" + LittleEndian(0, 2) + common + LittleEndian(0, 10) +
                 LittleEndian(bytes.size(), 4) + file.name;
    bytes += "PK\x03\x04" + common + file.name + file.content;
  }
  const size_t offset = bytes.size();
  return bytes + directory + "PK\x05\x06" + LittleEndian(0, 4) + LittleEndian(files.size(), 2) +
         LittleEndian(files.size(), 2) + LittleEndian(directory.size(), 4) +
         LittleEndian(offset, 4) + LittleEndian(0, 2);
}

inline std::string PickledText(const std::string& text) {
  return "X" + LittleEndian(text.size(), 4) + text;
}

inline std::string PickledTuple(absl::Span<const int64_t> values) {
  std::string bytes = "(";
  for (const int64_t value : values) bytes += "J" + LittleEndian(static_cast<uint64_t>(value), 4);
  return bytes + "t";
}

// The pickle of {"state_dict": OrderedDict of the tensors}; storage i has the key "i".
inline std::string PickledStateDict(absl::Span<const NamedTensor> tensors) {
  std::string bytes =
      std::string("\x80\x02}", 3) + PickledText("state_dict") + "ccollections\nOrderedDict\n)R(";
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::vector<int64_t>& shape = tensors[i].shape;
    std::vector<int64_t> strides(shape.size(), 1);
    for (size_t axis = shape.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * shape[axis];
    bytes += PickledText(tensors[i].name) + "ctorch._utils\n_rebuild_tensor_v2\n((" +
             PickledText("storage") + "ctorch\nFloatStorage\n" + PickledText(absl::StrCat(i)) +
             PickledText("cpu") + "J" + LittleEndian(tensors[i].values.size(), 4) + "tQ" +
             std::string("K\0", 2) + PickledTuple(shape) + PickledTuple(strides) +
             "\x89"
             "ccollections\nOrderedDict\n)RtR";
  }
  return bytes + "us.";
}

inline std::string Bytes(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

inline std::string MakeZipCheckpoint(absl::Span<const NamedTensor> tensors) {
  std::vector<ZipFile> files = {{"archive/data.pkl", PickledStateDict(tensors)}};
  for (size_t i = 0; i < tensors.size(); ++i) {
    files.push_back({absl::StrCat("archive/data/", i), Bytes(tensors[i].values)});
  }
  files.push_back({"archive/version", "3\n"});
  return MakeZip(files);
}

inline std::string MakeOldCheckpoint(absl::Span<const NamedTensor> tensors) {
  std::string bytes("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  bytes += std::string("\x80\x02M\xe9\x03.", 6);
  bytes += std::string("\x80\x02}", 3) + PickledText("little_endian") + "\x88s.";
  bytes += PickledStateDict(tensors);
  bytes += std::string("\x80\x02](", 4);
  for (size_t i = 0; i < tensors.size(); ++i) bytes += PickledText(absl::StrCat(i));
  bytes += "e.";
  for (const NamedTensor& tensor : tensors) {
    bytes += LittleEndian(tensor.values.size(), 8) + Bytes(tensor.values);
  }
  return bytes;
}

}  // namespace forall::testing

#endif  // FORALL_SUPERNET_TESTING_TORCH_WRITER_H_
