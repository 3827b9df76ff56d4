// Elementary functions at f32, correctly rounded: RN_f32(true value) for every input, so that no
// libm and no FMA matters and anyone can check them with MPFR. Special values as IEEE 754-2019
// section 9.2 has them; every NaN is the canonical one. They need round to nearest without flushing
// (FloatEnvironment).
#ifndef BITANCHOR_LIB_NUMBER_ELEMENTARY_H_
#define BITANCHOR_LIB_NUMBER_ELEMENTARY_H_

namespace bitanchor::number {

float Exp(float x);
float Exp2(float x);
float Log(float x);  // of negative numbers NaN, of either zero -inf
float Sin(float x);  // of infinities NaN
float Cos(float x);
float Pow(float base, float exponent);

// f64, the same bits on every machine, relative error below 2^-49 (LogF64 next to 1: of the result,
// too).
double ExpF64(double x);  // below -745 it is 0, above 709 +inf
double LogF64(double x);  // x > 0 and normal

}  // namespace bitanchor::number

#endif  // BITANCHOR_LIB_NUMBER_ELEMENTARY_H_
