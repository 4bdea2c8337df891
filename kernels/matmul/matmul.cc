// Products of square int8 matrices, bit for bit as in reference.py, where ranges and units are explained.
#include "../integer.h"

namespace {

template <int SIDE>
inline void multiply(const int8_t *__restrict a, const int8_t *__restrict b, int8_t *__restrict out) {
  for (int i = 0; i < SIDE; ++i) {
    int32_t s[SIDE] = {};
    for (int k = 0; k < SIDE; ++k) {
      for (int j = 0; j < SIDE; ++j) s[j] += a[i * SIDE + k] * b[k * SIDE + j];
    }
    for (int j = 0; j < SIDE; ++j) out[i * SIDE + j] = saturate((s[j] + 16) >> 5);
  }
}

}  // namespace

// in: a, b of 16x16; out: 16x16
extern "C" void matmul(const int8_t *__restrict in, int8_t *__restrict out) { multiply<16>(in, in + 256, out); }

// in: a, b of 64x64; out: 64x64
extern "C" void matmul_64(const int8_t *__restrict in, int8_t *__restrict out) { multiply<64>(in, in + 4096, out); }
