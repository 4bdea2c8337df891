// Integer arithmetic that several kernels share. C++17, nothing but the compiler's own headers.
#pragma once

#include <stdint.h>

// num / den, rounded half away from zero; den > 0, |num| + den within int32.
static inline int32_t divide(int32_t num, int32_t den) {
  const int32_t half = den >> 1;
  return num < 0 ? -((half - num) / den) : (half + num) / den;
}

static inline int8_t saturate(int32_t value) {
  return static_cast<int8_t>(value < -128 ? -128 : value > 127 ? 127 : value);
}
