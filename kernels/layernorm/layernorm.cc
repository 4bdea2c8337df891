// Layer normalisation of 256 int8 values, bit for bit as in reference.py, where ranges and units are explained.
#include "../integer.h"

namespace {

// floor(sqrt(w)), digit by digit in base 4
inline uint32_t root(uint32_t w) {
  uint32_t found = 0;
  for (uint32_t bit = 1u << 30; bit; bit >>= 2) {
    if (w >= found + bit) {
      w -= found + bit;
      found = (found >> 1) + bit;
    } else {
      found >>= 1;
    }
  }
  return found;
}

}  // namespace

// in: x, gamma, beta of 256; out: 256
extern "C" void layernorm(const int8_t *__restrict in, int8_t *__restrict out) {
  constexpr int32_t SIZE = 256;
  const int8_t *x = in, *gamma = in + SIZE, *beta = in + 2 * SIZE;
  int32_t sum = 0, squares = 0;
  for (int i = 0; i < SIZE; ++i) {
    sum += x[i];
    squares += x[i] * x[i];
  }
  uint32_t w = static_cast<uint32_t>(SIZE * squares - sum * sum + 671);
  int32_t scale = 1;
  for (; w < (1u << 30); w <<= 2) scale <<= 1;
  const int32_t r = static_cast<int32_t>(root(w));
  for (int i = 0; i < SIZE; ++i) {
    const int32_t d = SIZE * x[i] - sum;
    out[i] = saturate(divide(gamma[i] * (d * scale), r) + beta[i]);
  }
}
