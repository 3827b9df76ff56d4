// The one exception type of the library. Bad input throws it; broken invariants assert; numerical
// disagreement is data and never an error.
#ifndef BITANCHOR_LIB_TENSOR_ERROR_H_
#define BITANCHOR_LIB_TENSOR_ERROR_H_

#include <stdexcept>
#include <string>

namespace bitanchor {

// "FIELD: got GOT, want WANT", one line. `field` is the name the user wrote or would have to write:
// a tensor ("k"), a path in the metadata ("mask.window_keys") or an option ("--shape").
class InputError : public std::runtime_error {
 public:
  InputError(const std::string& field, const std::string& got, const std::string& want)
      : std::runtime_error(field + ": got " + got + ", want " + want),
        field_(field),
        got_(got),
        want_(want) {}
  const std::string& field() const { return field_; }

  // The same where the field alone does not say which one is meant: of several files, for example.
  InputError In(const std::string& place) const { return {place + ": " + field_, got_, want_}; }

 private:
  std::string field_, got_, want_;
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_TENSOR_ERROR_H_
