// placeholder until the first commit of lib/number
#ifndef BITANCHOR_LIB_NUMBER_FORMAT_H_
#define BITANCHOR_LIB_NUMBER_FORMAT_H_
#include <cstdint>
namespace bitanchor {
struct BF16 { uint16_t bits; };
struct F16 { uint16_t bits; };
float ToF32(BF16 x); float ToF32(F16 x); float Canonical(float x);
BF16 ToBF16(float x); F16 ToF16(float x);
}
#endif
