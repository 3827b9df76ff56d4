// numpy's .npy, versions 1 to 3, integers only.
//
//   "\x93NUMPY", a byte each for the major and the minor version
//   the header's length, little-endian: u16 in version 1, u32 in 2 and 3
//   the header, a Python literal, padded with spaces and ended by a newline:
//     {'descr': '<i8', 'fortran_order': False, 'shape': (3,), }
//   the elements
//
// Source: NEP 1 and numpy.lib.format. Of the literal only what numpy writes is understood: nothing
// is evaluated, and object arrays (pickles) are refused as every type that is no integer is.
#ifndef BITANCHOR_LIB_FILE_NPY_H_
#define BITANCHOR_LIB_FILE_NPY_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bitanchor {

// The numbers of an array of one axis, signed or unsigned, 8 to 64 bits, either byte order. `name`
// stands for the file in errors. Throws InputError, its field `name` or the header's key, for all
// else: another magic or version, a header longer than 64 KiB or that says anything more or less, a
// size that is not exactly the shape's, a number beyond 2^63 - 1.
std::vector<int64_t> ParseNpyIntegers(std::span<const std::byte> bytes, const std::string& name);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_NPY_H_
