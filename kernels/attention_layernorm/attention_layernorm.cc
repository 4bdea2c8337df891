// Attention, then layer normalisation of the first four rows of its output; reference.py has the layout.
#include "../attention/attention.cc"
#include "../layernorm/layernorm.cc"

// in: q, k, v of 64x64, gamma, beta of 256; out: 256
extern "C" void attention_layernorm(const int8_t *__restrict in, int8_t *__restrict out) {
  // Not on the stack, which has 1 KiB on an AIE core unless more is asked for. One core runs one tile at a time.
  static int8_t rows[64 * 64];
  attention(in, rows);
  const int8_t *gamma_beta = in + 3 * 64 * 64;
  for (int i = 0; i < 512; ++i) rows[256 + i] = gamma_beta[i];  // where layernorm has them; those rows are not used
  layernorm(rows, out);
}
