// SPDX-License-Identifier: Apache-2.0
// 16-bit floating-point storage formats, converted in software so that a file reads the same on
// every machine: IEEE 754 binary16 (F16) and bfloat16 (BF16).
#ifndef FORALL_SUPERNET_HALF_H_
#define FORALL_SUPERNET_HALF_H_

#include <cstdint>

namespace forall {

// Exact: every binary16 value, subnormals, infinities and NaNs included, is a float.
float HalfToFloat(uint16_t half);

// Round to nearest, ties to even. Values beyond 65504 (after rounding) become infinities.
uint16_t FloatToHalf(float value);

// Exact.
float BFloat16ToFloat(uint16_t bfloat);

}  // namespace forall

#endif  // FORALL_SUPERNET_HALF_H_
