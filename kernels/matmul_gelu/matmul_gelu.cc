// Product of two 16x16 matrices, then GELU of it and of 256 zeros; reference.py has the layout.
#include "../gelu/gelu.cc"
#include "../matmul/matmul.cc"

// in: a, b of 16x16; out: 512
extern "C" void matmul_gelu(const int8_t *__restrict in, int8_t *__restrict out) {
  // Not on the stack, which has 1 KiB on an AIE core unless more is asked for. What matmul does not write stays zero.
  static int8_t products[512];
  matmul(in, products);
  gelu(products, out);
}
