// The hardest f32 arguments of the elementary functions: of all 2^32, those whose true value comes
// closest to the middle between two f32. Found by number_exhaustive_test.cc; `want` is MPFR's
// result, and the distance from the middle is in ulp of the result. sin and cos: positive arguments
// only.
#ifndef BITANCHOR_TESTS_NUMBER_HARD_CASES_H_
#define BITANCHOR_TESTS_NUMBER_HARD_CASES_H_

#include <cstdint>

namespace bitanchor::testing {

struct HardRow {
  float x;
  uint32_t want;  // bits
};

inline constexpr HardRow kHardExp[] = {
    {-0x1.d2259ap+3f, 0x34FD331B},   // 2^-28.66 ulp
    {-0x1.e1dbe2p-8f, 0x3F7E1FE9},   // 2^-27.72 ulp
    {-0x1.65cf3p+6f, 0x000F6DCE},    // 2^-27.70 ulp
    {0x1.fdff02p-17f, 0x3F800080},   // 2^-27.55 ulp
    {-0x1.c1c4b8p-10f, 0x3F7F8FA7},  // 2^-27.15 ulp
    {-0x1p-25f, 0x3F800000},         // 2^-27.00 ulp
    {0x1.8d7cb6p-12f, 0x3F800C6D},   // 2^-26.96 ulp
    {0x1.cd3982p-14f, 0x3F80039A},   // 2^-26.89 ulp
    {0x1.747de2p-15f, 0x3F800175},   // 2^-26.81 ulp
    {0x1.344e9cp-5f, 0x3F84E8BA},    // 2^-26.65 ulp
    {0x1.62b666p+1f, 0x417FA47D},    // 2^-26.48 ulp
    {0x1.036492p+1f, 0x40F2CD14},    // 2^-26.33 ulp
    {0x1.cb763ap-12f, 0x3F800E5D},   // 2^-26.15 ulp
    {0x1.fbff82p-18f, 0x3F800040},   // 2^-26.12 ulp
    {0x1.112856p+6f, 0x70B7A4C5},    // 2^-26.06 ulp
    {0x1.f7ffc2p-19f, 0x3F800020},   // 2^-26.01 ulp
    {0x1.efffe2p-20f, 0x3F800010},   // 2^-26.00 ulp
    {0x1.dffff2p-21f, 0x3F800008},   // 2^-26.00 ulp
    {0x1.bffffap-22f, 0x3F800004},   // 2^-26.00 ulp
    {0x1.7ffffep-23f, 0x3F800002},   // 2^-26.00 ulp
};

inline constexpr HardRow kHardExp2[] = {
    {-0x1.5a3f34p-21f, 0x3F7FFFF8},  // 2^-34.88 ulp
    {-0x1.e7526ep-6f, 0x3F7AC6B1},   // 2^-32.92 ulp
    {0x1.853a6ep-9f, 0x3F804385},    // 2^-30.20 ulp
    {-0x1.a7a04cp-14f, 0x3F7FFB69},  // 2^-29.49 ulp
    {-0x1.d8568p-10f, 0x3F7FAE34},   // 2^-29.00 ulp
    {0x1.0f0af8p-11f, 0x3F800BBE},   // 2^-28.67 ulp
    {0x1.05535ap-7f, 0x3F80B5A3},    // 2^-27.93 ulp
    {0x1.0f39eep-18f, 0x3F800018},   // 2^-27.43 ulp
    {-0x1.3e53bcp-3f, 0x3F65DA56},   // 2^-27.34 ulp
    {0x1.715476p-24f, 0x3F800001},   // 2^-26.86 ulp
    {0x1.9357c4p-4f, 0x3F890AB5},    // 2^-26.66 ulp
    {-0x1.cda996p-23f, 0x3F7FFFFE},  // 2^-26.19 ulp
    {-0x1.715476p-25f, 0x3F800000},  // 2^-26.08 ulp
    {-0x1.77a744p-14f, 0x3F7FFBEE},  // 2^-25.93 ulp
    {-0x1.2c14a4p-21f, 0x3F7FFFF9},  // 2^-25.77 ulp
    {-0x1.5e9a04p-6f, 0x3F7C3B19},   // 2^-25.71 ulp
    {0x1.06c8aap-5f, 0x3F82E0C0},    // 2^-25.70 ulp
    {-0x1.c6de7p-10f, 0x3F7FB13A},   // 2^-25.62 ulp
    {0x1.a75428p-9f, 0x3F804971},    // 2^-25.60 ulp
    {0x1.c671d6p-16f, 0x3F80009D},   // 2^-25.57 ulp
};

inline constexpr HardRow kHardLog[] = {
    {0x1.b121a6p+76f, 0x4254D1F9},   // 2^-34.04 ulp
    {0x1.bacb4ap+25f, 0x418F034B},   // 2^-33.50 ulp
    {0x1.c09d7cp+27f, 0x419A352C},   // 2^-32.71 ulp
    {0x1.2f1fd6p+3f, 0x400FE5E7},    // 2^-31.43 ulp
    {0x1.22d57p-65f, 0xC233B53E},    // 2^-31.14 ulp
    {0x1.5190cp+78f, 0x42595E46},    // 2^-31.10 ulp
    {0x1.827a74p-7f, 0xC08E158F},    // 2^-30.70 ulp
    {0x1.6351d8p+95f, 0x42845A89},   // 2^-30.13 ulp
    {0x1.b97c7p-14f, 0xC1128BA4},    // 2^-29.85 ulp
    {0x1.cb534cp+13f, 0x41198725},   // 2^-29.45 ulp
    {0x1.d1309cp+62f, 0x422E4A21},   // 2^-29.40 ulp
    {0x1.f0ddep-8f, 0xC09C399E},     // 2^-29.28 ulp
    {0x1.cfd86ep+116f, 0x42A1FFB7},  // 2^-29.20 ulp
    {0x1.917748p-100f, 0xC289BAC4},  // 2^-29.01 ulp
    {0x1.98496ep-39f, 0xC1D48710},   // 2^-28.67 ulp
    {0x1.390ffp-93f, 0xC28085DF},    // 2^-28.63 ulp
    {0x1.088d96p-74f, 0xC24D0A45},   // 2^-28.24 ulp
    {0x1.9ab656p+13f, 0x4117BCF1},   // 2^-28.21 ulp
    {0x1.577ac6p+78f, 0x4259700E},   // 2^-27.99 ulp
    {0x1.925308p-35f, 0xC1BE76EE},   // 2^-27.94 ulp
};

inline constexpr HardRow kHardSin[] = {
    {0x1.487e0cp+103f, 0x3E943A84},  // 2^-30.99 ulp
    {0x1.33333p+13f, 0xBEB1FA5D},    // 2^-30.50 ulp
    {0x1.95f654p+44f, 0xBF7E7A17},   // 2^-29.56 ulp
    {0x1.524856p+80f, 0xBF7FAB81},   // 2^-29.41 ulp
    {0x1.e35bc6p+7f, 0x3E62DA56},    // 2^-28.85 ulp
    {0x1.411b04p+63f, 0x3F2C7688},   // 2^-28.68 ulp
    {0x1.b559b6p+117f, 0x3EDA83BB},  // 2^-28.35 ulp
    {0x1.8d9d8p+73f, 0xBF6995BD},    // 2^-28.31 ulp
    {0x1.a3eda6p+116f, 0xBF7A88EE},  // 2^-28.26 ulp
    {0x1.bf908ep+68f, 0xBF0094DF},   // 2^-28.06 ulp
    {0x1.5bad12p+60f, 0xBF74FC9E},   // 2^-28.00 ulp
    {0x1.6ad26ep+32f, 0xBF7FFCB7},   // 2^-27.97 ulp
    {0x1.79dd1ep+75f, 0x3F30DF39},   // 2^-27.88 ulp
    {0x1.02f61p+118f, 0x3E1B493E},   // 2^-27.85 ulp
    {0x1.e68b32p+91f, 0xBF5B5135},   // 2^-27.77 ulp
    {0x1.e7061ep-2f, 0x3EEA6F45},    // 2^-27.73 ulp
    {0x1.515766p+12f, 0x3E51ADE2},   // 2^-27.71 ulp
    {0x1.7ec1fep+85f, 0xBF79EE5F},   // 2^-27.57 ulp
    {0x1.9eab2ep-4f, 0x3DCEFAF9},    // 2^-27.44 ulp
    {0x1.cf9736p+19f, 0x3EC9DF85},   // 2^-27.33 ulp
};

inline constexpr HardRow kHardCos[] = {
    {0x1.2b9622p+67f, 0x3F78142F},   // 2^-31.94 ulp
    {0x1.887814p+51f, 0x3F425F62},   // 2^-31.92 ulp
    {0x1.3170fp+63f, 0x3F7F14BB},    // 2^-31.57 ulp
    {0x1.96344ep+117f, 0x3F7C54DA},  // 2^-30.63 ulp
    {0x1.4555p+51f, 0x3F08AEBF},     // 2^-29.53 ulp
    {0x1.119ae6p+115f, 0x3F798BB5},  // 2^-29.43 ulp
    {0x1.e072ecp+67f, 0x3EDACC56},   // 2^-29.34 ulp
    {0x1.20ffccp-7f, 0x3F7FFD74},    // 2^-29.14 ulp
    {0x1.ca46bap+44f, 0xBE83C11A},   // 2^-28.85 ulp
    {0x1p-12f, 0x3F800000},          // 2^-28.58 ulp
    {0x1.8f219cp+5f, 0x3F6E4C01},    // 2^-28.04 ulp
    {0x1.a8872ap-11f, 0x3F7FFFFB},   // 2^-28.00 ulp
    {0x1.03b948p+21f, 0x3F30B318},   // 2^-27.37 ulp
    {0x1.715668p+117f, 0x3F7B3195},  // 2^-27.32 ulp
    {0x1.b3a7fcp+38f, 0xBF5E187B},   // 2^-27.30 ulp
    {0x1.6f1b7p+5f, 0xBEA87A07},     // 2^-27.25 ulp
    {0x1.d35c3cp+121f, 0xBF7FF9FE},  // 2^-27.03 ulp
    {0x1.0d5fdcp+20f, 0x3F090D16},   // 2^-27.01 ulp
    {0x1.41c47p+16f, 0x3F7E19DD},    // 2^-26.89 ulp
    {0x1.ae2e7ep+110f, 0x3F266B3E},  // 2^-26.89 ulp
};

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_NUMBER_HARD_CASES_H_
