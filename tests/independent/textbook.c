/* The textbook recipes as anyone can write them from their definition, in plain C, sharing nothing with the
 * project: one (batch, head). q [Sq][D], k and v [Skv][D] hold f32 values; visible [Sq][Skv] is 0 or 1; bf16p != 0
 * rounds the weights. Needs -ffp-contract=off and round to nearest. exp and log: the double functions rounded to
 * float, which is correctly rounded but for about one input in 2^29. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static float bf16(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  if (x == x) u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;
  memcpy(&x, &u, 4);
  return x;
}

void textbook(int Sq, int Skv, int D, float scale, int bf16p, const float* q, const float* k, const float* v,
              const unsigned char* visible, float* o, float* lse) {
  float* t = malloc(sizeof(float) * (size_t)Skv);
  for (int i = 0; i < Sq; i++) {
    const unsigned char* see = visible + (size_t)i * Skv;
    float m = -INFINITY, l = 0;
    int n = 0, nan = 0;
    for (int d = 0; d < D; d++) o[(size_t)i * D + d] = 0;
    for (int j = 0; j < Skv; j++) {
      if (!see[j]) continue;
      float x = 0;
      for (int d = 0; d < D; d++) x = fmaf(q[(size_t)i * D + d], k[(size_t)j * D + d], x);
      t[j] = x * scale;
      if (t[j] > m) m = t[j];
      if (t[j] != t[j]) nan = 1;
      n++;
    }
    if (nan) m = NAN;
    for (int j = 0; j < Skv; j++) {
      if (!see[j]) continue;
      float p = (float)exp((double)(t[j] - m));
      l = l + p;
      if (bf16p) p = bf16(p);
      for (int d = 0; d < D; d++) o[(size_t)i * D + d] = fmaf(p, v[(size_t)j * D + d], o[(size_t)i * D + d]);
    }
    for (int d = 0; d < D && n; d++) o[(size_t)i * D + d] /= l;
    lse[i] = n ? m + (float)log((double)l) : -INFINITY;
  }
  free(t);
}
