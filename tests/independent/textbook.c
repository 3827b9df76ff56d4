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

/* One query's p[j] of the keys that it sees, their maximum *m and sum *l. Returns how many it sees. */
static int weights(int Skv, int D, float scale, const float* q, const float* k, const unsigned char* see, float* p,
                   float* m, float* l) {
  int n = 0, nan = 0;
  *m = -INFINITY, *l = 0;
  for (int j = 0; j < Skv; j++) {
    if (!see[j]) continue;
    float x = 0;
    for (int d = 0; d < D; d++) x = fmaf(q[d], k[(size_t)j * D + d], x);
    p[j] = x * scale;
    if (p[j] > *m) *m = p[j];
    if (p[j] != p[j]) nan = 1;
    n++;
  }
  if (nan) *m = NAN;
  for (int j = 0; j < Skv; j++) {
    if (!see[j]) continue;
    p[j] = (float)exp((double)(p[j] - *m));
    *l = *l + p[j];
  }
  return n;
}

void textbook(int Sq, int Skv, int D, float scale, int bf16p, const float* q, const float* k, const float* v,
              const unsigned char* visible, float* o, float* lse) {
  float* p = malloc(sizeof(float) * (size_t)Skv);
  for (int i = 0; i < Sq; i++) {
    const unsigned char* see = visible + (size_t)i * Skv;
    float m, l, *oi = o + (size_t)i * D;
    int n = weights(Skv, D, scale, q + (size_t)i * D, k, see, p, &m, &l);
    for (int d = 0; d < D; d++) oi[d] = 0;
    for (int j = 0; j < Skv; j++) {
      if (!see[j]) continue;
      float w = bf16p ? bf16(p[j]) : p[j];
      for (int d = 0; d < D; d++) oi[d] = fmaf(w, v[(size_t)j * D + d], oi[d]);
    }
    for (int d = 0; d < D && n; d++) oi[d] /= l;
    lse[i] = n ? m + (float)log((double)l) : -INFINITY;
  }
  free(p);
}

/* The gradients of one key head and the G query heads that read it: q, dout and dq [G][Sq][D]; k, v, dk and dv
 * [Skv][D]. The matrices P and dS are kept whole, so that each of the three products is a loop of its own. */
void textbook_backward(int G, int Sq, int Skv, int D, float scale, int bf16p, const float* q, const float* k,
                       const float* v, const float* dout, const unsigned char* visible, float* dq, float* dk,
                       float* dv) {
  size_t rows = (size_t)G * Sq;
  float* P = malloc(sizeof(float) * rows * Skv);
  float* dS = malloc(sizeof(float) * rows * Skv);
  float* o = malloc(sizeof(float) * (size_t)D);
  for (size_t r = 0; r < rows; r++) {
    const unsigned char* see = visible + r % Sq * Skv;
    const float *qr = q + r * D, *dor = dout + r * D;
    float *Pr = P + r * Skv, *dSr = dS + r * Skv, m, l, lse, delta = 0;
    textbook(1, Skv, D, scale, bf16p, qr, k, v, see, o, &lse);
    weights(Skv, D, scale, qr, k, see, Pr, &m, &l);
    for (int d = 0; d < D; d++) delta = fmaf(dor[d], o[d], delta);
    for (int j = 0; j < Skv; j++) {
      if (!see[j]) continue;
      float dP = 0;
      for (int d = 0; d < D; d++) dP = fmaf(dor[d], v[(size_t)j * D + d], dP);
      float diff = dP - delta;
      Pr[j] = Pr[j] / l;
      dSr[j] = Pr[j] * diff;
      if (bf16p) Pr[j] = bf16(Pr[j]), dSr[j] = bf16(dSr[j]); /* from here on they only enter products */
    }
  }
  for (size_t r = 0; r < rows; r++) {
    float* dqr = dq + r * D;
    for (int d = 0; d < D; d++) dqr[d] = 0;
    for (int j = 0; j < Skv; j++) {
      if (!visible[r % Sq * Skv + j]) continue;
      for (int d = 0; d < D; d++) dqr[d] = fmaf(dS[r * Skv + j], k[(size_t)j * D + d], dqr[d]);
    }
    for (int d = 0; d < D; d++) dqr[d] = scale * dqr[d];
  }
  for (int j = 0; j < Skv; j++) {
    float *dkj = dk + (size_t)j * D, *dvj = dv + (size_t)j * D;
    for (int d = 0; d < D; d++) dkj[d] = dvj[d] = 0;
    for (size_t r = 0; r < rows; r++) { /* head after head, and in each the queries ascend */
      if (!visible[r % Sq * Skv + j]) continue;
      for (int d = 0; d < D; d++) dkj[d] = fmaf(dS[r * Skv + j], q[r * D + d], dkj[d]);
      for (int d = 0; d < D; d++) dvj[d] = fmaf(P[r * Skv + j], dout[r * D + d], dvj[d]);
    }
    for (int d = 0; d < D; d++) dkj[d] = scale * dkj[d];
  }
  free(P), free(dS), free(o);
}
