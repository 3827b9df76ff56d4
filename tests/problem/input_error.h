// One way to ask for an InputError, so that no test is content with "it threw something".
#ifndef BITANCHOR_TESTS_PROBLEM_INPUT_ERROR_H_
#define BITANCHOR_TESTS_PROBLEM_INPUT_ERROR_H_

#include <gtest/gtest.h>

#include <string>

#include "lib/tensor/error.h"

namespace bitanchor::test {

// The whole message is compared: it is what the user reads.
template <typename Call>
void ExpectInputError(const Call& call, const std::string& field, const std::string& got,
                      const std::string& want) {
  SCOPED_TRACE(field + ": got " + got);
  try {
    call();
  } catch (const InputError& error) {
    EXPECT_EQ(error.field(), field);
    EXPECT_EQ(std::string(error.what()), field + ": got " + got + ", want " + want);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return;
  }
  ADD_FAILURE() << "accepted";
}

}  // namespace bitanchor::test

#endif  // BITANCHOR_TESTS_PROBLEM_INPUT_ERROR_H_
