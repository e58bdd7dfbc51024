// SPDX-License-Identifier: Apache-2.0
#include "supernet/half.h"

#include <cstring>

namespace forall {
namespace {

float FloatFromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

uint32_t BitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// Drops `shift` low bits of `mantissa`, ties to even.
uint32_t ShiftRound(uint32_t mantissa, int shift) {
  const uint32_t kept = mantissa >> shift;
  const uint32_t rest = mantissa & ((uint32_t{1} << shift) - 1);
  const uint32_t half = uint32_t{1} << (shift - 1);
  if (rest > half || (rest == half && (kept & 1) != 0)) return kept + 1;
  return kept;
}

}  // namespace

float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0x1f) return FloatFromBits(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return FloatFromBits(sign | ((exponent + 112) << 23) | (mantissa << 13));
  if (mantissa == 0) return FloatFromBits(sign);
  // A subnormal half is a normal float: move its leading one to the hidden bit.
  uint32_t biased = 113;
  while ((mantissa & 0x400u) == 0) {
    mantissa <<= 1;
    --biased;
  }
  return FloatFromBits(sign | (biased << 23) | ((mantissa & 0x3ffu) << 13));
}

uint16_t FloatToHalf(float value) {
  const uint32_t bits = BitsOf(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  const int exponent = static_cast<int>(magnitude >> 23) - 112;  // biased as a half's
  if (exponent >= 31) return static_cast<uint16_t>(sign | 0x7c00u);
  const uint32_t mantissa = magnitude & 0x7fffffu;
  if (exponent > 0) {
    // A carry out of the mantissa steps the exponent, at the top into infinity: as it should.
    return static_cast<uint16_t>(
        sign | ShiftRound((static_cast<uint32_t>(exponent) << 23) | mantissa, 13));
  }
  const int shift = 14 - exponent;
  if (shift > 24) return static_cast<uint16_t>(sign);
  return static_cast<uint16_t>(sign | ShiftRound(mantissa | 0x800000u, shift));
}

float BFloat16ToFloat(uint16_t bfloat) {
  return FloatFromBits(static_cast<uint32_t>(bfloat) << 16);
}

}  // namespace forall
