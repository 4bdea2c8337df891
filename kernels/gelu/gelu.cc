// GELU of 512 int8 values, bit for bit as in reference.py, where the steps are explained.
#include "../integer.h"

extern "C" void gelu(const int8_t *__restrict in, int8_t *__restrict out) {
  for (int i = 0; i < 512; ++i) {
    const int32_t x = in[i], a = x < 0 ? -x : x;
    const int32_t h = (a >= 2) + (a >= 4) + (a >= 6) + (a >= 9) + (a >= 14)
                    - (a >= 38) - (a >= 46) - (a >= 54) - (a >= 64) - (a >= 80);
    out[i] = static_cast<int8_t>((x > 0 ? x : 0) - h);
  }
}
