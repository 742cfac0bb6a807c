#ifndef KEYHOP_KMS_BASE_CHECK_H_
#define KEYHOP_KMS_BASE_CHECK_H_
// Always-on checks of our own invariants; operating errors are absl::Status. The message is a
// literal, so that no runtime value, secret or not, is ever printed.

#include <cstdio>
#include <cstdlib>

#define KEYHOP_CHECK(condition, message)                                                    \
  do {                                                                                      \
    if (!(condition)) [[unlikely]] {                                                        \
      std::fprintf(stderr, "%s:%d: check failed: %s: %s\n", __FILE__, __LINE__, #condition, \
                   "" message);                                                             \
      std::abort();                                                                         \
    }                                                                                       \
  } while (false)

#endif  // KEYHOP_KMS_BASE_CHECK_H_
